"""`POST /api/compare`: each model is a call of its own, and their answers come side by side."""

import asyncio
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError

from komilion import settings as komilion_settings
from komilion.common.numbers import numbers
from routing.gateway.compare import Comparison
from routing.gateway.exchange import Exchange
from routing.limits.admission import REFUSALS, read_verdict
from tests.fakes import frames, wire
from tests.fakes.client import PROMPT, Answer, RawCall, call
from tests.fakes.replies import Cut, Reply, ToolCall
from tests.routing.answers import RATE_HEADERS, assert_error, key_of
from tests.routing.books import assert_in_order, charge_of, counted, usage_rows
from tests.routing.gates import ENDLESS, STREAM, Gate, words
from tests.routing.servers import second_server
from tests.routing.test_session_tokens import token_of
from tests.stand import CANCELLING, Gateway, Tenant
from tests.waiting import wait_until

COMPARE = "/api/compare"
SEPARATE = {"object", "results", "diff"}


def compare(gateway: Gateway, tenant: Tenant, models: list[str], **body: Any) -> Answer:
    return call(gateway.url, COMPARE, tenant.key, {"models": models, "messages": PROMPT, **body})


def summary(answer: Answer) -> dict[str, Any]:
    """The last frame, with amounts as they are written."""
    assert answer.status == 200, answer.body
    assert answer.events[-1] == "[DONE]"
    found: dict[str, Any] = json.loads(answer.events[-2], parse_float=Decimal)
    assert found["object"] == "compare.summary"
    return found


def frames_of(answer: Answer, index: int) -> list[dict[str, Any]]:
    return [frame for frame in answer.frames if frame.get("index") == index]


def text_of(answer: Answer, index: int) -> str:
    lists = [frame.get("choices") for frame in frames_of(answer, index)]
    deltas = [choice["delta"] for choices in lists if isinstance(choices, list) for choice in choices if choice != 5]
    return "".join(delta.get("content") or "" for delta in deltas if isinstance(delta, dict) and "tool" not in delta)


def limited_key(tenant: Tenant, limits: dict[str, int]) -> str:
    """Another key of the tenant's, with limits of its own."""
    made = key_of(tenant)
    type(made.row).objects.filter(pk=made.row.pk).update(limits=limits)
    return made.secret


async def no_messages(*_: Any) -> Any:
    """Of a client that says and takes nothing."""
    await asyncio.Event().wait()


def rows_by_model(tenant: Tenant, count: int) -> dict[str, Any]:
    wait_until(lambda: len(usage_rows(tenant)) == count, what="the usage rows")
    return {row.model: row for row in usage_rows(tenant)}


