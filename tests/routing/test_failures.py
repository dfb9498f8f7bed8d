"""What providers' refusals mean to a caller: every vendor's words and shapes, and nothing private passed on."""

import gzip
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from komilion.common import clock
from komilion.common.errors import KomilionError
from routing.providers.failures import MESSAGE_CHARACTERS, failure_inside, presentable, retry_after_s
from routing.providers.openai_compat import OpenAICompatible
from routing.providers.scrub import scrub

NOW_S = 1_800_000_000


@pytest.fixture(autouse=True)
def _at_a_fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "unix_s", lambda: NOW_S)


def fail(status: int, body: Any = b"", headers: dict[str, str] | None = None) -> KomilionError:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return OpenAICompatible().failure(status, headers or {}, raw)


def error(message: str = "", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, error("bad temperature", type="invalid_request_error"), (400, "invalid_request")),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "too large"}]}, (400, "invalid_request")),
        (401, error("Incorrect API key provided: sk-abc"), (502, "provider_rejected_credentials")),
        (403, b"", (503, "provider_unavailable")),
        (403, error("Your API key may not call this model"), (502, "provider_rejected_credentials")),
        (403, error("no", type="permission_error"), (502, "provider_rejected_credentials")),
        (403, error("The account is not active"), (502, "provider_rejected_credentials")),
        (
            403,
            {
                "code": "The caller does not have permission",
                "error": "Content violates usage guidelines. Team: x, Model: y, Failed check: SAFETY_CHECK_TYPE_BIO",
            },
            (400, "content_filter"),
        ),
        (403, {"error": "Failed check: SAFETY_CHECK_TYPE_CSAM"}, (400, "content_filter")),
        (
            403,
            error("Project `proj_abc` does not have access to model `x`", code="model_not_found"),
            (404, "model_not_found"),
        ),
        (403, error("This API key has been disabled because it was flagged"), (502, "provider_rejected_credentials")),
        (403, error("Your account was flagged for potential abuse"), (502, "provider_rejected_credentials")),
        (403, error("", code="account_deactivated"), (502, "provider_rejected_credentials")),
        (403, error("This organization violates our usage policies"), (502, "provider_rejected_credentials")),
        (400, error("Incorrect API key provided", code="400"), (502, "provider_rejected_credentials")),
        (400, [error("API key not valid", status="INVALID_ARGUMENT")], (502, "provider_rejected_credentials")),
        (402, error("Insufficient Balance"), (503, "provider_unavailable")),
        (429, error("You exceeded", code="insufficient_quota"), (503, "provider_unavailable")),
        (400, error("Your credit balance is too low"), (503, "provider_unavailable")),
        (429, error("wait", type="exceeded_current_quota_error"), (503, "provider_unavailable")),
        (412, error("suspended"), (503, "provider_unavailable")),
        (404, error("The model `x` does not exist", code="model_not_found"), (404, "model_not_found")),
        (410, {"message": "Model gone"}, (404, "model_not_found")),
        (404, b"<html><body>model not found</body></html>", (503, "provider_unavailable")),
        (404, b"404 page not found", (503, "provider_unavailable")),
        (408, b"", (429, "rate_limited")),
        (409, b"", (429, "rate_limited")),
        (425, b"", (429, "rate_limited")),
        (429, error("slow down"), (429, "rate_limited")),
        (498, error("flex capacity"), (429, "rate_limited")),
        (413, error("Request too large on tokens per minute (TPM)"), (429, "rate_limited")),
        (413, b"", (413, "payload_too_large")),
        (500, b"", (502, "provider_error")),
        (502, b"<html>Bad gateway</html>", (502, "provider_error")),
        (503, b"", (503, "provider_unavailable")),
        (504, b"", (503, "provider_timeout")),
        (520, b"", (502, "provider_error")),
        (522, b"", (503, "provider_timeout")),
        (524, b"", (503, "provider_timeout")),
        (529, error("Overloaded", type="overloaded_error"), (503, "provider_unavailable")),
        (405, b"", (502, "provider_error")),
        (307, error("context_length_exceeded"), (502, "provider_error")),
        (100, b"", (502, "provider_error")),
        (503, error("insufficient_quota"), (503, "provider_unavailable")),
        (403, error("", metadata={"flagged_input": "x", "reasons": ["y"]}), (400, "content_filter")),
        (400, error("no", code="content_policy_violation"), (400, "content_filter")),
        (400, error("no", innererror={}, code="ResponsibleAIPolicyViolation"), (400, "content_filter")),
    ],
)
def test_status_and_words_decide(status: int, body: Any, expected: tuple[int, str]) -> None:
    found = fail(status, body)

    assert (found.status, found.reason) == expected


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("too long", code="context_length_exceeded")),
        (400, error("prompt is too long: 210000 tokens > 200000 maximum")),
        (400, [error("The input token count (9) exceeds the maximum number of tokens allowed (8)")]),
        (400, {"object": "error", "message": "maximum context length is 8192 tokens"}),
        (400, {"code": "invalid", "error": "This model's maximum context length is 131072 but 140000"}),
        (422, error("`inputs` tokens + `max_new_tokens` must be <= 8193")),
        (400, {"message": "Current length is 9000 while limit is 8192"}),
        (413, {"detail": "Please reduce the length of the messages"}),
        (500, error("the request exceeds the available context size")),
    ],
    ids=["OpenAI", "Anthropic", "Gemini", "Mistral", "xAI", "Together", "Cerebras", "Groq", "llama.cpp"],
)
def test_a_prompt_that_is_too_long_is_told_in_any_vendors_words(status: int, body: Any) -> None:
    found = fail(status, body)

    assert (found.status, found.reason) == (400, "context_length_exceeded")
    assert found.message


