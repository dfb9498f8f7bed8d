"""OpenAI's dialect: what is sent, and how whole answers are read. Streams are in `test_openai_stream.py`."""

import json
from typing import Any

import orjson
import pytest

from komilion.common.errors import ContentFiltered, KomilionError, ProviderError, ProviderUnavailable, RateLimited
from komilion.common.usage import Usage
from routing.providers.base import ChatRequest, Quirks, Target
from routing.providers.openai_compat import OpenAICompatible
from routing.providers.registry import DIALECTS, dialect
from tests.routing.openai_frames import BASE, IDENTITY, USAGE

TARGET = Target("http://provider/v1", "sk-upstream", "ok", frozenset({"tools"}))
DIALECT = OpenAICompatible()


def test_the_registry_knows_the_dialect_by_name() -> None:
    assert dialect("openai") is DIALECTS["openai"]
    with pytest.raises(KeyError):
        dialect("smoke signals")


# What is sent.


def sent(request: ChatRequest, target: Target = TARGET, bound: int | None = None) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(DIALECT.chat_request(request, target, bound).body)
    return body


def a_request(**more: Any) -> ChatRequest:
    return ChatRequest("openai/gpt-4o", [{"role": "user", "content": "Hi"}], {"temperature": 0.5}, **more)


def test_the_body_holds_the_providers_model_and_the_parameters() -> None:
    call = DIALECT.chat_request(a_request(), TARGET, None)

    assert call.url == "http://provider/v1/chat/completions"
    assert orjson.loads(call.body) == {
        "model": "ok",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.5,
    }
    assert call.headers["Authorization"] == "Bearer sk-upstream"
    assert call.headers["Accept-Encoding"] == "identity"
    assert call.headers["Accept"] == "application/json"


def test_a_provider_without_a_key_gets_no_authorization() -> None:
    assert "Authorization" not in DIALECT.chat_request(a_request(), Target("u", "", "ok", frozenset()), None).headers


def test_the_output_bound_goes_under_the_name_that_the_offer_knows() -> None:
    modern = Target("u", "k", "ok", frozenset({"max_completion_tokens"}))

    assert sent(a_request(max_output_tokens=500), bound=100)["max_tokens"] == 100
    assert sent(a_request(), modern, 100)["max_completion_tokens"] == 100
    assert "max_tokens" not in sent(a_request(), modern, 100)
    assert "max_tokens" not in sent(a_request(max_output_tokens=500))


def test_who_refuses_stream_options_gets_none() -> None:
    terse = Target("u", "k", "ok", frozenset(), quirks=Quirks(refuses=frozenset({"stream_options"})))
    assert sent(a_request(stream=True), terse)["stream"] is True
    assert "stream_options" not in sent(a_request(stream=True), terse)


def test_a_stream_always_asks_for_usage() -> None:
    request = a_request(stream=True)
    kept = ChatRequest("m", [], {"stream_options": {"include_obfuscation": False}}, stream=True)

    assert sent(request)["stream"] is True
    assert sent(request)["stream_options"] == {"include_usage": True}
    assert sent(kept)["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert DIALECT.chat_request(request, TARGET, None).headers["Accept"] == "text/event-stream"
    assert not {"stream", "stream_options"} & set(sent(a_request()))


def test_more_choices_than_one_are_asked_for() -> None:
    assert sent(a_request(choices=3))["n"] == 3
    assert "n" not in sent(a_request())


def test_unknown_parameters_go_only_where_the_operator_lets_them_and_overrule_nothing() -> None:
    request = a_request(unknown={"top_k": 5, "temperature": 9, "model": "dearer", "messages": []})
    open_minded = Target("u", "k", "ok", frozenset(), pass_unknown=True)

    assert "top_k" not in sent(request)
    assert sent(request, open_minded) == {**sent(request), "top_k": 5}


# Whole answers.


def an_answer(message: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    message = message or {"role": "assistant", "content": "Hé"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**BASE, "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}


def read(payload: Any) -> Any:
    return DIALECT.chat_answer(payload if isinstance(payload, bytes) else orjson.dumps(payload), IDENTITY)


def test_an_answer_keeps_everything_but_id_and_model() -> None:
    answer = read(an_answer(citations=["x"], system_fingerprint="fp"))

    assert answer.payload == {
        **an_answer(citations=["x"], system_fingerprint="fp"),
        "id": "gen-0123456789",
        "model": "openai/gpt-4o",
    }
    assert answer.report.usage == Usage(input=25, output=150)
    assert answer.output_bytes == 3


def test_an_answer_without_usage_has_no_report() -> None:
    assert read(an_answer(usage=None)).report is None


def test_everything_the_model_wrote_is_measured() -> None:
    message = {
        "content": None,
        "reasoning_content": "ab",
        "refusal": "é",
        "tool_calls": [
            {"id": "call_1", "function": {"name": "f", "arguments": "{}"}},
            {"id": "call_2", "custom": {"name": "g", "input": "xyz"}},
            "odd",
        ],
        "function_call": {"name": "h", "arguments": ""},
    }
    answer = an_answer(message)
    answer["choices"] += [{"index": 1, "message": {"content": "four"}}, {"index": 2, "message": None}, "odd"]

    assert read(answer).output_bytes == 2 + 2 + 3 + 4 + 1 + 4


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ProviderError),
        (b"<html>", ProviderError),
        (b"7", ProviderError),
        (b"[]", ProviderError),
        (b"[{}]", ProviderError),
        (b'{"choices": []}', ProviderError),
        (b'{"choices": ["x"]}', ProviderError),
        (b'{"choices": null}', ProviderError),
        (b"[" * 100_000, ProviderError),
        (b'{"choices": [{"a": %b}]}' % (b"[" * 300 + b"]" * 300), ProviderError),
        (b'{"error": {"message": "slow", "type": "rate_limit_error"}}', RateLimited),
        (b'[{"error": {"message": "slow", "code": 429}}]', RateLimited),
        (b'{"object": "error", "message": "x", "code": 503}', ProviderUnavailable),
        (b'{"base_resp": {"status_code": 1026, "status_msg": "sensitive"}, "choices": null}', ContentFiltered),
        (b'{"choices": [{"finish_reason": "network_error"}]}', ProviderError),
    ],
    ids=range(15),
)
def test_a_200_that_is_no_completion_is_an_error(body: bytes, kind: type[KomilionError]) -> None:
    with pytest.raises(kind):
        read(body)


def test_an_error_that_is_null_and_a_good_base_resp_are_none() -> None:
    assert read(an_answer(error=None, base_resp={"status_code": 0})).output_bytes == 3


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("eos", "stop"),
        ("model_length", "length"),
        ("sensitive", "content_filter"),
        ("tool_calls", "tool_calls"),
        (5, 5),
    ],
)
def test_vendors_finish_reasons_become_openais(theirs: Any, ours: Any) -> None:
    answer = an_answer()
    answer["choices"][0]["finish_reason"] = theirs

    assert read(answer).payload["choices"][0]["finish_reason"] == ours


def test_half_an_emoji_does_not_lose_an_answer() -> None:
    body = json.dumps(an_answer({"content": "cut \ud83d"})).encode()

    assert read(body).payload["choices"][0]["message"]["content"] == "cut ?"
    with pytest.raises(ProviderError):
        read(b'{"a": "\\ud83d", "b": NaN}')
