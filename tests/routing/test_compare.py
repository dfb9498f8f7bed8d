"""`POST /api/compare`: each model is a call of its own, and their answers come side by side."""

import re
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes import frames, wire
from tests.fakes.client import PROMPT, RawCall, call
from tests.fakes.replies import Cut, Reply, ToolCall
from tests.routing.answers import RATE_HEADERS, assert_error, key_of
from tests.routing.books import assert_in_order, usage_rows
from tests.routing.comparing import COMPARE, SEPARATE, compare, frames_of, rows_by_model, summary, text_of
from tests.routing.gates import STREAM, Gate, words
from tests.routing.test_session_tokens import token_of
from tests.stand import Gateway, Tenant


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


@pytest.fixture(scope="module")
def model(gateway: Gateway) -> str:
    """A model that answers."""
    return gateway.add_model(Reply())
