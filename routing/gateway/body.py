"""Reading a request's body with every limit a stranger must meet: size, pace, and how much is in flight at once."""

import asyncio

from django.conf import settings

from komilion.common.clock import monotonic_s
from komilion.common.errors import PayloadTooLarge, RequestTimeout, Unavailable, UnsupportedMediaType
from routing.gateway.exchange import ClientGone, Exchange, is_json

PACE_GRACE_S = 10.0


class BodyReader:
    """Reads bodies for one process; `in_flight_bytes` counts what is being received at this moment."""

    def __init__(self) -> None:
        self.in_flight_bytes = 0

    async def read(self, exchange: Exchange) -> bytes:
        """The whole body. Raises 413, 415, 408 (too slow), 503 (too much in flight), or `ClientGone`."""
        if not is_json(exchange.header(b"content-type")):
            raise UnsupportedMediaType
        declared = exchange.headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > settings.BODY_LIMIT_BYTES:
            raise _too_large()
        message = await exchange.receive() if declared else None
        if message is not None and not message.get("more_body"):
            return _body_of(message)  # the common case: it came in one piece
        return await self._read_pieces(exchange, b"" if message is None else _body_of(message))

    async def _read_pieces(self, exchange: Exchange, first: bytes) -> bytes:
        pieces = [first]
        size = len(first)
        started = monotonic_s()
        self.in_flight_bytes += size
        try:
            while True:
                if size > settings.BODY_LIMIT_BYTES:
                    raise _too_large()
                if self.in_flight_bytes > settings.BODIES_IN_FLIGHT_BYTES:
                    raise Unavailable("Too many large requests at once; try again in a moment.")
                message = await _receive_in_time(exchange, started, size)
                piece = _body_of(message)
                pieces.append(piece)
                size += len(piece)
                self.in_flight_bytes += len(piece)
                if not message.get("more_body"):
                    if size > settings.BODY_LIMIT_BYTES:
                        raise _too_large()
                    return b"".join(pieces)
        finally:
            self.in_flight_bytes -= size


async def _receive_in_time(exchange: Exchange, started: float, size: int) -> dict[str, object]:
    """The next piece, within the time limit and at no less than the minimum pace."""
    pace_deadline = started + PACE_GRACE_S + size / settings.BODY_MINIMUM_BYTES_PER_S
    try:
        async with asyncio.timeout(min(started + settings.BODY_TIMEOUT_S, pace_deadline) - monotonic_s()):
            return dict(await exchange.receive())
    except TimeoutError:
        raise RequestTimeout("The request body came too slowly.") from None


def _body_of(message: object) -> bytes:
    assert isinstance(message, dict)
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    return body


def _too_large() -> PayloadTooLarge:
    limit = settings.BODY_LIMIT_BYTES // 2**20
    return PayloadTooLarge(f"The request body is larger than {limit} MiB.")