def test_a_bad_request_keeps_the_providers_words_and_field() -> None:
    found = fail(400, error("Invalid value:\n 'x'.", param="tools[0].type", code="invalid_value"))

    assert found.message == "Invalid value: 'x'."
    assert found.param == "tools[0].type"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"detail": "Not so"}, "Not so"),
        ({"detail": [{"loc": ["body", "n"], "msg": "too large"}, {"msg": "x"}, 7]}, "body.n: too large; : x"),
        ({"error": "text", "code": 5}, "text"),
        ({"message": "text"}, "text"),
        (b"plain words", "plain words"),
        (b"", "The provider found the request invalid."),
        (b"<html>", "The provider found the request invalid."),
        (gzip.compress(b"words"), "The provider found the request invalid."),
        (b"[]", "The provider found the request invalid."),
        (b"7", "The provider found the request invalid."),
        (error("x" * 300_000), "The provider found the request invalid."),
        ({"error": {"message": ["no", "text"], "param": "<b>"}}, "The provider found the request invalid."),
        ({"error": {"message": "m", "metadata": {"raw": "r"}, "param": 7}}, "m"),
    ],
    ids=range(13),
)
def test_bodies_of_every_shape_are_read(body: Any, message: str) -> None:
    found = fail(400, body)

    assert found.message == message
    assert found.param is None


@pytest.mark.parametrize(
    "private",
    [
        "https://internal.example/v1/x?key=1",
        "redis://10.0.0.1:6379/0",
        "Bearer abc.def",
        "sk-upstream",
        "sk-proj-abcdefghijkl",
        "gsk_abcdefgh1234",
        "AIzaSyA1234567890abcd",
        "org-Abc123Def456",
        "req_0123456789abcdef",
        "ops@example.com",
        "10.1.2.3:8080",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_nothing_private_is_quoted(private: str) -> None:
    shown = presentable(f"Trouble with {private} today")

    assert shown == "Trouble with [...] today"


@pytest.mark.parametrize("plain", ["user_location is unknown", "set max_completion_tokens", "gpt-4o-2024-08-06"])
def test_ordinary_words_are_quoted(plain: str) -> None:
    assert presentable(plain) == plain


def test_a_message_is_short_and_on_one_line() -> None:
    shown = presentable("a\x00b\r\n" + "long " * 500)

    assert shown is not None
    assert shown.startswith("a b long")
    assert len(shown) == MESSAGE_CHARACTERS
    assert shown.endswith("...")
    assert presentable("\x00 \n") is None


@pytest.mark.parametrize("status", [401, 402, 403, 404, 408, 413, 429, 500, 503])
def test_words_reach_the_caller_only_where_the_request_is_at_fault(status: int) -> None:
    assert "canary" not in fail(status, error("canary model")).message


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, b"", 7),
        ({"retry-after": "0"}, b"", 1),
        ({"retry-after": "1.2"}, b"", 2),
        ({"retry-after-ms": "1500", "retry-after": "9"}, b"", 2),
        ({"retry-after-ms": "soon", "retry-after": "9"}, b"", 9),
        ({"retry-after": "999999999"}, b"", 3_600),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, b"", 30),
        ({"retry-after": "Fri, 15 Jan 2020 08:00:30 GMT"}, b"", 1),
        ({"retry-after": "Fri, 15 Jan 9999999 08:00:30 GMT"}, b"", None),
        ({"retry-after": "nan"}, b"", None),
        ({"retry-after": "-5"}, b"", None),
        ({"retry-after": "٣"}, b"", None),
        ({}, b'{"details": [{"retryDelay": "17s"}]}', 17),
        ({}, b"", None),
    ],
    ids=str,
)
def test_the_wait_is_read_and_bounded(headers: dict[str, str], body: bytes, seconds: int | None) -> None:
    assert retry_after_s(headers, body) == seconds