class TestStream:
    def test_each_model_is_a_call_of_its_own(self, gateway: Gateway):
        tenant = gateway.tenant()
        models = [gateway.add_model(Reply(content=text, frames=4)) for text in ("one two three", "one two four")]
        answer = compare(gateway, tenant, models, temperature=0.5)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert set(RATE_HEADERS) <= set(answer.headers)
        assert [text_of(answer, index) for index in (0, 1)] == ["one two three", "one two four"]
        results = summary(answer)["results"]
        rows = rows_by_model(tenant, 2)
        for index, model in enumerate(models):
            row, result, last = rows[model], results[index], frames_of(answer, index)[-1]
            assert row.endpoint == "compare"
            assert row.streamed
            assert result["request_id"] == row.request_id == last["id"]
            assert (result["model"], result["answered_by"], result["error"]) == (model, model, None)
            assert result["cost_nano_usd"] == row.charge_nano == last["x_komilion"]["cost_nano_usd"]
            assert result["usage"]["completion_tokens"] == 4
            assert {frame["model"] for frame in frames_of(answer, index)} == {model}
            (provider_call,) = gateway.calls_of(model)
            assert provider_call.body["temperature"] == 0.5
        assert answer.headers["x-request-id"] not in {row.request_id for row in rows.values()}
        assert_in_order(gateway, tenant, sum(row.charge_nano for row in rows.values()))

    def test_amounts_are_exact_decimals(self, gateway: Gateway, alice: Tenant):
        """A cost of a few nano-dollars, which a float would write with an exponent."""
        model = gateway.add_model(Reply(), input_price="0.001", output_price="0.001")
        answer = compare(gateway, alice, [model, model])
        text = answer.body.decode()
        costs = re.findall(r'"cost(?:_usd)?":([^,}]+)', text)
        nano = re.findall(r'"cost_nano_usd":([^,}]+)', text)
        assert len(costs) == len(nano) == 8  # usage and bill, in the frame and in the summary, of each
        assert {int(Decimal(cost) * 10**9) for cost in costs} == set(map(int, nano))
        assert not any("e" in cost.lower() for cost in costs)

    def test_measures_of_time(self, gateway: Gateway, alice: Tenant):
        slow = Reply(frames=5, between_frames_s=0.02, before_content_s=0.05)
        result = summary(compare(gateway, alice, [gateway.add_model(slow)] * 2))["results"][0]
        assert 50 <= result["first_content_ms"] < result["duration_ms"]
        assert 0 < result["tokens_per_s"] <= 5 / 0.08

    def test_frames_come_as_they_are_written_and_nobody_waits_for_another(self, gateway: Gateway, alice: Tenant):
        gates = [Gate(3), Gate(5)]
        models = [gateway.add_model(gate.script) for gate in gates]
        with RawCall(gateway.url, alice.key, path=COMPARE, models=models) as raw:
            raw.send().read_frames(8)
            gates[1].open()
            raw.read_until(b'"finish_reason":"stop"')
            assert raw.payload.count(b'{"index":0,"model"') == 3
            gates[0].open()
            raw.rest()
        body = raw.payload.decode()
        assert body.endswith("data: [DONE]\n\n")
        assert body.count("compare.summary") == 1

    def test_what_another_model_answers_says_so(self, gateway: Gateway, alice: Tenant):
        """A policy that may choose one model only chooses that."""
        model = gateway.add_model(Reply())
        key = key_of(alice, models_allowed=[model]).secret
        body = {"models": ["neo-mode/frugal", model], "messages": PROMPT, "x_komilion": {"explain": True}}
        answer = call(gateway.url, COMPARE, key, body)
        assert {frame.get("answered_by") for frame in frames_of(answer, 0)} == {model}
        assert {frame["model"] for frame in frames_of(answer, 0)} == {"neo-mode/frugal"}
        assert {frame.get("answered_by") for frame in frames_of(answer, 1)} == {None}
        assert [(row["model"], row["answered_by"]) for row in summary(answer)["results"]] == [
            ("neo-mode/frugal", model),
            (model, model),
        ]
        assert frames_of(answer, 0)[-1]["x_komilion"]["receipt"]["chosen"] == model

    def test_the_same_model_twice_is_two_calls(self, gateway: Gateway):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        found = summary(compare(gateway, tenant, [model] * 6))
        assert len({row["request_id"] for row in found["results"]}) == 6
        assert len(found["diff"]["pairs"]) == 15
        assert_in_order(gateway, tenant, sum(row["cost_nano_usd"] for row in found["results"]))

    def test_a_call_of_tools_has_content_and_no_text(self, gateway: Gateway, alice: Tenant):
        model = gateway.add_model(Reply(tool_calls=(ToolCall("f", '{"a": 1}'),)))
        tools = [{"type": "function", "function": {"name": "f"}}]
        found = summary(compare(gateway, alice, [model, model], tools=tools))
        assert found["results"][0]["first_content_ms"] is not None
        assert found["diff"]["answers"][0]["characters"] == 0

    def test_what_a_provider_adds_replaces_nothing_of_ours(self, gateway: Gateway, alice: Tenant):
        """Its own fields pass, as they do in any stream; neither a name of ours nor an odd shape does any harm."""
        added = {"index": 9, "answered_by": "x", "x_komilion": {"cost_nano_usd": "much"}, "usage": None, "error": None}
        model = gateway.add_model(Reply(extra=added))
        found = compare(gateway, alice, [model, model])
        assert {frame.get("index") for frame in found.frames} == {0, 1, None}
        assert summary(found)["results"][0]["cost_nano_usd"] > 0

    @pytest.mark.parametrize(
        "choices",
        [
            b'"choices":5,"more":[',
            b'"choices":[5,{"index":0,"delta":"x"},{"index":0,"delta":{"content":[]}},',
            b'"choices":[no JSON ',
        ],
    )
    def test_odd_frames_are_passed_on_or_dropped(self, gateway: Gateway, alice: Tenant, choices: bytes):
        """The gateway relays a frame that begins and ends as it should without proving that it is JSON."""

        async def act(exchange: Any) -> None:
            planned = [frame.data for frame in frames.stream(exchange.reply, exchange.call)]
            odd = planned[1].replace(b'"choices":[', choices)
            await exchange.send(wire.head(200, STREAM))
            for data in (*planned[:2], odd, *planned[2:]):
                await exchange.send(wire.chunk(data))
            await exchange.send(wire.chunk(b""))

        model = gateway.add_model(Reply(act=act))
        answer = compare(gateway, alice, [model, model])
        said = text_of(answer, 0)
        assert (said[:17], said[-10:]) == ("Quantum computing", "classical ")
        assert [row["error"] for row in summary(answer)["results"]] == [None, None]

    def test_a_session_token_may_compare(self, gateway: Gateway):
        tenant, model = gateway.tenant(), gateway.add_model(Reply())
        answer = call(gateway.url, COMPARE, token_of(tenant.email), {"models": [model, model], "messages": PROMPT})
        summary(answer)
        assert {row.key_id for row in usage_rows(tenant)} == {None}


