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
from tests.routing.books import assert_in_order, charge_of, nothing_is_held, usage_rows
from tests.routing.failing import BAD, BOTH, OK, add_fallback, add_offer, add_places, assert_served
from tests.routing.gates import Gate, words
from tests.routing.servers import second_server
from tests.stand import CANCELLING, Gateway
from tests.waiting import wait_until

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
