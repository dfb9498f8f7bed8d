"""What a caller gets, and pays, when a provider fails before it has written anything; streamed and not."""

from pathlib import Path

import pytest

from komilion import settings as komilion_settings
from komilion.env import free_port
from routing.gateway.verdicts import VERDICTS
from tests.fakes.client import CHAT, RawCall, call
from tests.fakes.journal import Tokens
from tests.fakes.presets import PRESETS
from tests.fakes.replies import Cut, Reply
from tests.routing.answers import key_of
from tests.routing.books import assert_in_order, charge_of, nothing_is_held, only_row, usage_rows
from tests.routing.failing import BAD, add_fallback, add_offer, add_places, assert_served
from tests.routing.gates import Gate, words
from tests.routing.servers import second_server
from tests.stand import CANCELLING, Gateway, Tenant
from tests.waiting import wait_until

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
OK = Reply(usage=Tokens(25, 12))
MESSAGE = [{"role": "user", "content": "What is quantum computing?"}]

# reply -> how often its offer is asked, and the kind of failure that the row keeps
FAILURES = {
    "500": (Reply(status=500), 2, "provider_error"),
    "502": (Reply(status=502), 2, "provider_error"),
    "503": (Reply(status=503), 1, "provider_unavailable"),
    "529": (Reply(status=529), 1, "provider_unavailable"),
    "504": (Reply(status=504), 1, "provider_timeout"),
    "429": (Reply(status=429), 1, "rate_limited"),
    "429-later": (Reply(status=429, headers={"Retry-After": "11"}), 1, "rate_limited"),
    "408": (Reply(status=408), 1, "rate_limited"),
    "401": (PRESETS["401"], 1, "provider_rejected_credentials"),
    "403": (PRESETS["403"], 1, "provider_rejected_credentials"),
    "402": (PRESETS["402"], 1, "closed_to_us"),
    "quota": (PRESETS["quota"], 1, "closed_to_us"),
    "404": (PRESETS["404"], 1, "model_not_found"),
    "reset": (Reply(cut=Cut(before_head=True, how="reset")), 2, "broken_off"),
    "half": (Reply(cut=Cut(frames=0, body_bytes=60)), 2, "broken_off"),
    "html": (PRESETS["html"], 2, "provider_error"),
    "empty": (PRESETS["empty"], 2, "provider_error"),
    "error-inside": (PRESETS["minimax"], 1, "closed_to_us"),
    "overloaded-inside": (Reply(body=b'{"error": {"message": "", "type": "overloaded"}}'), 1, "provider_unavailable"),
}


@BOTH
@pytest.mark.parametrize("name", FAILURES)
def test_the_next_offer_answers(gateway: Gateway, name: str, stream: bool):
    reply, tries, kind = FAILURES[name]
    places = add_places(gateway, reply, OK)
    answer = places.ask(stream=stream)
    assert_served(places, answer, 1, [tries, 1])
    assert answer.text == words(12)
    *failed, last = places.row().detail["attempts"]
    assert [attempt["error"] for attempt in failed] == [kind] * tries
    assert "error" not in last
    assert last["status"] == 200
    assert places.row().attempt_loss_nano == 0


@pytest.mark.parametrize("name", ["not-json", "not-an-answer"])
def test_a_whole_answer_that_is_none(gateway: Gateway, name: str):
    places = add_places(gateway, PRESETS[name], OK)
    assert_served(places, places.ask(), 1, [2, 1])


@BOTH
def test_an_offer_that_cannot_be_reached(gateway: Gateway, stream: bool):
    places = add_places(gateway)
    gone = gateway.add_provider(f"gone-{free_port()}", base_url=f"http://127.0.0.1:{free_port()}/v1")
    add_offer(places, OK, gone)
    add_offer(places, OK, gateway.add_provider(f"there-{gone}"))
    assert_served_by_the_second(places, places.ask(stream=stream))
    assert [attempt.get("error") for attempt in places.row().detail["attempts"]] == ["unreachable", None]