class TestWhole:
    def test_one_document_with_all_answers(self, gateway: Gateway):
        tenant = gateway.tenant()
        models = [gateway.add_model(Reply(content=text)) for text in ("yes", "no")]
        answer = compare(gateway, tenant, models, stream=False)
        assert answer.headers["content-type"] == "application/json"
        assert set(RATE_HEADERS) <= set(answer.headers)
        found = answer.json
        assert set(found) == SEPARATE
        assert found["object"] == "compare"
        assert [result["text"] for result in found["results"]] == ["yes", "no"]
        for result in found["results"]:
            assert result["answer"]["id"] == result["request_id"]
            assert result["answer"]["x_komilion"]["cost_nano_usd"] == result["cost_nano_usd"]
            assert result["first_content_ms"] is None
            assert result["tokens_per_s"] > 0
        rows = rows_by_model(tenant, 2)
        assert not any(row.streamed for row in rows.values())
        assert_in_order(gateway, tenant, sum(row.charge_nano for row in rows.values()))

    def test_an_error_of_one_stands_beside_the_answers_of_others(self, gateway: Gateway, alice: Tenant):
        models = [gateway.add_model(Reply()), "acme/nobody"]
        found = compare(gateway, alice, models, stream=False).json
        assert found["results"][1]["error"]["reason"] == "unknown_model"
        assert (found["results"][1]["text"], found["results"][1]["answer"]) == (None, None)
        assert found["results"][0]["text"] == words(12)

    def test_an_answer_without_words(self, gateway: Gateway, alice: Tenant):
        model = gateway.add_model(Reply(tool_calls=(ToolCall("f", "{}"),)))
        tools = [{"type": "function", "function": {"name": "f"}}]
        found = compare(gateway, alice, [model, model], tools=tools, stream=False).json
        assert found["results"][0]["text"] == ""
        assert found["results"][0]["answer"]["choices"][0]["message"]["tool_calls"]

    def test_usage_that_cannot_be_read_is_no_measure(self, gateway: Gateway, alice: Tenant):
        reply = Reply(declared=lambda whole: {"prompt_tokens": 1, "completion_tokens": "many", "total_tokens": 2})
        found = compare(gateway, alice, [gateway.add_model(reply)] * 2, stream=False).json
        assert found["results"][0]["cost_nano_usd"] > 0


