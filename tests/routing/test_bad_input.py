"""What strangers send: always a 4xx in our shape that names the trouble, never a 500, never a charge."""

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.fakes.client import CHAT, PROMPT, Answer, RawCall, call
from tests.fakes.replies import Reply
from tests.routing.books import usage_rows
from tests.stand import Gateway, Tenant

MIB = 2**20


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="1000.00")


@pytest.fixture(scope="module")
def model(gateway: Gateway) -> str:
    """A model that answers whatever it is asked."""
    return gateway.add_model(Reply(frames=1), capabilities="tools,vision,json_schema,reasoning", context=8_192)


def post(gateway: Gateway, tenant: Tenant, body: Any, **headers: str) -> Answer:
    """The body as it is (bytes), or as JSON."""
    return call(gateway.url, CHAT, tenant.key, body, headers)


def refused(answer: Answer, status: int = 400) -> dict:
    """The error of an answer that must be one of the caller's own faults."""
    assert answer.status == status, answer.body[:300]
    error = answer.json["error"]
    assert set(error) >= {"message", "type", "param", "code", "reason"}
    assert error["message"]
    assert "Traceback" not in error["message"]
    return error


class TestNoJson:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"", "empty"),
            (b"{", "not valid JSON"),
            (b"hello", "not valid JSON"),
            (b"[]", "must be a JSON object"),
            (b'"text"', "must be a JSON object"),
            (b"null", "must be a JSON object"),
            (b'{"temperature": NaN}', "NaN"),
            (b'{"temperature": -Infinity}', "Infinity"),
            (b'{"seed": 123456789012345678901234567890}', "30 digits"),
            (b'{"seed": 12345678901234567890123}', "64 bits"),
            (b'{"user": "\\ud800"}', "not valid JSON"),
            (b'{"user": "\xed\xa0\x80"}', "not valid UTF-8"),
            (b'{"user": "\xff"}', "not valid UTF-8"),
            (b"\xef\xbb\xbf{}", "byte order mark"),
            (b'{"user": "a\x00b"}', "not valid JSON"),
            (b'{"model": "a", "model": "b"}', '"model" twice'),
            (b'{"messages": [{"role": "user", "role": "system"}]}', '"role" twice'),
            (b'{"a": ' * 10_000 + b"1" + b"}" * 10_000, "levels deep"),
            (b'{"messages": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "levels deep"),
            (b'{"a": [' + b"0," * 1_000_001 + b"0]}", "tokens"),
            (b"\x1f\x8b\x08\x00", "not valid UTF-8"),
        ],
    )
    def test_is_named(self, gateway: Gateway, alice: Tenant, body: bytes, words: str):
        assert words in refused(post(gateway, alice, body))["message"]

    @pytest.mark.parametrize("kind", ["text/html", "multipart/form-data; boundary=x", "application/xml", "x"])
    def test_a_wrong_content_type(self, gateway: Gateway, alice: Tenant, kind: str):
        error = refused(post(gateway, alice, b"{}", **{"Content-Type": kind}), 415)
        assert error["reason"] == "unsupported_media_type"

    @pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/x.y+json", "text/plain", ""])
    def test_a_content_type_that_means_json(self, gateway: Gateway, alice: Tenant, model: str, kind: str):
        answer = post(gateway, alice, {"model": model, "messages": PROMPT}, **{"Content-Type": kind})
        assert answer.status == 200


