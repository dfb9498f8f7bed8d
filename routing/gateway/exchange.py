"""One HTTP exchange with a client, as the gateway sees it: headers in, one response out, whole or in frames."""

import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import orjson

from komilion.common.clock import unix_s
from komilion.common.errors import KomilionError, error_body
from komilion.common.ids import current_request_id, new_request_id
from komilion.common.metrics import count
from routing.gateway.types import Session, Settled
from routing.limits.admission import Admission

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
type Vouch = Callable[[], Awaitable[Session]]  # finds the session of a caller who was recognised before
type Headers = list[tuple[bytes, bytes]]

JSON_TYPE = (b"content-type", b"application/json")
CORS: Headers = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"*")]
WHOLE_RESPONSE = "komilion.whole_response"  # ASGI extension of our own server process, see `komilion.uvicorn_worker`


class ClientGone(Exception):
    """The caller went away while its request was read; there is nobody to answer."""


class Exchange:
    """A request's headers and the one response to it. `request_id` is ours and serves as id of everything."""

    __slots__ = (
        "_respond_whole",
        "admission",
        "has_slot",
        "headers",
        "is_begun",
        "is_gone",
        "method",
        "path",
        "query",
        "raw_headers",
        "receive",
        "request_id",
        "send",
        "session",
        "settled",
        "started",
        "vouched",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.raw_headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.headers: dict[bytes, bytes] = dict(self.raw_headers)
        self.receive = receive
        self.send = send
        self.request_id: str = scope.get("komilion.request_id") or new_request_id()
        current_request_id.set(self.request_id)  # each request has a task, and so a context, of its own
        self.admission: Admission | None = None
        self.has_slot = False  # a parallel slot was taken for it before, by what it is a part of
        self.session: Session | None = None  # once the key is known
        self.vouched: Vouch | None = None  # of a call of our own, which carries no key
        extensions = scope.get("extensions")
        self._respond_whole = extensions.get(WHOLE_RESPONSE) if extensions else None
        self.settled: Settled | None = None  # what a chat came to, however it ended
        self.is_begun = False  # paid for, so that the books tell of it
        self.started = False
        self.is_gone = False

    def header(self, name: bytes, limit: int = 512) -> str:
        """A request header as printable text, cut at `limit` characters; empty where absent."""
        raw = self.headers.get(name)
        if raw is None:
            return ""
        text = raw.decode("utf-8", "replace")[:limit]
        return text if text.isprintable() else "".join(c for c in text if c.isprintable())

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send status and headers; afterwards an error can only be an event in the body."""
        self.started = True
        await self.send({"type": "http.response.start", "status": status, "headers": self._head(headers)})

    def _head(self, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
        identity = self.request_id.encode()
        lines: Headers = [*headers, (b"x-request-id", identity), (b"x-generation-id", identity), *CORS]
        if self.admission is not None:
            lines += rate_headers(self.admission)
        return lines

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a part of the body."""
        await self.send({"type": "http.response.body", "body": data, "more_body": not last})

    async def respond(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send a whole JSON response."""
        lines = [JSON_TYPE, (b"content-length", b"%d" % len(body)), *headers]
        if self._respond_whole is not None:
            self.started = True
            self._respond_whole(status, self._head(lines), body)
            return
        await self.start(status, lines)
        await self.send({"type": "http.response.body", "body": body})

    async def respond_json(self, payload: Any, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send a whole response from a Python value."""
        await self.respond(status, orjson.dumps(payload), headers)

    async def fail(self, error: KomilionError) -> None:
        """Send the error as this path's dialect says it."""
        count("komilion_errors", (str(error.status), error.reason))
        extra = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()]
        await self.respond(error.status, orjson.dumps(error_body(error, self.path)), extra)


def rate_headers(admission: Admission) -> Headers:
    """The state of the caller's limits: requests a minute in our own names, both in OpenAI's."""
    limit, left = b"%d" % admission.limit_requests, b"%d" % admission.remaining_requests
    return [
        (b"x-ratelimit-limit", limit),
        (b"x-ratelimit-remaining", left),
        (b"x-ratelimit-reset", b"%d" % (unix_s() + math.ceil(admission.reset_requests_s))),
        (b"x-ratelimit-limit-requests", limit),
        (b"x-ratelimit-remaining-requests", left),
        (b"x-ratelimit-reset-requests", duration(admission.reset_requests_s)),
        (b"x-ratelimit-limit-tokens", b"%d" % admission.limit_tokens),
        (b"x-ratelimit-remaining-tokens", b"%d" % admission.remaining_tokens),
        (b"x-ratelimit-reset-tokens", duration(admission.reset_tokens_s)),
    ]


def duration(seconds: float) -> bytes:
    """Seconds in OpenAI's notation: `120ms`, `2.5s`, `6m0s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return b"%dms" % milliseconds
    minutes, rest = divmod(milliseconds, 60_000)
    whole, fraction = divmod(rest, 1000)
    tail = b"%d.%03d" % (whole, fraction) if fraction else b"%d" % whole
    return b"%dm%ss" % (minutes, tail) if minutes else tail + b"s"


def is_json(content_type: str) -> bool:
    """Whether a Content-Type says JSON; clients that send none mean JSON too."""
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or kind == "application/json" or kind.endswith("+json") or kind == "text/plain"