class TestErrors:
    def test_one_that_is_refused_does_not_end_the_others(self, gateway: Gateway, alice: Tenant):
        models = ["acme/nobody", gateway.add_model(Reply()), gateway.add_model(Reply(status=500))]
        answer = compare(gateway, alice, models)
        assert text_of(answer, 1) == words(12)
        results = summary(answer)["results"]
        assert [result["error"] and result["error"]["reason"] for result in results] == [
            "unknown_model",
            None,
            "provider_error",
        ]
        for index in (0, 2):
            (frame,) = frames_of(answer, index)
            assert (frame["model"], frame["error"]) == (models[index], results[index]["error"])
            assert frame["request_id"] == results[index]["request_id"]
            assert frame["begun"] == results[index]["begun"] == (index == 2)  # nobody was asked by an unknown name
            assert results[index]["cost_nano_usd"] == 0
        assert summary(answer)["diff"]["pairs"] == []

    def test_one_that_is_refused_late_is_told_at_once(self, gateway: Gateway, alice: Tenant):
        answering, failing = Gate(2), Gate(None, Reply())
        models = [gateway.add_model(answering.script), gateway.add_model(Reply(status=500, before_head_s=0.2))]
        with RawCall(gateway.url, alice.key, path=COMPARE, models=models) as raw:
            raw.send().read_until(b'"error"')
            answering.open()
            failing.open()
            raw.rest()
        before, _, after = raw.payload.partition(b'"finish_reason":"stop"')
        assert b'"reason":"provider_error"' in before
        assert b"compare.summary" in after

    def test_one_that_breaks_off_says_so_and_is_charged_for_what_came(self, gateway: Gateway):
        tenant = gateway.tenant()
        models = [gateway.add_model(Reply(cut=Cut(frames=3))), gateway.add_model(Reply())]
        answer = compare(gateway, tenant, models)
        last = frames_of(answer, 0)[-1]
        assert last["error"]["reason"] == "provider_error"
        results = summary(answer)["results"]
        assert results[0]["error"]["reason"] == "provider_error"
        assert results[0]["cost_nano_usd"] == last["x_komilion"]["cost_nano_usd"] > 0
        assert text_of(answer, 1) == words(12)
        assert_in_order(gateway, tenant, sum(result["cost_nano_usd"] for result in results))

    def test_refusals_of_different_kinds_are_events(self, gateway: Gateway, alice: Tenant):
        answer = compare(gateway, alice, ["acme/nobody", gateway.add_model(Reply(status=500))])
        assert [row["error"]["reason"] for row in summary(answer)["results"]] == ["unknown_model", "provider_error"]
        assert len(answer.frames) == 3

    @pytest.mark.parametrize("stream", [True, False])
    def test_refusals_of_one_kind_are_the_status(self, gateway: Gateway, alice: Tenant, stream: bool):
        answer = compare(gateway, alice, ["acme/nobody", "acme/neither"], stream=stream)
        assert_error(answer, COMPARE, 400, "invalid_request_error", "unknown_model")

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"models": ["a/b"]}, "models"),
            ({"models": ["a/b"] * 7}, "models"),
            ({"models": "a/b"}, "models"),
            ({}, "models"),
            ({"models": ["a/b", ""]}, "models"),
            ({"models": ["a/b", 5]}, "models"),
            ({"models": ["a/b", "x" * 201]}, "models"),
            ({"models": ["a/b", "c/d"], "model": "a/b"}, "model"),
            ({"models": ["a/b", "c/d"], "stream": 1}, "stream"),
        ],
    )
    def test_what_is_wrong_with_the_request_as_a_whole(
        self, gateway: Gateway, alice: Tenant, body: dict[str, Any], param: str
    ):
        answer = call(gateway.url, COMPARE, alice.key, {"messages": PROMPT, **body})
        assert_error(answer, COMPARE, 400, "invalid_request_error", "invalid_request")
        assert answer.json["error"]["param"] == param
        assert set(RATE_HEADERS) <= set(answer.headers)

    def test_what_is_wrong_in_a_field_of_every_call(self, gateway: Gateway, alice: Tenant, model: str):
        answer = compare(gateway, alice, [model, model], temperature="hot")
        assert_error(answer, COMPARE, 400, "invalid_request_error", "invalid_request")
        assert answer.json["error"]["param"] == "temperature"

    def test_no_idempotency_key(self, gateway: Gateway, alice: Tenant, model: str):
        body = {"models": [model, model], "messages": PROMPT}
        answer = call(gateway.url, COMPARE, alice.key, body, {"Idempotency-Key": "one"})
        assert_error(answer, COMPARE, 400, "invalid_request_error", "invalid_request")
        assert "Idempotency-Key" in answer.json["error"]["message"]

    def test_a_body_that_would_be_too_much_in_all(self, gateway: Gateway, alice: Tenant, settings: Any, model: str):
        settings.BODY_LIMIT_BYTES = 1_000
        message = [{"role": "user", "content": "x" * 400}]
        answer = call(gateway.url, COMPARE, alice.key, {"models": [model] * 2, "messages": message})
        assert answer.status == 200
        answer = call(gateway.url, COMPARE, alice.key, {"models": [model] * 3, "messages": message})
        assert_error(answer, COMPARE, 413, "invalid_request_error", "payload_too_large")

    def test_a_key_may_compare_what_it_may_call(self, gateway: Gateway, alice: Tenant):
        allowed, other = gateway.add_model(Reply()), gateway.add_model(Reply())
        key = key_of(alice, models_allowed=[allowed]).secret
        answer = call(gateway.url, COMPARE, key, {"models": [allowed, other], "messages": PROMPT})
        reasons = [row["error"] and row["error"]["reason"] for row in summary(answer)["results"]]
        assert reasons == [None, "model_not_allowed"]


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


@pytest.fixture(scope="module")
def model(gateway: Gateway) -> str:
    """A model that answers."""
    return gateway.add_model(Reply())
