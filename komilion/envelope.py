"""One pure ASGI wrapper around gateway and Django: request id, CORS, 413, health, the path's dialect of errors."""

import logging
from typing import Any

from django.conf import settings

from komilion import health
from komilion.common.errors import (
    BadRequest,
    Forbidden,
    InternalError,
    KomilionError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
)
from routing.gateway.app import Gateway
from routing.gateway.endpoints import find_endpoint
from routing.gateway.exchange import CORS, Exchange, Receive, Scope, Send

log = logging.getLogger(__name__)

PREFLIGHT = [
    *CORS,
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"*, Authorization"),
    (b"access-control-max-age", b"86400"),
    (b"content-length", b"0"),
]
API_PREFIXES = ("/v1/", "/api/", "/health")  # the first two also without their slash
BY_STATUS: dict[int, type[KomilionError]] = {
    400: BadRequest,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
}


class Envelope:
    """The application that the server runs."""

    def __init__(self, gateway: Gateway, django: Any) -> None:
        self._gateway = gateway
        self._django = django

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Any ASGI connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._gateway.start()
                except Exception as error:
                    log.exception("start-up failed")
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._gateway.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        exchange = Exchange(scope, receive, send)
        endpoint = find_endpoint(path)
        if endpoint is not None and scope["method"] != "OPTIONS":
            await self._gateway.serve(exchange, endpoint)
            return
        is_api = f"{path}/".startswith(API_PREFIXES)
        if scope["method"] == "OPTIONS" and is_api:
            await send({"type": "http.response.start", "status": 204, "headers": PREFLIGHT})
            await send({"type": "http.response.body", "body": b""})
        elif path.rstrip("/") in {"/health", "/health/liveliness", "/health/readiness"}:
            await self._health(exchange, path.rstrip("/"))
        else:
            await self._serve_django(scope, exchange, is_api=is_api)

    async def _health(self, exchange: Exchange, path: str) -> None:
        if exchange.method not in {"GET", "HEAD"}:
            await exchange.fail(MethodNotAllowed(headers={"Allow": "GET, HEAD"}))
        elif path == "/health/liveliness":
            await exchange.respond_json({"status": "ok"})
        else:
            status, body = await health.readiness(self._gateway.services)
            await exchange.respond_json(body, status)

    async def _serve_django(self, scope: Scope, exchange: Exchange, *, is_api: bool) -> None:
        """Django's own error pages never leak: under an API path its errors are rendered as ours."""
        length = exchange.headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > settings.BODY_LIMIT_BYTES:
            await exchange.fail(PayloadTooLarge())
            return
        replaced = False

        async def send_ours(message: Any) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start":
                is_json = dict(message["headers"]).get(b"content-type", b"").startswith(b"application/json")
                if is_api and message["status"] >= 400 and not is_json:
                    replaced = True
                    await exchange.fail(BY_STATUS.get(message["status"], InternalError)())
                    return
                extra = [(b"x-request-id", exchange.request_id.encode()), *(CORS if is_api else [])]
                message["headers"] = [*message["headers"], *extra]
            if not replaced:
                await exchange.send(message)

        await self._django(scope, exchange.receive, send_ours)
