"""Providers that keep no limit and say nothing: what was not asked for is not charged, and does not go on for ever."""

import json

import pytest

from tests.fakes.client import CHAT, PROMPT, call
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.books import assert_in_order, charge_of, counted, counted_input, only_row
from tests.routing.gates import PLAIN, words
from tests.stand import Gateway

STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
CUT_AT_TOKENS = 4 * 5 + 256  # of a call with `max_tokens` 5


@STREAMED
def test_our_own_count_never_charges_more_than_was_asked_for(gateway: Gateway, stream: bool):
    tenant, model = gateway.tenant(), gateway.add_model(Reply(frames=100, report="missing"))
    answer = gateway.chat(tenant, model, stream=stream, max_tokens=5)
    assert answer.text == words(100)
    (sent,) = gateway.calls_of(model)
    assert only_row(tenant).usage_source == "estimated"
    assert_in_order(gateway, tenant, charge_of(Tokens(counted_input(sent), 5)))


@STREAMED
def test_our_own_count_makes_no_debt(gateway: Gateway, stream: bool):
    tenant, model = gateway.tenant(credit="0.02"), gateway.add_model(Reply(frames=3_000, report="missing"))
    gateway.chat(tenant, model, stream=stream)
    wallet = gateway.wallet(tenant.email)
    assert (wallet["debt"], wallet["held"]) == ("0.00", "0.00")


def test_a_stream_far_beyond_its_limit_is_ended(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply(frames=5_000, report="missing", between_frames_s=0.0001))
    answer = gateway.chat(tenant, model, stream=True, max_tokens=5)
    last = answer.frames[-1]
    assert (last["choices"][0]["finish_reason"], last["x_komilion"]["stopped"]) == ("length", "max_tokens")
    assert counted(gateway.calls_of(model)[0], 0, answer.text).completion > CUT_AT_TOKENS
    assert len(answer.text) < len(words(5_000))
    row = only_row(tenant)
    assert (row.outcome, row.usage_source) == ("completed", "estimated")
    assert_in_order(gateway, tenant, row.charge_nano)


PARTS = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm. "}]}, {"type": "text", "text": "word "}]


@pytest.mark.parametrize("field", ["parts", "text"])
@STREAMED
def test_what_is_written_elsewhere_than_in_content_is_counted(gateway: Gateway, stream: bool, field: str):
    """Mistral's reasoning models write lists of parts; old completions write `text`."""
    written = {"content": PARTS} if field == "parts" else {}
    beside = {"text": "word word word "} if field == "text" else {}
    delta = {"index": 0, **({"delta": written} if written else {}), **beside, "finish_reason": None}
    frame = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "ok", "choices": [delta]}
    if stream:
        end = {**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        body = b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in [frame] * 8 + [end]) + b"data: [DONE]\n\n"
        script = Reply(body=body, headers={"Content-Type": "text/event-stream"})
    else:
        message = {"message": {"role": "assistant", **written}} if written else beside
        choice = {"index": 0, **message, "finish_reason": "stop"}
        script = Reply(body=json.dumps({**frame, "choices": [choice]}).encode(), headers=PLAIN)
    tenant, model = gateway.tenant(), gateway.add_model(script)
    assert gateway.chat(tenant, model, stream=stream).status == 200
    assert only_row(tenant).usage["output"] >= (8 if stream else 2)


def test_a_prompt_of_any_length_is_counted(gateway: Gateway):
    """Longer than the tokenizer takes at once, in characters and in tokens."""
    tenant = gateway.tenant()
    model = gateway.add_model("ok", context=2_000_000)
    for text in ("word " * 300_000, "漢字" * 200_000):
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 10}
        answer = call(gateway.url, CHAT, tenant.key, body)
        assert answer.status == 200, answer.text


def test_a_wallet_in_debt_says_so(gateway: Gateway):
    tenant = gateway.tenant(credit="0.01")
    gateway.chat(tenant, gateway.add_model(Reply(usage=Tokens(25, 8_000))), max_tokens=100)
    answer = gateway.chat(tenant, gateway.add_model())
    assert answer.status == 402
    assert "$0.14009375 of debt to pay first" in answer.json["error"]["message"]


@pytest.mark.parametrize("header", ["x-api-key", "x-litellm-api-key", "api-key"])
@pytest.mark.parametrize("prefix", ["", "Bearer ", "bearer "])
def test_every_key_header_may_say_bearer(gateway: Gateway, header: str, prefix: str):
    tenant, model = gateway.tenant(), gateway.add_model()
    body = {"model": model, "messages": PROMPT}
    assert call(gateway.url, CHAT, None, body, headers={header: prefix + tenant.key}).status == 200


def test_the_nearest_names_are_found_in_any_case(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(name="vendor/Large-Model")
    answer = gateway.chat(tenant, model.upper()[:-1])
    assert "Did you mean vendor/Large-Model" in answer.json["error"]["message"]