WRONG_VALUES = [
    ("model", None),
    ("model", 5),
    ("model", ""),
    ("model", ["a"]),
    ("model", "x" * 201),
    ("model", "a\nb"),
    ("messages", None),
    ("messages", []),
    ("messages", {}),
    ("messages", "hello"),
    ("messages", [{}]),
    ("messages", ["hello"]),
    ("messages", [None]),
    ("messages", [{"role": "user"}]),
    ("messages", [{"role": "nobody", "content": "a"}]),
    ("messages", [{"role": 1, "content": "a"}]),
    ("messages", [{"role": "user", "content": 5}]),
    ("messages", [{"role": "user", "content": []}]),
    ("messages", [{"role": "user", "content": ["a"]}]),
    ("messages", [{"role": "user", "content": [{"type": "nothing"}]}]),
    ("messages", [{"role": "user", "content": [{"type": "text"}]}]),
    ("messages", [{"role": "user", "content": [{"type": ["text"], "text": "a"}]}]),
    ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": "https://a"}]}]),
    ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b"}}]}]),
    ("messages", [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]),
    ("messages", [{"role": "tool", "content": "a"}]),
    ("messages", [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "!"}}]}]),
    ("messages", [{"role": "assistant", "tool_calls": {}}]),
    ("messages", [{"role": "assistant", "audio": {"id": "a"}}]),
    ("max_tokens", -1),
    ("max_tokens", 0),
    ("max_tokens", 1.5),
    ("max_tokens", "10"),
    ("max_tokens", True),
    ("max_tokens", 2**31),
    ("max_completion_tokens", -1),
    ("n", 0),
    ("n", 9),
    ("n", "1"),
    ("stream", "yes"),
    ("stream", 1),
    ("stream_options", {"include_usage": True}),
    ("temperature", 2.1),
    ("temperature", "hot"),
    ("temperature", True),
    ("top_p", -0.1),
    ("stop", [1]),
    ("stop", ["a"] * 5),
    ("logit_bias", {"a": 1}),
    ("logit_bias", {"5": 101}),
    ("seed", 1.5),
    ("user", "x" * 513),
    ("user", "a\u0000b"),
    ("user", 5),
    ("tools", {}),
    ("tools", [{}]),
    ("tools", [{"type": "function", "function": {"name": ""}}]),
    ("tools", [{"type": "function", "function": {"name": "f"}}] * 129),
    ("tool_choice", "maybe"),
    ("tool_choice", "required"),
    ("tool_choice", 5),
    ("response_format", "json"),
    ("response_format", {"type": "xml"}),
    ("response_format", {"type": "json_schema"}),
    ("service_tier", "priority"),
    ("store", True),
    ("previous_response_id", "resp_1"),
    ("conversation", "conv_1"),
    ("modalities", ["audio"]),
    ("audio", {"voice": "a"}),
    ("web_search_options", {}),
    ("metadata", {"a": 1}),
    ("metadata", {"tags": [5]}),
    ("metadata", "a"),
    ("tags", ["x" * 129]),
    ("tags", [str(number) for number in range(33)]),
    ("provider", {"zdr": True}),
    ("reasoning_effort", "extreme"),
]


class TestWrongValues:
    @pytest.mark.parametrize(("name", "value"), WRONG_VALUES, ids=[f"{n}-{str(v)[:30]}" for n, v in WRONG_VALUES])
    def test_names_the_field(self, gateway: Gateway, alice: Tenant, model: str, name: str, value: object):
        error = refused(post(gateway, alice, {"model": model, "messages": PROMPT, name: value}))
        assert error["type"] == "invalid_request_error"
        assert (error["param"] or "").startswith(name)
        assert name in error["message"]

    def test_a_missing_field(self, gateway: Gateway, alice: Tenant, model: str):
        assert refused(post(gateway, alice, {}))["param"] == "model"
        assert refused(post(gateway, alice, {"model": model}))["param"] == "messages"

    def test_two_names_for_one_thing_that_differ(self, gateway: Gateway, alice: Tenant, model: str):
        answer = gateway.chat(alice, model, max_tokens=5, max_completion_tokens=6)
        assert refused(answer)["param"] == "max_completion_tokens"

    def test_what_is_unknown_is_dropped_and_named(self, gateway: Gateway, alice: Tenant):
        model = gateway.add_model(Reply())
        answer = gateway.chat(alice, model, frobnicate=1, top_k=5, store=False)
        dropped = {entry["param"]: entry["action"] for entry in answer.json["x_komilion"]["adjusted"]}
        assert dropped == {"frobnicate": "dropped", "top_k": "dropped"}
        assert "frobnicate" not in gateway.calls_of(model)[0].body

    def test_what_is_unknown_travels_where_the_operator_says_so(self, gateway: Gateway, alice: Tenant):
        gateway.add_provider("up-passing", "--pass-unknown")
        model = gateway.add_model(Reply(), provider="up-passing")
        answer = gateway.chat(alice, model, frobnicate=1)
        assert answer.json["x_komilion"]["adjusted"] == []
        assert gateway.calls_of(model)[0].body["frobnicate"] == 1

    def test_what_the_model_lacks_is_dropped_and_named(self, gateway: Gateway, alice: Tenant):
        model = gateway.add_model(Reply(), capabilities="tools")
        answer = gateway.chat(alice, model, reasoning_effort="high")
        assert answer.json["x_komilion"]["adjusted"] == [{"param": "reasoning_effort", "action": "dropped"}]


