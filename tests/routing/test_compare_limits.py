"""The calls of one comparison, its places and its part of the wallet."""

import asyncio

import pytest
from django.db import DatabaseError

from komilion import settings as komilion_settings
from routing.gateway.compare import Comparison
from routing.gateway.exchange import Exchange
from routing.limits.admission import REFUSALS, read_verdict
from tests.fakes.client import PROMPT, RawCall, call
from tests.fakes.replies import Reply
from tests.routing.answers import assert_error
from tests.routing.books import assert_in_order, usage_rows
from tests.routing.comparing import (
    COMPARE,
    compare,
    frames_of,
    limited_key,
    no_messages,
    summary,
)
from tests.routing.gates import Gate
from tests.routing.servers import second_server
from tests.stand import CANCELLING, Gateway, Tenant
from tests.waiting import wait_until


class TestPlaces:
    """The calls of one comparison wait for each other's places, and for nobody else's."""

    def test_are_taken_one_after_the_other(self, gateway: Gateway, alice: Tenant):
        gates = [Gate(2) for _ in range(4)]
        models = [gateway.add_model(gate.script) for gate in gates]
        key = limited_key(alice, {"parallel": 2})
        with RawCall(gateway.url, key, path=COMPARE, models=models) as raw:
            raw.send()
            for gate in gates[:2]:
                gate.wait_for_call()
            raw.read_frames(4)
            assert not any(gateway.calls_of(model) for model in models[2:])
            for gate in gates:
                gate.open()
            raw.rest()
        assert raw.payload.count(b'"finish_reason":"stop"') == 4
        assert b"too_many_parallel" not in raw.payload

    @pytest.mark.parametrize("stream", [True, False])
    def test_one_is_enough(self, gateway: Gateway, alice: Tenant, stream: bool):
        key = limited_key(alice, {"parallel": 1})
        body = {"models": [gateway.add_model(Reply())] * 6, "messages": PROMPT, "stream": stream}
        answer = call(gateway.url, COMPARE, key, body)
        results = (summary(answer) if stream else answer.json)["results"]
        assert [row["error"] for row in results] == [None] * 6
        assert len({row["request_id"] for row in results}) == 6

    def test_the_next_second_brings_the_rest(self, gateway: Gateway):
        """The free tier takes five requests a second."""
        tenant, model = gateway.tenant(tier="free"), gateway.add_model(Reply())
        results = summary(compare(gateway, tenant, [model] * 6))["results"]
        assert [row["error"] for row in results] == [None] * 6
        assert max(row["duration_ms"] for row in results) < 900  # waiting is none of a model's time

    def test_that_other_calls_have_are_not_waited_for(self, gateway: Gateway, alice: Tenant, model: str):
        key = limited_key(alice, {"parallel": 1})
        gate = Gate()
        with RawCall(gateway.url, key, model=gateway.add_model(gate.script), stream=True) as raw:
            raw.send()
            gate.wait_for_call()
            answer = call(gateway.url, COMPARE, key, {"models": [model] * 2, "messages": PROMPT})
            gate.open()
            raw.rest()
        assert_error(answer, COMPARE, 429, "rate_limit_error", "too_many_parallel_requests")

    def test_the_minutes_limits_are_not_waited_for(self, gateway: Gateway, alice: Tenant, model: str):
        key = limited_key(alice, {"requests_per_minute": 1})
        answer = call(gateway.url, COMPARE, key, {"models": [model] * 2, "messages": PROMPT})
        assert {row["error"] and row["error"]["reason"] for row in summary(answer)["results"]} == {None, "rate_limited"}

    def test_that_other_calls_took_meanwhile_are_not_waited_for_either(self):
        async def turn() -> bool:
            exchange = Exchange({"method": "POST", "path": COMPARE, "headers": []}, no_messages, no_messages)
            comparison = Comparison(exchange, ["a/b", "c/d"], stream=True)
            first, second = comparison._columns
            for column in (first, second):
                column.open(exchange, {}, stream=True)
            first.exchange.admission = read_verdict([0] * 8, second=0, catalog_version=0, degraded=False)
            first.end()
            refused_by_parallel = REFUSALS.index("parallel")
            verdict = [refused_by_parallel, 1_000, *[0] * 6]
            second.exchange.admission = read_verdict(verdict, second=0, catalog_version=0, degraded=False)
            return await comparison._is_our_turn(second, comparison._place_is_free)

        assert not asyncio.run(turn())

    def test_waiting_has_an_end(self, gateway: Gateway, alice: Tenant, model: str, monkeypatch: pytest.MonkeyPatch):
        """So that other calls of a busy caller, which take each place that comes free, hold nobody up for ever."""
        monkeypatch.setattr("routing.gateway.compare.TRIES", 1)
        answer = call(
            gateway.url, COMPARE, limited_key(alice, {"parallel": 1}), {"models": [model] * 2, "messages": PROMPT}
        )
        reasons = [row["error"] and row["error"]["reason"] for row in summary(answer)["results"]]
        assert reasons == [None, "too_many_parallel_requests"]

    def test_who_leaves_has_nothing_begun_any_more(self, gateway: Gateway, alice: Tenant):
        gates = [Gate(2), Gate(2)]
        models = [gateway.add_model(gate.script, provider=CANCELLING) for gate in gates]
        key = limited_key(alice, {"parallel": 1})
        before = len(usage_rows(alice))
        with RawCall(gateway.url, key, path=COMPARE, models=models) as raw:
            raw.send()
            raw.read_frames(2)
            raw.leave()
        wait_until(lambda: len(usage_rows(alice)) == before + 1, what="the running one to end")
        assert len([model for model in models if gateway.calls_of(model)]) == 1

    def test_a_server_that_stops_ends_the_waiting(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(komilion_settings, "SHUTDOWN_GRACE_S", 0.1)
        tenant, gate = gateway.tenant(), Gate(2)
        key = limited_key(tenant, {"parallel": 1})
        with (
            second_server() as server,
            RawCall(server.url, key, path=COMPARE, models=[gateway.add_model(gate.script)] * 2) as raw,
        ):
            raw.send().read_frames(2)
            server.ask_to_stop()
            raw.rest()
        assert b"server is stopping" in raw.payload
        assert raw.payload.endswith(b"data: [DONE]\n\n")


class TestShares:
    """Each of the calls may hold an equal part of the wallet."""

    @pytest.mark.parametrize("stream", [True, False])
    def test_a_dear_model_leaves_the_others_theirs(self, gateway: Gateway, stream: bool):
        tenant = gateway.tenant(credit="0.30")
        dear = gateway.add_model(Reply(), max_output=100_000, output_price="60.00")
        gate = Gate(2)
        cheap = gateway.add_model(gate.script)
        with RawCall(gateway.url, tenant.key, path=COMPARE, models=[dear, cheap, cheap], stream=stream) as raw:
            raw.send()
            wait_until(lambda: len(gateway.calls_of(cheap)) == 2, what="both of the cheap calls")
            gate.open()
            raw.read_until(b'"diff"')
        assert b'"finish_reason":"stop"' in raw.payload
        assert b"insufficient_balance" not in raw.payload
        (seen,) = gateway.calls_of(dear)
        assert 0 < seen.body["max_tokens"] * 60_000 * 1.25 <= 0.10 * 10**9
        rows = usage_rows(tenant)
        (adjusted,) = [row.detail["adjusted"] for row in rows if row.model == dear]
        assert [(note["param"], note["action"], note["reason"]) for note in adjusted] == [
            ("max_tokens", "lowered", "shared_balance")
        ]
        assert_in_order(gateway, tenant, sum(row.charge_nano for row in rows), credit="0.30")

    def test_one_that_needs_more_than_its_part_says_who_has_the_rest(self, gateway: Gateway):
        tenant = gateway.tenant(credit="0.02")
        dear, cheap = gateway.add_model(Reply(), output_price="6000.00"), gateway.add_model(Reply())
        answer = compare(gateway, tenant, [dear, cheap], max_tokens=2)
        results = summary(answer)["results"]
        assert (results[0]["error"]["reason"], results[1]["error"]) == ("insufficient_balance", None)
        said = results[0]["error"]["message"]
        assert "its part of what the wallet has is $0.01: the rest is held by the other models" in said

    def test_a_fallback_that_needs_more_than_the_part_is_left_out(self, gateway: Gateway):
        tenant = gateway.tenant(credit="0.02")
        dear, cheap = gateway.add_model(Reply(), output_price="6000.00"), gateway.add_model(Reply())
        answer = compare(gateway, tenant, [cheap, cheap], max_tokens=2, fallbacks=[dear])
        skipped = {"param": "models", "action": "skipped", "model": dear, "reason": "shared_balance"}
        assert frames_of(answer, 0)[-1]["x_komilion"]["adjusted"] == [skipped]

    def test_without_the_wallet_nothing_is_begun(
        self, gateway: Gateway, alice: Tenant, monkeypatch: pytest.MonkeyPatch
    ):
        def fail(_: int) -> None:
            raise DatabaseError

        monkeypatch.setattr("routing.gateway.shares.available_nano", fail)
        model = gateway.add_model(Reply())
        answer = compare(gateway, alice, [model, model])
        assert answer.status == 503
        assert not gateway.calls_of(model)


@pytest.fixture(scope="module")
def model(gateway: Gateway) -> str:
    """A model that answers."""
    return gateway.add_model(Reply())
