"""One pure ASGI wrapper around gateway and Django: request id, CORS, 413, health, the path's dialect of errors."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from komilion import health, metrics
from komilion.body_guard import BodyGuard
from komilion.common import metrics as counters
from komilion.common.errors import (
    BadRequest,
    Forbidden,
    InternalError,
    KomilionError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
)
from komilion.common.tasks import spawn
from routing.gateway.app import Gateway
from routing.gateway.endpoints import EndpointTable
from routing.gateway.exchange import CORS, Exchange, Receive, Scope, Send
from routing.gateway.services import Services

log = logging.getLogger(__name__)

type SocketApp = Callable[[Scope, Receive, Send, Services], Awaitable[None]]

PREFLIGHT = [
    *CORS,
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"*, Authorization"),
    (b"access-control-max-age", b"86400"),
    (b"content-length", b"0"),
]
API_PREFIXES = ("/v1/", "/api/", "/key/", "/spend/", "/health")  # those with a slash also without it
BY_STATUS: dict[int, type[KomilionError]] = {
    400: BadRequest,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
}


class Envelope:
    """The application that the server runs."""

    def __init__(self, gateway: Gateway, django: Any, endpoints: EndpointTable, sockets: SocketApp) -> None:
        self._gateway = gateway
        self._django = django
        self._endpoints = endpoints
        self._sockets = sockets
        self._starting = asyncio.Lock()
        self._bodies = BodyGuard()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Any ASGI connection. A server that has no lifespan (daphne's) starts the gateway by its first one."""
        if not self._gateway.is_started and scope["type"] in {"http", "websocket"}:
            async with self._starting:
                if not self._gateway.is_started:
                    await self._gateway.start()
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._sockets(scope, receive, send, self._gateway.services)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        writing: asyncio.Task[None] | None = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._gateway.start()
                except Exception as error:
                    log.exception("start-up failed")
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                writing = spawn(_write_metrics(), name="metrics")
                await send({"type": "lifespan.startup.complete"})
            else:
                if writing is not None:
                    writing.cancel()
                await self._gateway.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        exchange = Exchange(scope, receive, send)
        rows = self._endpoints.find(path)
        if rows and scope["method"] != "OPTIONS":
            await self._gateway.serve(exchange, rows)
            return
        is_api = f"{path}/".startswith(API_PREFIXES)
        if scope["method"] == "OPTIONS" and is_api:
            await send({"type": "http.response.start", "status": 204, "headers": PREFLIGHT})
            await send({"type": "http.response.body", "body": b""})
        elif path.rstrip("/") in {"/health", "/health/liveliness", "/health/readiness"}:
            await self._health(exchange, path.rstrip("/"))
        elif path == "/metrics":
            await self._metrics(exchange, scope)
        elif _has_session(exchange):
            private = {**scope, "extensions": {}, "komilion.request_id": exchange.request_id}
            await self._serve_django(scope, Exchange(private, receive, _without_cors(send)), is_api=is_api)
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

    async def _metrics(self, exchange: Exchange, scope: Scope) -> None:
        try:
            if exchange.method != "GET":
                raise MethodNotAllowed(headers={"Allow": "GET"})
            client = scope.get("client") or ("",)
            await metrics.serve_metrics(exchange, client[0], self._gateway.services)
        except KomilionError as error:
            await exchange.fail(error)

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
                counters.count("komilion_pages", (str(message["status"]),))
                kind = next((value for name, value in message["headers"] if name.lower() == b"content-type"), b"")
                is_json = kind.startswith(b"application/json")
                if is_api and message["status"] >= 400 and not is_json:
                    replaced = True
                    await exchange.fail(BY_STATUS.get(message["status"], InternalError)())
                    return
                extra = [(b"x-request-id", exchange.request_id.encode()), *(CORS if is_api else [])]
                message["headers"] = [*message["headers"], *extra]
            if not replaced:
                await exchange.send(message)

        async with self._bodies.watch(exchange.receive) as body:
            await self._django(scope, body.receive, send_ours)
        if body.trouble is not None:
            await exchange.fail(body.trouble)


def _has_session(exchange: Exchange) -> bool:
    """Whether a session cookie of ours came along: such an answer is for our own pages alone."""
    return f"{settings.SESSION_COOKIE_NAME}=".encode() in exchange.headers.get(b"cookie", b"")


def _without_cors(send: Send) -> Send:
    async def send_privately(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [line for line in message["headers"] if line not in CORS]
        await send(message)

    return send_privately


async def _write_metrics() -> None:
    """Let the other processes of the installation see what this one counted."""
    while True:
        await asyncio.sleep(counters.WRITE_EVERY_S)
        try:
            await asyncio.to_thread(counters.write)
        except OSError as error:
            log.warning("metrics not written", extra={"error": str(error)})