class TestSize:
    def test_a_prompt_of_19_mib(self, gateway: Gateway, alice: Tenant, model: str):
        prompt = [{"role": "user", "content": "word " * (19 * MIB // 5)}]
        error = refused(gateway.chat(alice, model, messages=prompt))
        assert error["reason"] == "context_length_exceeded"
        assert "8192" in error["message"]

    def test_a_declared_body_above_the_limit(self, gateway: Gateway, alice: Tenant, model: str):
        with RawCall(gateway.url, alice.key, model=model) as raw:
            head = raw.head.replace(b"Content-Length: %d" % len(raw.body), b"Content-Length: %d" % (20 * MIB + 1))
            raw.send(head)
            assert raw.status == 413

    def test_a_body_above_the_limit(self, gateway: Gateway, alice: Tenant, settings: object):
        settings.BODY_LIMIT_BYTES = 100_000
        answer = post(gateway, alice, b'{"model": "' + b"a" * 100_000 + b'"}')
        assert refused(answer, 413)["reason"] == "payload_too_large"

    @pytest.mark.parametrize("is_last", [True, False], ids=["in the last piece", "before the end"])
    def test_an_undeclared_body_above_the_limit(self, gateway: Gateway, alice: Tenant, settings: object, is_last: bool):
        settings.BODY_LIMIT_BYTES = 100_000
        sizes = [60_000, 60_000] if is_last else [60_000, 60_000, 60_000]
        with RawCall(gateway.url, alice.key) as raw:
            raw.send(chunked(raw))
            for size in sizes:
                raw.send(b"%x\r\n%s\r\n" % (size, b" " * size))
            raw.send(b"0\r\n\r\n" if is_last else b"")
            assert raw.status == 413

    def test_an_undeclared_body_above_the_limit_in_one_piece(self, gateway: Gateway, alice: Tenant, settings: object):
        settings.BODY_LIMIT_BYTES = 1_000
        with RawCall(gateway.url, alice.key) as raw:
            raw.send(chunked(raw) + b"%x\r\n%s\r\n0\r\n\r\n" % (1_100, b" " * 1_100))
            assert raw.status == 413

    def test_a_body_in_pieces(self, gateway: Gateway, alice: Tenant, model: str):
        with RawCall(gateway.url, alice.key, model=model) as raw:
            half = len(raw.body) // 2
            pieces = [raw.body[:half], raw.body[half:]]
            raw.send(chunked(raw))
            for piece in pieces:
                raw.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            raw.send(b"0\r\n\r\n")
            assert raw.status == 200

    def test_too_much_at_once(self, gateway: Gateway, alice: Tenant, settings: object):
        settings.BODIES_IN_FLIGHT_BYTES = 100_000
        with RawCall(gateway.url, alice.key) as raw:
            raw.send(chunked(raw))
            raw.send(b"%x\r\n%s\r\n" % (200_000, b" " * 200_000))
            assert raw.status == 503

    @pytest.mark.parametrize("sent", [0, 20], ids=["nothing", "a part"])
    def test_a_slow_body(self, gateway: Gateway, alice: Tenant, model: str, settings: object, sent: int):
        settings.BODY_TIMEOUT_S = 0.2
        with RawCall(gateway.url, alice.key, model=model) as raw:
            raw.send(raw.head + raw.body[:sent])
            assert raw.status == 408

    def test_a_body_below_the_pace(self, gateway: Gateway, alice: Tenant, model: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("routing.gateway.body.PACE_GRACE_S", 0.1)
        with RawCall(gateway.url, alice.key, model=model) as raw:
            raw.send(raw.head + raw.body[:20])
            assert raw.status == 408

    def test_django_has_the_same_limit(self, gateway: Gateway, settings: object):
        settings.BODY_LIMIT_BYTES = 1_000
        answer = call(gateway.url, "/v1/nothing", None, b"a" * 1_001)
        assert refused(answer, 413)["reason"] == "payload_too_large"


def chunked(raw: RawCall) -> bytes:
    """The head of the call, for a body of undeclared length."""
    return raw.head.replace(b"Content-Length: %d" % len(raw.body), b"Transfer-Encoding: chunked")


def test_nothing_refused_was_charged(gateway: Gateway):
    tenant = gateway.tenant()
    for body in (b"{", b"[]", {"model": "a/b"}, {"model": "a/b", "messages": PROMPT}):
        assert post(gateway, tenant, body).status == 400
    assert usage_rows(tenant) == []
    assert gateway.wallet(tenant.email)["available"] == "10.00"


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
)
NAMES = sorted({name for name, _ in WRONG_VALUES} | {"functions", "function_call", "prediction", "top_logprobs", "x"})
parts = st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "file", "refusal"])}, optional={
    "text": values, "image_url": values, "file": values, "refusal": values,
})  # fmt: skip
turns = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool", "system"])}, optional={
    "content": values | st.lists(parts, max_size=3), "tool_calls": values, "function_call": values, "name": values,
    "tool_call_id": values, "refusal": values,
})  # fmt: skip
bodies = st.fixed_dictionaries(
    {"messages": values | st.lists(turns, min_size=1, max_size=3)},
    optional={name: values for name in NAMES if name not in {"messages", "model", "stream"}},
)


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies, is_streamed=st.booleans())
def test_any_json_gets_an_answer(gateway: Gateway, alice: Tenant, model: str, body: dict, is_streamed: bool):
    sent = {"model": model, "stream": is_streamed, **body}
    answer = post(gateway, alice, json.dumps(sent, ensure_ascii=True).encode())
    assert answer.status in {200, 400}, (answer.status, sent)
    if answer.status == 400:
        refused(answer)
    if not is_finite(sent):
        assert answer.status == 400


def is_finite(value: Any) -> bool:
    """Whether there is no NaN or infinity in it."""
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, list):
        return all(map(is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_any_bytes_get_an_answer(gateway: Gateway, alice: Tenant, body: bytes):
    refused(post(gateway, alice, body))
