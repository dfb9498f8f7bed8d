"""Reading a request's body with every limit a stranger must meet: size, pace, and how much is in flight at once."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from komilion.common.clock import monotonic_s
from komilion.common.errors import PayloadTooLarge, RequestTimeout, Unavailable, UnsupportedMediaType
from komilion.common.numbers import numbers
from routing.gateway.exchange import ClientGone, Exchange, is_json

PACE_GRACE_S = 10.0
LOOK_EVERY_S = 0.25


class BodyReader:
    """Reads bodies for one process; `in_flight_bytes` counts what is being received at this moment."""

    def __init__(self) -> None:
        self.in_flight_bytes = 0
        self._due_s: dict[asyncio.Task[Any], float] = {}  # who waits for bytes, and until when
        self._late: set[asyncio.Task[Any]] = set()
        self._is_looking = False

    async def read(self, exchange: Exchange) -> bytes:
        """The whole body, JSON by its type. Raises 415, and what `read_any` does."""
        if not is_json(exchange.header(b"content-type")):
            raise UnsupportedMediaType
        return await self.read_any(exchange, numbers.BODY_LIMIT_BYTES)

    async def read_any(self, exchange: Exchange, limit_bytes: int) -> bytes:
        """The whole body, of any type. Raises 413, 408 (too slow), 503 (too much in flight), or `ClientGone`."""
        declared = exchange.headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit_bytes:
            raise _too_large(limit_bytes)
        if not declared.isdigit():
            return await self._read_pieces(exchange, b"", limit_bytes)
        first = _body_of(await self._receive(exchange, monotonic_s(), 0))
        if len(first) == int(declared):
            return first  # the common case: it came in one piece
        return await self._read_pieces(exchange, first, limit_bytes)

    async def _read_pieces(self, exchange: Exchange, first: bytes, limit_bytes: int) -> bytes:
        pieces = [first]
        size = len(first)
        started = monotonic_s()
        self.in_flight_bytes += size
        try:
            while True:
                if size > limit_bytes:
                    raise _too_large(limit_bytes)
                if self.in_flight_bytes > numbers.BODIES_IN_FLIGHT_BYTES:
                    raise Unavailable("Too many large requests at once; try again in a moment.")
                message = await self._receive(exchange, started, size)
                piece = _body_of(message)
                pieces.append(piece)
                size += len(piece)
                self.in_flight_bytes += len(piece)
                if not message.get("more_body"):
                    if size > limit_bytes:
                        raise _too_large(limit_bytes)
                    return b"".join(pieces)
        finally:
            self.in_flight_bytes -= size

    async def _receive(self, exchange: Exchange, started: float, size: int) -> MutableMapping[str, Any]:
        """The next piece, within the time limit and at no less than the minimum pace.

        One timer looks after all bodies: a timer each would cost every request more than its parsing.
        """
        task = asyncio.current_task()
        assert task is not None
        pace_due = started + PACE_GRACE_S + size / numbers.BODY_MINIMUM_BYTES_PER_S
        self._due_s[task] = min(started + numbers.BODY_TIMEOUT_S, pace_due)
        if not self._is_looking:
            self._look_later()
        try:
            return await exchange.receive()
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise RequestTimeout("The request body came too slowly.") from None
        finally:
            del self._due_s[task]
            self._late.discard(task)

    def _look_later(self) -> None:
        self._is_looking = bool(self._due_s)
        if self._is_looking:
            asyncio.get_running_loop().call_later(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        now = monotonic_s()
        for task, due_s in self._due_s.items():
            if due_s <= now and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._look_later()


def _body_of(message: object) -> bytes:
    assert isinstance(message, dict)
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    return body


def _too_large(limit_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is larger than {limit_bytes // 2**20} MiB.")