@BOTH
def test_an_offer_that_cannot_even_be_asked(gateway: Gateway, stream: bool, caplog: pytest.LogCaptureFixture):
    from routing.catalog.credentials import encrypt
    from routing.catalog.models import Provider

    places = add_places(gateway)
    broken = gateway.add_provider(f"broken-{stream}")  # with a key that was stored when none was looked at
    Provider.objects.filter(pk=broken).update(api_key_encrypted=encrypt("sk-canary\n\x00"))
    add_offer(places, OK, broken)
    add_offer(places, OK, gateway.add_provider(f"whole-{stream}"))
    assert_served_by_the_second(places, places.ask(stream=stream))
    assert [attempt.get("error") for attempt in places.row().detail["attempts"]][-2:] == ["provider_error", None]
    alarms = [record for record in caplog.records if getattr(record, "alarm", "") == "attempt_crashed"]
    assert {record.provider for record in alarms} == {broken}
    assert "canary" not in caplog.text


def test_a_whole_answer_that_crashes_its_reader(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    from routing.providers.openai_compat import OpenAICompatible

    read = OpenAICompatible.chat_answer

    def crash(*arguments: object) -> object:
        if len(places.calls(1)) == 0:
            raise RuntimeError("not foreseen")
        return read(*arguments)

    monkeypatch.setattr(OpenAICompatible, "chat_answer", crash)
    places = add_places(gateway, OK, OK)
    assert_served(places, places.ask(), 1, [2, 1])


def assert_served_by_the_second(places, answer) -> None:
    """The first never saw a byte."""
    assert answer.status == 200
    assert places.counts == [0, 1]
    assert_in_order(places.gateway, places.tenant, charge_of(Tokens(25, 12)))


@pytest.mark.parametrize("reply", [BAD, Reply(status=503), Reply(status=429), Reply(status=504)], ids=str)
@BOTH
def test_a_single_offer_is_tried_once_more(gateway: Gateway, reply: Reply, stream: bool):
    places = add_places(gateway, Reply(turns=(reply, OK)))
    assert_served(places, places.ask(stream=stream), 0, [2])


@BOTH
def test_the_wait_that_a_provider_asks_for_is_kept(gateway: Gateway, stream: bool):
    places = add_places(gateway, Reply(turns=(Reply(status=429, headers={"Retry-After": "1"}), OK)), OK)
    assert_served(places, places.ask(stream=stream), 0, [2, 0])
    first, second = places.calls(0)
    assert second.arrived_at - first.arrived_at >= 1


def test_a_wait_beyond_the_limit_is_told_where_nobody_else_can_answer(gateway: Gateway):
    places = add_places(gateway, Reply(status=429, headers={"Retry-After": "11"}))
    answer = places.ask()
    assert (answer.status, answer.headers["retry-after"]) == (429, "11")
    assert places.counts == [1]


def test_a_wait_beyond_the_whole_time_is_not_begun(gateway: Gateway, settings: object):
    settings.TOTAL_TIMEOUT_S = 5
    places = add_places(gateway, Reply(status=429, headers={"Retry-After": "9"}))
    assert places.ask().status == 429
    assert places.counts == [1]


@BOTH
def test_there_are_two_tries_an_offer_and_four_in_all(gateway: Gateway, stream: bool):
    places = add_places(gateway, BAD, BAD, BAD)
    answer = places.ask(stream=stream)
    assert (answer.status, answer.json["error"]["reason"]) == (502, "provider_error")
    assert places.counts == [2, 2, 0]
    assert places.row().outcome == "provider_failed"
    assert_in_order(gateway, places.tenant, 0)


def test_the_callers_own_mistake_is_tried_once(gateway: Gateway):
    places = add_places(gateway, PRESETS["400"], OK)
    answer = places.ask()
    assert (answer.status, answer.json["error"]["message"]) == (400, "Invalid value for 'temperature'.")
    assert places.counts == [1, 0]
    assert_in_order(gateway, places.tenant, 0)


def test_a_prompt_that_is_too_long_goes_to_a_larger_window_only(gateway: Gateway):
    places = add_places(gateway, PRESETS["context-openai"], OK, context=8_192)
    assert places.ask().json["error"]["reason"] == "context_length_exceeded"
    assert places.counts == [1, 0]
    add_offer(places, OK, gateway.add_provider(f"large-{places.providers[0]}"), context=16_384)
    assert_larger = places.ask()
    assert assert_larger.json["x_komilion"]["provider"] == places.providers[2]
    assert places.counts == [2, 0, 1]


def test_a_filtered_prompt_goes_to_a_model_that_the_request_names_only(gateway: Gateway):
    filtered = Reply(status=400, body=b'{"error": {"message": "no", "code": "content_policy_violation"}}')
    places = add_places(gateway, filtered, OK)
    answer = places.ask()
    assert (answer.status, answer.json["error"]["reason"]) == (400, "content_filter")
    assert places.counts == [1, 0]
    fallback = add_fallback(gateway, OK)
    answer = places.ask(models=[fallback])
    assert answer.json["model"] == fallback
    assert places.counts == [2, 0]


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


class TestFallbacks:
    """`models` and `fallbacks` of the request."""

    @BOTH
    def test_the_next_model_answers(self, gateway: Gateway, stream: bool):
        places = add_places(gateway, Reply(status=503))
        fallback = add_fallback(gateway, OK, output_price="30.00")
        answer = places.ask(models=[fallback], stream=stream)
        frames = answer.frames if stream else [answer.json]
        assert {frame["model"] for frame in frames} == {fallback}
        assert answer.headers["x-komilion-model"] == fallback
        note = frames[-1]["x_komilion"]
        assert (note["model"], note["requested_model"], note["routed_from"]) == (fallback, places.model, places.model)
        assert note["fallback"] == 1
        row = places.row()
        assert (row.requested_model, row.model) == (places.model, fallback)
        cost = 25 * 3_000 + 12 * 30_000
        assert row.charge_nano == cost * 5 // 4 == note["cost_nano_usd"]
        assert_in_order(gateway, places.tenant, row.charge_nano)

    def test_the_first_of_the_list_is_the_model(self, gateway: Gateway):
        places, fallback = add_places(gateway, OK), add_fallback(gateway, OK)
        body = {"models": [places.model, fallback], "messages": MESSAGE}
        answer = call(gateway.url, CHAT, places.tenant.key, body)
        assert answer.json["model"] == places.model
        assert answer.json["x_komilion"]["routed_from"] is None

    def test_nothing_of_it_reaches_a_provider(self, gateway: Gateway):
        places, fallback = add_places(gateway, OK), add_fallback(gateway, OK)
        places.ask(models=[fallback], route="fallback")
        places.ask(fallbacks=[{places.model: [fallback]}])
        for seen in places.calls(0):
            assert not {"models", "fallbacks", "route"} & seen.body.keys()

    def test_what_cannot_serve_is_left_out_and_named(self, gateway: Gateway):
        places = add_places(gateway, Reply(status=503), OK)
        blind = add_fallback(gateway, OK, capabilities="tools")
        small = add_fallback(gateway, OK, context=16, max_output=16)
        image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
        answer = places.ask(
            models=["acme/unheard-of", "Neo-Mode", blind, small],
            messages=[{"role": "user", "content": image}],
            max_tokens=5,
        )
        adjusted = {entry["model"]: entry["reason"] for entry in answer.json["x_komilion"]["adjusted"]}
        assert adjusted["acme/unheard-of"] == "unknown_model"
        assert adjusted["Neo-Mode"] == "policy_as_fallback"
        assert adjusted[blind] == "invalid_request"
        assert {entry["action"] for entry in answer.json["x_komilion"]["adjusted"]} == {"skipped"}
        assert only_row(places.tenant).detail["adjusted"] == answer.json["x_komilion"]["adjusted"]

    def test_a_prompt_that_is_too_long_for_a_fallback(self, gateway: Gateway):
        places, small = add_places(gateway, OK), add_fallback(gateway, OK, context=16, max_output=16)
        answer = places.ask(models=[small], messages=[{"role": "user", "content": "long " * 100}])
        assert answer.json["x_komilion"]["adjusted"] == [
            {"param": "models", "action": "skipped", "model": small, "reason": "context_length_exceeded"}
        ]

    def test_a_model_that_cannot_do_it_gives_way_to_its_fallback(self, gateway: Gateway):
        places = add_places(gateway, OK, capabilities="json_schema")
        fallback = add_fallback(gateway, OK)
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
        answer = places.ask(models=[fallback], tools=tools)
        assert answer.json["model"] == fallback
        assert answer.json["x_komilion"]["adjusted"][0]["model"] == places.model
        assert places.counts == [0]
        other = add_fallback(gateway, OK, capabilities="json_schema")
        assert places.ask(models=[other], tools=tools).json["error"]["param"] == "tools"

    def test_a_model_that_is_found_under_two_names_is_planned_once(self, gateway: Gateway):
        places = add_places(gateway, Reply(status=401))
        assert places.ask(models=[places.model.partition("/")[2]]).status == 502
        assert places.counts == [1]

    def test_only_models_that_the_key_may_call(self, gateway: Gateway):
        places, fallback = add_places(gateway, Reply(status=503)), add_fallback(gateway, OK)
        key = key_of(places.tenant, models_allowed=[places.model]).secret
        answer = gateway.chat(Tenant(key, places.tenant.email), places.model, models=[fallback])
        assert answer.status == 503
        assert gateway.calls_of(fallback) == []

    def test_an_unknown_model_is_an_error_whatever_its_fallbacks(self, gateway: Gateway):
        tenant, fallback = gateway.tenant(), add_fallback(gateway, OK)
        answer = gateway.chat(tenant, "acme/unheard-of", models=[fallback])
        assert (answer.status, answer.json["error"]["reason"]) == (400, "unknown_model")

    def test_all_offers_of_the_model_come_first(self, gateway: Gateway):
        places, fallback = add_places(gateway, BAD, OK), add_fallback(gateway, OK)
        assert_served(places, places.ask(models=[fallback]), 1, [2, 1])
        assert gateway.calls_of(fallback) == []

    @BOTH
    @pytest.mark.parametrize(
        ("offers", "fallbacks", "counts"),
        [(1, 1, [2]), (2, 1, [2, 1]), (2, 2, [2, 0]), (5, 1, [2, 1, *[0] * 3]), (5, 3, [1, *[0] * 4])],
    )
    def test_each_model_that_is_named_gets_its_turn(
        self, gateway: Gateway, offers: int, fallbacks: int, counts: list[int], stream: bool
    ):
        places = add_places(gateway, *[BAD] * offers)
        *failing, last = [*[add_fallback(gateway, BAD) for _ in range(fallbacks - 1)], add_fallback(gateway, OK)]
        answer = places.ask(models=[*failing, last], stream=stream)
        assert answer.status == 200
        assert (answer.frames[-1] if stream else answer.json)["model"] == last
        assert places.counts == counts
        assert [len(gateway.calls_of(model)) for model in failing] == [1] * len(failing)

    def test_several_offers_of_one_fallback_leave_the_next_its_turn(self, gateway: Gateway):
        places, next_one = add_places(gateway, BAD), add_places(gateway, BAD, BAD, BAD)
        last = add_fallback(gateway, OK)
        assert places.ask(models=[next_one.model, last]).json["model"] == last
        assert (places.counts, next_one.counts) == ([2], [1, 0, 0])

    def test_a_capability_that_only_one_offer_lacks_drops_the_parameter_there(self, gateway: Gateway):
        places = add_places(gateway, Reply(status=503), capabilities="reasoning")
        add_offer(places, OK, gateway.add_provider(f"plain-{places.providers[0]}"), capabilities="tools")
        answer = places.ask(reasoning_effort="high")
        assert places.calls(0)[0].body["reasoning_effort"] == "high"
        assert "reasoning_effort" not in places.calls(1)[0].body
        assert answer.json["x_komilion"]["adjusted"] == [{"param": "reasoning_effort", "action": "dropped"}]


class TestHold:
    def test_it_pays_for_the_dearest_attempt(self, gateway: Gateway):
        gate = Gate()
        places = add_places(gateway, gate.script)
        fallback = add_fallback(gateway, OK, input_price="300.00", output_price="1500.00")
        with RawCall(gateway.url, places.tenant.key, model=places.model, models=[fallback], max_tokens=100) as raw:
            raw.send()
            gate.wait_for_call()
            held = float(gateway.wallet(places.tenant.email)["held"])
            gate.open()
            raw.read_until(b'"x_komilion"')
        assert 0.1875 < held < 0.4  # a hundred tokens at 1,500 dollars a million, the fee, and the input

    def test_what_the_wallet_does_not_cover_is_left_out_and_named(self, gateway: Gateway):
        places = add_places(gateway, Reply(status=503), OK, credit="0.01")
        dear = add_fallback(gateway, OK, input_price="3000.00", output_price="15000.00")
        answer = places.ask(models=[dear], max_tokens=100)
        assert answer.json["model"] == places.model
        skipped = {"param": "models", "action": "skipped", "model": dear, "reason": "insufficient_balance"}
        assert skipped in answer.json["x_komilion"]["adjusted"]
        assert gateway.calls_of(dear) == []

    def test_the_cheaper_fallback_serves_where_the_model_is_too_dear(self, gateway: Gateway):
        places = add_places(gateway, OK, credit="0.01", input_price="3000.00", output_price="15000.00")
        cheap = add_fallback(gateway, OK)
        answer = places.ask(models=[cheap], max_tokens=100)
        assert answer.json["model"] == cheap
        assert places.counts == [0]
        assert_in_order(gateway, places.tenant, charge_of(Tokens(25, 12)), "0.01")

    def test_none_left_is_402(self, gateway: Gateway):
        places = add_places(gateway, OK, OK, credit="0.000001")
        answer = places.ask(models=[add_fallback(gateway, OK)])
        assert (answer.status, answer.json["error"]["reason"]) == (402, "insufficient_balance")
        assert places.counts == [0, 0]

    @BOTH
    def test_each_attempt_is_bounded_by_what_is_held(self, gateway: Gateway, stream: bool):
        places = add_places(gateway, Reply(status=503), credit="0.02")
        dearer = add_fallback(gateway, OK, input_price="6.00", output_price="30.00")
        answer = places.ask(models=[dearer], max_tokens=8_000, stream=stream)
        note = (answer.frames[-1] if stream else answer.json)["x_komilion"]
        (lowered,) = [entry for entry in note["adjusted"] if entry["param"] == "max_tokens"]
        assert lowered["to"] == gateway.calls_of(dearer)[0].body["max_tokens"] < places.calls(0)[0].body["max_tokens"]
        assert_in_order(gateway, places.tenant, only_row(places.tenant).charge_nano, "0.02")

    def test_a_coarse_bound_is_counted_for_all_of_them(self, gateway: Gateway):
        places = add_places(gateway, Reply(status=503), OK, credit="0.02")
        answer = places.ask(messages=[{"role": "user", "content": "word " * 2_000}], max_tokens=10)
        assert answer.status == 200
        assert places.counts == [1, 1]


class TestLeaving:
    @BOTH
    def test_nothing_follows_for_one_who_has_left(self, gateway: Gateway, stream: bool):
        gate = Gate(None if stream else 3, Reply(frames=0))

        async def fail(exchange) -> None:
            await gate._wait(exchange)
            exchange.break_off(reset=True)

        places = add_places(gateway, Reply(act=fail), OK)
        with RawCall(gateway.url, places.tenant.key, model=places.model, stream=stream) as raw:
            raw.send()
            gate.wait_for_call()
        wait_until(lambda: not nothing_is_held(gateway, places.tenant), what="the hold")
        gate.open()
        assert places.row().outcome == "provider_failed"
        assert places.counts == [1, 0]
        assert_in_order(gateway, places.tenant, 0)

    @BOTH
    def test_who_has_a_key_will_ask_again_and_gets_the_answer(self, gateway: Gateway, stream: bool):
        gate = Gate(None if stream else 3)

        async def fail(exchange) -> None:
            await gate._wait(exchange)
            exchange.break_off(reset=True)

        places = add_places(gateway, Reply(turns=(Reply(act=fail), Reply(status=503))), OK)
        with RawCall(gateway.url, places.tenant.key, model=places.model, stream=stream) as raw:
            raw.head = raw.head.replace(b"\r\nHost", b"\r\nIdempotency-Key: k\r\nHost", 1)
            raw.send()
            gate.wait_for_call()
            body = raw.body
        gate.open()
        assert places.row().outcome == "completed"
        assert places.counts == [2, 1]
        answer = call(gateway.url, CHAT, places.tenant.key, body, {"Idempotency-Key": "k"})
        assert answer.headers["idempotent-replayed"] == "true"
        assert answer.text == words(12)
        assert places.counts == [2, 1]
        assert_in_order(gateway, places.tenant, charge_of(places.calls(1)[0].billed))

    @BOTH
    def test_leaving_while_the_next_attempt_runs(self, gateway: Gateway, stream: bool):
        gate = Gate(None)
        places = add_places(gateway, Reply(status=503))
        add_offer(places, gate.script, CANCELLING)
        with RawCall(gateway.url, places.tenant.key, model=places.model, stream=stream) as raw:
            raw.send()
            gate.wait_for_call()
        assert places.row().outcome == "client_left"
        wait_until(lambda: places.calls(1)[0].outcome == "cancelled", what="the provider to be told")
        assert_in_order(gateway, places.tenant, 0)

    @BOTH
    def test_leaving_in_a_pause(self, gateway: Gateway, stream: bool):
        places = add_places(gateway, Reply(status=429, headers={"Retry-After": "1"}))
        with RawCall(gateway.url, places.tenant.key, model=places.model, stream=stream) as raw:
            raw.send()
            wait_until(lambda: places.calls(0) and places.calls(0)[0].outcome == "refused", what="the first try")
        assert places.row().outcome == "provider_failed"
        assert places.counts == [1]

    def test_a_server_that_stops_tries_nobody_else(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(komilion_settings, "SHUTDOWN_GRACE_S", 0.1)
        gate = Gate(None)
        places = add_places(gateway, gate.script, OK)
        with (
            second_server() as server,
            RawCall(server.url, places.tenant.key, model=places.model, stream=True) as raw,
        ):
            raw.send()
            gate.wait_for_call()
            server.ask_to_stop()
            raw.rest()
        assert places.row().outcome == "server_stopped"
        assert places.counts == [1, 0]
        assert len(usage_rows(places.tenant)) == 1


def test_every_kind_is_in_the_documents():
    page = (Path(__file__).parents[2] / "docs" / "failover.md").read_text()
    for kind, verdict in VERDICTS.items():
        assert f"| `{kind}` | {verdict.again} | {verdict.then} | {verdict.weight} |" in page.replace("  ", " "), kind
