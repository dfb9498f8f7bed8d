"""What the wrapper around gateway and Django answers by itself."""

import json
from typing import Any

import pytest

from tests.fakes.client import RawCall, call
from tests.stand import Gateway


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing"])
def test_an_unknown_address_under_v1_is_an_error_as_openai_writes_it(gateway: Gateway, path: str):
    answer = call(gateway.url, path)
    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing"])
def test_an_unknown_address_under_api_is_an_error_as_we_write_it(gateway: Gateway, path: str):
    answer = call(gateway.url, path)
    assert (answer.status, answer.json["error"]["code"]) == (404, 404)


@pytest.mark.parametrize("path", ["/nothing", "/v1x", "/apis"])
def test_an_unknown_address_elsewhere_is_a_page(gateway: Gateway, path: str):
    answer = call(gateway.url, path)
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")


WEBHOOK = "/webhooks/stripe"  # stands for whatever Django serves
REST = "/api/auth"


def undeclared(raw: RawCall) -> bytes:
    """The head of the call, for a body in chunks."""
    return raw.head.replace(b"Content-Length: %d" % len(raw.body), b"Transfer-Encoding: chunked")


def chunk(size: int) -> bytes:
    return b"%x\r\n%s\r\n" % (size, b" " * size)


def reason_of(raw: RawCall) -> tuple[int, str, Any]:
    """Status, reason and code of the error that came."""
    status = raw.status
    raw.read_until(b"}}")
    error = json.loads(raw.payload)["error"]
    return status, error["reason"], error["code"]


@pytest.mark.parametrize("is_last", [True, False], ids=["in the last piece", "before the end"])
@pytest.mark.parametrize(("path", "code"), [(WEBHOOK, "payload_too_large"), (REST, 413)])
def test_a_body_of_undeclared_length_has_the_limit_too(
    gateway: Gateway, settings: Any, path: str, code: str | int, *, is_last: bool
):
    settings.BODY_LIMIT_BYTES = 100_000
    with RawCall(gateway.url, None, path=path) as raw:
        raw.send(undeclared(raw) + chunk(60_000))
        raw.send(chunk(60_000) + (b"0\r\n\r\n" if is_last else b""))
        assert reason_of(raw) == (413, "payload_too_large", code)


def test_a_body_of_undeclared_length_below_the_limit_is_served(gateway: Gateway, settings: Any):
    settings.BODY_LIMIT_BYTES = 130_000
    with RawCall(gateway.url, None, path=REST) as raw:
        raw.send(undeclared(raw) + chunk(60_000) + chunk(60_000) + b"0\r\n\r\n")
        assert raw.status == 401


@pytest.mark.parametrize("sent", [0, 20], ids=["nothing", "a part"])
def test_a_body_must_come_in_time(gateway: Gateway, settings: Any, sent: int):
    settings.BODY_TIMEOUT_S = 0.2
    with RawCall(gateway.url, None, path=WEBHOOK) as raw:
        raw.send(raw.head + raw.body[:sent])
        assert reason_of(raw)[:2] == (408, "request_timeout")


def test_a_body_must_keep_the_pace(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("komilion.body_guard.PACE_GRACE_S", 0.1)
    with RawCall(gateway.url, None, path=WEBHOOK) as raw:
        raw.send(raw.head + raw.body[:20])
        assert reason_of(raw)[:2] == (408, "request_timeout")


def test_bodies_have_a_limit_together(gateway: Gateway, settings: Any):
    settings.BODIES_IN_FLIGHT_BYTES = 100_000
    with RawCall(gateway.url, None, path=WEBHOOK) as raw:
        raw.send(undeclared(raw) + chunk(120_000))
        assert reason_of(raw)[:2] == (503, "unavailable")


def test_a_body_that_has_come_or_was_refused_counts_no_more(gateway: Gateway, settings: Any):
    settings.BODIES_IN_FLIGHT_BYTES = 100_000
    settings.BODY_LIMIT_BYTES = 70_000
    for size, status in ((60_000, 401), (80_000, 413), (60_000, 401)):
        with RawCall(gateway.url, None, path=REST) as raw:
            raw.send(undeclared(raw) + chunk(size) + b"0\r\n\r\n")
            assert raw.status == status
