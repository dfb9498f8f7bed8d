"""Comparisons that nobody reads, that are left, and whose server stops."""

import asyncio
from typing import Any

import pytest

from komilion import settings as komilion_settings
from komilion.common.numbers import numbers
from routing.gateway.compare import Comparison
from routing.gateway.exchange import Exchange
from tests.fakes.client import RawCall
from tests.fakes.replies import Reply
from tests.routing.books import assert_in_order, charge_of, counted, usage_rows
from tests.routing.comparing import (
    COMPARE,
    compare,
    rows_by_model,
    summary,
)
from tests.routing.gates import ENDLESS, Gate, words
from tests.routing.servers import second_server
from tests.stand import CANCELLING, Gateway, Tenant
from tests.waiting import wait_until


class TestSilence:
    def test_signs_of_life(self, gateway: Gateway, alice: Tenant, settings: Any):
        settings.COMMENT_FRAME_EVERY_S = 0.05
        gate = Gate(None)
        with RawCall(gateway.url, alice.key, path=COMPARE, models=[gateway.add_model(gate.script)] * 2) as raw:
            raw.send().read_until(b": keep-alive\n\n", 3)
            gate.open()
            raw.rest()
        assert b"compare.summary" in raw.payload

    def test_a_refusal_after_a_sign_of_life_is_an_event(self, gateway: Gateway, alice: Tenant, settings: Any):
        settings.COMMENT_FRAME_EVERY_S = 0.05
        model = gateway.add_model(Reply(status=500, before_head_s=0.3))
        answer = compare(gateway, alice, [model] * 2)
        assert [row["error"]["reason"] for row in summary(answer)["results"]] == ["provider_error"] * 2
        assert len(answer.frames) == 3

    def test_who_does_not_read_counts_as_gone(self, gateway: Gateway, settings: Any):
        settings.WRITE_STALL_S = settings.COMMENT_FRAME_EVERY_S = 0.1
        tenant = gateway.tenant(credit="1000.00")
        reply = Reply(frames=200, words_per_frame=20_000)
        model = gateway.add_model(reply, provider=CANCELLING, **ENDLESS)
        with RawCall(gateway.url, tenant.key, path=COMPARE, models=[model] * 2) as raw:
            raw.send().read_frames(1)
            wait_until(lambda: len(usage_rows(tenant)) == 2, what="both to be given up")
        assert {row.outcome for row in usage_rows(tenant)} == {"client_left"}

    def test_what_else_comes_on_the_connection_is_no_departure(self):
        messages = iter(["http.request", "http.disconnect"])

        async def leave() -> bool:
            async def receive() -> dict[str, str]:
                return {"type": next(messages)}

            exchange = Exchange({"method": "POST", "path": COMPARE, "headers": []}, receive, receive)  # type: ignore[arg-type]
            comparison = Comparison(exchange, ["a/b", "c/d"], stream=True)
            await comparison._await_departure()
            return comparison._gone.is_set()

        assert asyncio.run(leave())
        assert next(messages, None) is None

    def test_who_does_not_take_a_sign_of_life_is_gone_for_all(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
        """Between two frames the only thing to be written is ours; it must not wait for ever either."""
        monkeypatch.setattr(numbers, "WRITE_STALL_S", 0.02)

        async def stalled() -> bool:
            async def send(message: Any) -> None:
                await asyncio.Event().wait()

            exchange = Exchange({"method": "POST", "path": COMPARE, "headers": []}, send, send)  # type: ignore[arg-type]
            exchange.started = True
            comparison = Comparison(exchange, ["a/b", "c/d"], stream=True)
            await comparison._say(b": keep-alive\n\n")
            await comparison._say(b"nobody is there")
            return comparison._gone.is_set()

        assert asyncio.run(stalled())


class TestLeaving:
    @pytest.mark.parametrize("before", [None, 2], ids=["before the head", "in the middle"])
    def test_all_calls_are_cancelled_where_that_stops_the_bill(self, gateway: Gateway, before: int | None):
        gates = [Gate(before), Gate(before)]
        tenant = gateway.tenant()
        models = [gateway.add_model(gate.script, provider=CANCELLING) for gate in gates]
        with RawCall(gateway.url, tenant.key, path=COMPARE, models=models) as raw:
            raw.send()
            for gate in gates:
                gate.wait_for_call()
            raw.read_frames(2 * (before or 0))
            raw.leave()
        rows = rows_by_model(tenant, 2)
        assert {row.outcome for row in rows.values()} == {"client_left"}
        for model in models:
            (provider_call,) = gateway.calls_of(model)
            wait_until(lambda seen=provider_call: seen.outcome == "cancelled", what="the provider to be told")
        charges = [
            charge_of(counted(gateway.calls_of(model)[0], before, words(before))) if before else 0 for model in models
        ]
        assert_in_order(gateway, tenant, sum(charges))

    @pytest.mark.parametrize("stream", [True, False])
    def test_others_are_read_to_their_end_and_charged_exactly(self, gateway: Gateway, stream: bool):
        gate = Gate(2)
        tenant, model = gateway.tenant(), gateway.add_model(gate.script)
        with RawCall(gateway.url, tenant.key, path=COMPARE, models=[model] * 2, stream=stream) as raw:
            raw.send()
            wait_until(lambda: len(gateway.calls_of(model)) == 2, what="both calls")
            raw.leave()
        gate.open()
        wait_until(lambda: len(usage_rows(tenant)) == 2, what="both rows")
        assert {row.outcome for row in usage_rows(tenant)} == {"completed"}
        assert_in_order(gateway, tenant, sum(charge_of(seen.billed) for seen in gateway.calls_of(model)))

    def test_each_ends_as_its_own_offer_says(self, gateway: Gateway):
        gates = [Gate(2), Gate(2)]
        tenant = gateway.tenant()
        drained = gateway.add_model(gates[0].script)
        cancelled = gateway.add_model(gates[1].script, provider=CANCELLING)
        with RawCall(gateway.url, tenant.key, path=COMPARE, models=[drained, cancelled]) as raw:
            raw.send().read_frames(4)
            raw.leave()
        wait_until(lambda: len(usage_rows(tenant)) == 1, what="the one that is cancelled")
        gates[0].open()
        rows = rows_by_model(tenant, 2)
        assert (rows[drained].outcome, rows[cancelled].outcome) == ("completed", "client_left")


class TestStopping:
    def test_a_server_that_stops_settles_all_and_says_so(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(komilion_settings, "SHUTDOWN_GRACE_S", 0.1)
        tenant = gateway.tenant()
        gates = [Gate(2), Gate(None)]
        models = [gateway.add_model(gate.script) for gate in gates]
        with second_server() as server, RawCall(server.url, tenant.key, path=COMPARE, models=models) as raw:
            raw.send().read_frames(2)
            gates[1].wait_for_call()
            server.ask_to_stop()
            raw.rest()
        assert raw.payload.count(b"server is stopping") == 4  # each in its own frame and in the summary
        assert raw.payload.endswith(b"data: [DONE]\n\n")
        assert {row.outcome for row in rows_by_model(tenant, 2).values()} == {"server_stopped"}
