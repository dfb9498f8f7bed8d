"""How long an attempt may take, and what follows one that takes longer."""

import pytest

from komilion.env import free_port
from tests.fakes.client import RawCall
from tests.fakes.replies import Reply
from tests.routing.books import assert_in_order
from tests.routing.failing import BOTH, OK, add_offer, add_places, assert_served
from tests.routing.gates import Gate, words
from tests.routing.servers import second_server
from tests.stand import Gateway


class TestTime:
    """Silence, and answers that come too slowly."""

    @pytest.fixture(autouse=True)
    def _brief(self, settings: object) -> None:
        settings.FIRST_CONTENT_FALLBACK_S = settings.ANSWER_BASE_S = 0.15
        settings.UNKNOWN_TOKENS_PER_S = 1_000_000

    @pytest.mark.parametrize(
        "reply",
        [Reply(before_head_s=30), Reply(before_content_s=30), Gate(1, Reply(role_alone=True)).script],
        ids=["no-head", "no-content", "a-role-alone"],
    )
    @pytest.mark.parametrize("cancels", [True, False], ids=["cancelled", "billed-on"])
    def test_a_stream_that_does_not_begin(self, gateway: Gateway, reply: Reply, cancels: bool):
        places = add_places(gateway, reply, OK, cancels=cancels)
        answer = places.ask(stream=True)
        assert_served(places, answer, 1, [1, 1])
        first, second = places.calls(0)[0], places.calls(1)[0]
        assert 0.1 < second.arrived_at - first.arrived_at < 5
        row = places.row()
        assert row.detail["attempts"][0]["error"] == "request_timeout"
        assert row.first_content_ms >= 150
        assert (row.attempt_loss_nano == 0) == cancels  # what a provider goes on writing is ours to pay

    def test_a_whole_answer_that_does_not_come(self, gateway: Gateway):
        places = add_places(gateway, Reply(before_head_s=30), OK)
        assert_served(places, places.ask(), 1, [1, 1])
        assert places.row().attempt_loss_nano > 0

    def test_the_last_offer_has_the_longer_time(self, gateway: Gateway):
        places = add_places(gateway, Reply(before_head_s=30), Reply(before_content_s=0.4))
        assert places.ask(stream=True).text == words(12)
        assert places.counts == [1, 1]

    def test_one_that_is_usually_slow_has_three_times_what_was_measured(self, gateway: Gateway):
        places = add_places(gateway, Reply(before_content_s=0.5), OK)
        with second_server() as server:
            asked = []

            def measured(*offer: str) -> float:
                asked.append(offer)
                return 10.0

            server.gateway.services.first_content_p99_s = measured
            with RawCall(server.url, places.tenant.key, model=places.model, stream=True) as raw:
                raw.send().rest()
        assert asked == [(places.providers[0], places.model)]
        assert places.counts == [1, 0]

    def test_a_model_that_reasons_has_its_time(self, gateway: Gateway):
        places = add_places(gateway, Reply(before_content_s=0.4), OK, capabilities="reasoning")
        assert_served(places, places.ask(stream=True), 0, [1, 0])

    def test_silence_of_the_only_offer_is_tried_once_more(self, gateway: Gateway, settings: object):
        settings.FIRST_CONTENT_TIMEOUT_S = 0.15
        places = add_places(gateway, Reply(turns=(Reply(before_head_s=30), OK)))
        assert_served(places, places.ask(stream=True), 0, [2])

    @BOTH
    def test_the_whole_time_is_that_of_all_tries(self, gateway: Gateway, settings: object, stream: bool):
        settings.TOTAL_TIMEOUT_S = 1
        settings.FIRST_CONTENT_FALLBACK_S = settings.ANSWER_BASE_S = 0.7
        places = add_places(gateway, *[Reply(before_head_s=30)] * 3)
        assert places.ask(stream=stream).status == 408
        assert sum(places.counts) == 2
        row = places.row()
        assert row.outcome == "provider_failed"
        assert row.duration_ms < 3_000
        assert_in_order(gateway, places.tenant, 0)

    def test_a_whole_answer_leaves_half_of_the_time_to_the_next(self, gateway: Gateway, settings: object):
        settings.TOTAL_TIMEOUT_S, settings.ANSWER_BASE_S = 2, 60
        places = add_places(gateway, Reply(before_head_s=30), OK)
        assert_served(places, places.ask(), 1, [1, 1])

    def test_the_whole_time_holds_for_one_answer_too(self, gateway: Gateway, settings: object):
        settings.ANSWER_BASE_S = 60
        settings.COMMENT_FRAME_EVERY_S = 0.05
        gate = Gate()
        places = add_places(gateway, gate.script, OK, cancels=True)
        with RawCall(gateway.url, places.tenant.key, model=places.model) as raw:
            raw.send()
            gate.wait_for_call()
            settings.TOTAL_TIMEOUT_S = 0.1  # after the answer's own limit was set
            assert raw.status == 408
        assert places.counts == [1, 0]
        assert_in_order(gateway, places.tenant, 0)

    def test_the_head_opened_by_a_comment_names_nobody_who_may_not_answer(self, gateway: Gateway, settings: object):
        settings.COMMENT_FRAME_EVERY_S = 0.05
        places = add_places(gateway, Reply(before_head_s=30), OK)
        answer = places.ask(stream=True)
        assert answer.body.startswith(b": keep-alive")
        assert "x-komilion-provider" not in answer.headers
        assert answer.frames[-1]["x_komilion"]["provider"] == places.providers[1]
        alone = add_places(gateway, Reply(before_content_s=0.3))
        assert alone.ask(stream=True).headers["x-komilion-provider"] == alone.providers[0]

    def test_nobody_reachable_after_a_comment_is_an_event(self, gateway: Gateway, settings: object):
        settings.COMMENT_FRAME_EVERY_S, settings.RETRY_PAUSE_S = 0.02, 0.5
        places = add_places(gateway)
        gone = gateway.add_provider(f"gone-{free_port()}", base_url=f"http://127.0.0.1:{free_port()}/v1")
        add_offer(places, OK, gone)
        answer = places.ask(stream=True)
        assert answer.body.startswith(b": keep-alive")
        assert answer.frames[-1]["error"]["reason"] == "provider_unavailable"
        assert_in_order(gateway, places.tenant, 0)
