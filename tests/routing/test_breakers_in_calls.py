"""Breakers as callers meet them: who is asked while an offer is out of order, and when it is asked again."""

import httpx
import pytest

from tests.fakes.client import Answer, chat
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.books import assert_in_order, charge_of
from tests.routing.failing import BAD, OK, Places, add_fallback, add_places
from tests.routing.servers import second_server
from tests.stand import Gateway
from tests.waiting import wait_until

PRESETS_401 = Reply(status=401, body=b'{"error": {"message": "Incorrect API key provided"}}')


class TestCalls:
    """What callers notice."""

    @pytest.fixture(autouse=True)
    def _quick(self, settings: object) -> None:
        settings.BREAKER_PROBE_EVERY_S = 60

    def is_open(self, places: Places, place: int = 0) -> bool:
        from komilion.asgi import application

        return application._gateway.services.breakers.is_open(*places.key(place))

    @pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
    def test_an_offer_out_of_order_is_passed_over(self, gateway: Gateway, stream: bool):
        places = add_places(gateway, BAD, OK)
        for _ in range(3):
            assert places.ask(stream=stream).status == 200
        asked = places.counts[0]
        assert asked == 5 + 1  # the sixth was the second try of the third call
        for _ in range(3):
            assert places.ask(stream=stream).status == 200
        assert places.counts == [asked, 6]

    def test_what_only_the_operator_can_mend_is_asked_once(self, gateway: Gateway):
        places = add_places(gateway, PRESETS_401, OK)
        for _ in range(3):
            assert places.ask().status == 200
        assert places.counts == [1, 3]

    def test_callers_mistakes_open_nothing(self, gateway: Gateway):
        places = add_places(gateway, Reply(status=400), OK)
        for _ in range(8):
            assert places.ask().status == 400
        assert places.counts == [8, 0]

    def test_a_refusal_by_content_opens_nothing_and_is_not_carried_on(self, gateway: Gateway):
        words = b'{"error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_X"}'
        places = add_places(gateway, Reply(status=403, body=words), OK)
        for _ in range(8):
            answer = places.ask()
            assert (answer.status, answer.json["error"]["reason"]) == (400, "content_filter")
        assert places.counts == [8, 0]

    @pytest.mark.parametrize("status", [403, 404])
    def test_a_refusal_that_does_not_say_why_is_one_failure_of_several(self, gateway: Gateway, status: int):
        places = add_places(gateway, Reply(status=status, body=b"Forbidden"), OK)
        for _ in range(3):
            assert places.ask().status == 200
        assert places.counts == [3, 3]

    def test_the_only_offer_is_a_last_resort(self, gateway: Gateway):
        places = add_places(gateway, Reply(turns=(*[BAD] * 6, OK)))
        for _ in range(3):
            assert places.ask().status == 502
        assert places.ask().status == 200
        assert places.counts == [7]

    def test_it_is_the_last_of_all_attempts(self, gateway: Gateway):
        places, fallback = add_places(gateway, PRESETS_401, Reply(turns=(OK, Reply(status=503)))), None
        fallback = add_fallback(gateway, Reply(turns=(OK, Reply(status=503))))
        assert places.ask(models=[fallback]).status == 200
        answer = places.ask(models=[fallback])
        assert answer.json["model"] == fallback
        assert places.ask(models=[fallback]).status == 502  # 503, 503, then the one out of order
        assert places.counts == [2, 3]

    def test_back_on_the_first_offer_soon_after_it_recovers(self, gateway: Gateway, settings: object):
        settings.BREAKER_PROBE_EVERY_S = 0.2
        places = add_places(gateway, Reply(status=503), OK)
        for _ in range(6):
            assert places.ask().json["x_komilion"]["provider"] == places.providers[1]
        down = places.counts[0]
        places.script(0, OK)

        def first_answers() -> bool:
            return places.ask().json["x_komilion"]["provider"] == places.providers[0]

        wait_until(first_answers, what="a probe")
        assert places.counts[0] == down + 1
        assert first_answers()

    def test_a_probe_that_fails_costs_its_caller_nothing_but_time(self, gateway: Gateway, settings: object):
        settings.BREAKER_PROBE_EVERY_S = 0.2
        places = add_places(gateway, PRESETS_401, OK)
        assert places.ask().status == 200

        def is_probed() -> bool:
            answer = places.ask()
            assert answer.json["x_komilion"]["provider"] == places.providers[1]
            return places.counts[0] == 3

        wait_until(is_probed, what="two probes")
        assert_in_order(gateway, places.tenant, places.counts[1] * charge_of(Tokens(25, 12)))

    @pytest.mark.parametrize("measured_s", [None, 0.01])
    def test_a_probe_of_a_model_that_reasons_has_less_time_to_think(
        self, gateway: Gateway, settings: object, measured_s: float | None
    ):
        settings.BREAKER_PROBE_EVERY_S = 0.2
        settings.FIRST_CONTENT_TIMEOUT_S = settings.FIRST_CONTENT_FALLBACK_S = 0.15
        places = add_places(gateway, PRESETS_401, OK, capabilities="reasoning")
        with second_server() as server:
            server.gateway.services.first_content_p99_s = lambda *_: measured_s

            def ask() -> Answer:
                return chat(server.url, places.tenant.key, model=places.model, stream=True)

            assert ask().status == 200
            places.script(0, Reply(before_head_s=30))
            wait_until(lambda: ask().status == 200 and places.counts[0] == 3, what="two probes")

    def test_who_watches_sees_what_is_out_of_order_and_each_change_once(self, gateway: Gateway):
        places = add_places(gateway, PRESETS_401, OK)

        def metric(name: str) -> float:
            lines = httpx.get(f"{gateway.url}/metrics").text.splitlines()
            found = [line for line in lines if line.startswith(name) and f'"{places.providers[0]}"' in line]
            return sum(float(line.split()[-1]) for line in found)

        assert metric("komilion_breaker_open") == 0
        places.ask()
        assert wait_until(lambda: metric("komilion_breaker_open") == 1, what="the gauge")
        assert wait_until(lambda: metric("komilion_breakers_total") == 1, what="the counter")

    def test_a_breaker_of_a_key_that_was_replaced_is_shown_no_more(self, gateway: Gateway):
        places = add_places(gateway, PRESETS_401, OK)
        line = f'komilion_breaker_open{{model="{places.model}",provider="{places.providers[0]}"}} 1.0'

        def is_shown() -> bool:
            return line in httpx.get(f"{gateway.url}/metrics").text.splitlines()

        places.ask()
        wait_until(is_shown, what="the gauge")
        gateway.manage("provider", "add", places.providers[0], "--api-key", "another")
        wait_until(lambda: not is_shown(), what="the gauge to forget the old key")

    def test_every_server_knows(self, gateway: Gateway):
        places = add_places(gateway, PRESETS_401, OK)
        with second_server() as server:
            assert places.ask().status == 200
            breakers = server.gateway.services.breakers
            wait_until(lambda: breakers.is_open(*places.key(0)), what="the news")
            from tests.fakes.client import chat

            assert chat(server.url, places.tenant.key, model=places.model).status == 200
        assert places.counts == [1, 2]