def test_a_limit_always_says_how_long_to_wait_and_trouble_does_where_it_is_known() -> None:
    assert fail(429).headers == {"Retry-After": "5"}
    assert fail(429, headers={"Retry-After": "7"}).headers == {"Retry-After": "7"}
    assert fail(503, headers={"Retry-After": "7"}).headers == {"Retry-After": "7"}
    assert fail(503).headers == {}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (error("x", code=429), (429, "rate_limited")),
        (error("x", code="502"), (502, "provider_error")),
        (error("x", code=200), (502, "provider_error")),
        (error("x", code=123456), (502, "provider_error")),
        (error("x", type="rate_limit_error"), (429, "rate_limited")),
        (error("x", type="overloaded_error"), (503, "provider_unavailable")),
        (error("x", type="service_unavailable"), (503, "provider_unavailable")),
        (error("x", type="timeout_error"), (503, "provider_timeout")),
        (error("x", type="invalid_request_error"), (400, "invalid_request")),
        (error("x", type="authentication_error"), (502, "provider_rejected_credentials")),
        (error("x", type="insufficient_quota"), (503, "provider_unavailable")),
        (error("x", type="server_error"), (502, "provider_error")),
        ({"object": "error", "type": "BadRequestError", "message": "x"}, (400, "invalid_request")),
        ({"error": "text"}, (502, "provider_error")),
        ({"base_resp": {"status_code": 1002, "status_msg": "slow"}}, (429, "rate_limited")),
        ({"base_resp": {"status_code": 1004}}, (502, "provider_rejected_credentials")),
        ({"base_resp": {"status_code": 1008}}, (503, "provider_unavailable")),
        ({"base_resp": {"status_code": 1027}}, (400, "content_filter")),
        ({"base_resp": {"status_code": 9999}}, (502, "provider_error")),
        ({"base_resp": {"status_code": "odd"}}, (502, "provider_error")),
        (None, (502, "provider_error")),
    ],
    ids=str,
)
def test_an_error_inside_an_answer_means_what_its_status_would(payload: Any, expected: tuple[int, str]) -> None:
    found = failure_inside(payload)

    assert (found.status, found.reason) == expected


@settings(deadline=None)
@given(st.integers(100, 599), st.binary(max_size=200), st.text(max_size=20))
def test_no_answer_makes_reading_it_fail(status: int, body: bytes, header: str) -> None:
    found = OpenAICompatible().failure(status, {"retry-after": header}, body)

    assert 400 <= found.status <= 503
    assert len(found.message) <= MESSAGE_CHARACTERS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2_000) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "type", "detail", "base_resp", "status_code", "metadata", "loc"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.integers(400, 599), json_values)
def test_no_json_makes_reading_it_fail(status: int, payload: Any) -> None:
    assert 400 <= fail(status, payload).status <= 503
    assert 400 <= failure_inside(payload).status <= 503


def test_a_secret_is_taken_out_in_both_spellings() -> None:
    secret = b"key/with/slashes"

    assert scrub(b'{"a":"key/with/slashes","b":"key\\/with\\/slashes"}', secret) == b'{"a":"***","b":"***"}'
    assert scrub(b"sk-upstream sk-upstream", b"sk-upstream") == b"*** ***"


def test_bytes_without_the_secret_and_secrets_that_are_words_are_left_alone() -> None:
    data = b"nothing here, none at all"

    assert scrub(data, b"sk-upstream") is data
    assert scrub(data, b"none") is data
