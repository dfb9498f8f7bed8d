"""One WebSocket to a realtime provider. It is a stranger: redirects, proxies from the environment, compression and
frames above the limit are refused, and what it says about our own account goes into the log, not to the caller.
"""

import asyncio
import logging
from types import SimpleNamespace
from typing import NoReturn, Self

import aiohttp
from aiohttp import WSMsgType

from komilion.common.errors import KomilionError, ProviderRefusedUs, ProviderTimeout, ProviderUnavailable
from komilion.common.numbers import numbers
from routing.catalog.voice import VoiceOffer
from routing.gateway.services import Services
from routing.gateway.verdicts import UNREACHABLE, kind_of
from routing.providers.realtime import upstream_headers, upstream_url
from voice import offer_health

log = logging.getLogger(__name__)

ENDED = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})
CLOSE_WAIT_S = 1.0


class Dropped(Exception):
    """The provider's side ended; `code` is that of its close frame, None where there was none."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code


class Upstream:
    """An open connection. Reading stops while nobody calls `receive`, writing waits while the provider does not
    read.
    """

    def __init__(self, client: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._client = client
        self._socket = socket
        self.send = socket.send_str  # raises `OSError`s once the connection is lost

    @classmethod
    async def connect(cls, offer: VoiceOffer, services: Services) -> Self:
        """Whether it succeeds is told to the breakers of `services`.

        Raises `ProviderRefusedUs`, `ProviderTimeout`, `ProviderUnavailable`.
        """
        tracing = aiohttp.TraceConfig()
        tracing.on_request_redirect.append(_refuse_redirect)
        client = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=numbers.CONNECT_TIMEOUT_S),
            trace_configs=[tracing],
            trust_env=False,
        )
        try:
            async with asyncio.timeout(numbers.REALTIME_OPEN_TIMEOUT_S):
                socket = await client.ws_connect(
                    upstream_url(offer.target),
                    headers={**upstream_headers(offer.target), "Accept-Encoding": "identity"},
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_WAIT_S),
                    heartbeat=numbers.REALTIME_PING_EVERY_S,
                    max_msg_size=numbers.REALTIME_FRAME_LIMIT_BYTES,
                    compress=0,
                )
        except BaseException as error:
            await client.close()
            if isinstance(error, aiohttp.ClientError | OSError | ValueError):
                failure = _failure(error, offer)
                unreachable = isinstance(error, aiohttp.ClientConnectorError)
                offer_health.failed(services, offer, UNREACHABLE if unreachable else kind_of(failure))
                raise failure from error
            raise
        offer_health.succeeded(services, offer)
        return cls(client, socket)

    async def receive(self) -> str:
        """The next frame. Raises `Dropped`."""
        message = await self._socket.receive()
        if message.type is WSMsgType.TEXT:
            return message.data  # type: ignore[no-any-return] # a str, as the type says
        if message.type in ENDED:
            raise Dropped(self._socket.close_code, str(message.extra or message.data or "")[:200])
        raise Dropped(None, "a binary frame")

    async def close(self) -> None:
        """End it; waits for the provider's close frame for a second."""
        try:
            await self._socket.close()
        finally:
            await self._client.close()


async def _refuse_redirect(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams
) -> NoReturn:
    raise aiohttp.ClientError("redirects are not followed")


def _failure(error: Exception, offer: VoiceOffer) -> KomilionError:
    status = error.status if isinstance(error, aiohttp.WSServerHandshakeError) else None
    extra = {"provider": offer.provider, "model": offer.model_id, "status": status, "error": repr(error)[:200]}
    log.warning("realtime provider not reached", extra=extra)
    if status in {401, 403}:
        return ProviderRefusedUs()
    return ProviderTimeout() if isinstance(error, TimeoutError) else ProviderUnavailable()
