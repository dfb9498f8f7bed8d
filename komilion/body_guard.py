"""Limits on a body that Django is to read: size, pace, time, and how much is received at once by this process.

Django reads a body whole before it looks at anything else, so they stand before it. What the gateway serves has the
same limits in `routing.gateway.body`.
"""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from komilion.common.clock import monotonic_s
from komilion.common.errors import KomilionError, PayloadTooLarge, RequestTimeout, Unavailable
from komilion.common.numbers import numbers
from routing.gateway.body import PACE_GRACE_S
from routing.gateway.exchange import Receive

type Message = MutableMapping[str, Any]


class BodyGuard:
    """For one process; `in_flight_bytes` counts what is being received at this moment."""

    def __init__(self) -> None:
        self.in_flight_bytes = 0

    @asynccontextmanager
    async def watch(self, receive: Receive) -> AsyncIterator["GuardedBody"]:
        """The body of one request, to be received inside the block."""
        body = GuardedBody(self, receive)
        try:
            yield body
        finally:
            body.let_go()


class GuardedBody:
    """One body. Past a limit Django hears that the client has left, which ends it cleanly; `trouble` is what is so."""

    def __init__(self, guard: BodyGuard, receive: Receive) -> None:
        self.trouble: KomilionError | None = None
        self._guard = guard
        self._receive = receive
        self._started_s = monotonic_s()
        self._size = 0
        self._is_whole = False

    async def receive(self) -> Message:
        """The next message of ASGI's."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout(self._left_s()):
                message = await self._receive()
        except TimeoutError:
            return self._stop(RequestTimeout("The request body came too slowly."))
        size = len(message.get("body", b""))
        self._size += size
        self._guard.in_flight_bytes += size
        if self._size > numbers.BODY_LIMIT_BYTES:
            return self._stop(PayloadTooLarge())
        if not message.get("more_body"):
            self.let_go()
        elif self._guard.in_flight_bytes > numbers.BODIES_IN_FLIGHT_BYTES:
            return self._stop(Unavailable("Too many large requests at once; try again in a moment."))
        return message

    def let_go(self) -> None:
        """It is received, or given up."""
        if not self._is_whole:
            self._is_whole = True
            self._guard.in_flight_bytes -= self._size

    def _left_s(self) -> float:
        pace_s = PACE_GRACE_S + self._size / numbers.BODY_MINIMUM_BYTES_PER_S
        return self._started_s + min(numbers.BODY_TIMEOUT_S, pace_s) - monotonic_s()

    def _stop(self, error: KomilionError) -> Message:
        self.trouble = error
        return {"type": "http.disconnect"}
