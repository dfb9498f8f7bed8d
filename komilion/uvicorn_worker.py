"""One web process: `python -m komilion.uvicorn_worker`. The supervisor starts WORKERS of them.

Each opens its own listening socket on the same port (SO_REUSEPORT); the kernel spreads connections over them.
uvicorn's own `--workers` is not used: its workers keep serving when their parent is killed.
"""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Iterable
from typing import Any, override

import django
import uvicorn
from uvicorn._types import ASGI3Application, ASGIApplication
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from komilion import env

with env.ending_in_one_line():
    from komilion import settings

WHOLE_RESPONSE = "komilion.whole_response"  # as routing.gateway.exchange, which needs Django set up, names it

BACKLOG_CONNECTIONS = 2_048
KEEP_ALIVE_S = 75  # longer than the pools of common clients and load balancers, so that they close first
HEADER_OVERHEAD_BYTES = 4  # ": " and the line end
SETTLING_S = 1  # for a conversation that is cut, beside what its provider and its client get
SERVICE_RESTART = 1012  # in the registry of RFC 6455's close codes
REST_OF_BODY_S = 5  # for a client that still sends what was refused: hung up on at once, it could lose the answer

logger = logging.getLogger(__name__)


class HeadTooLarge(Exception):
    """Ends the parsing of a request that was already answered with 431."""


class WholeResponse:
    """Head and body of a response in one write, for an application that knows both.

    uvicorn's `send` takes them one after the other and checks each header with two regular expressions; for an answer
    with twenty headers that is a tenth of what the whole request costs. What is sent here was checked where it entered.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def __call__(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Send it and complete the exchange; nothing happens where the client is gone."""
        cycle = self._cycle
        if cycle.disconnected or cycle.response_started:
            return
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        parts = [STATUS_LINE[status]]
        for name, value in cycle.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if cycle.scope["method"] != "HEAD":
            parts.append(body)
        cycle.transport.write(b"".join(parts))
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


class LimitedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a limit on a request's head, in bytes and time, and on what follows a refusal.

    A head that arrives in one piece costs two flags. Only one that comes in several pieces is counted and
    timed, and only a piece above the limit (the start of a large body) makes us add up the headers.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0  # of the unfinished head, in pieces before the current one
        self._piece_bytes = 0
        self._progress = False  # this piece finished a head or a body
        self._in_body = False
        self._refused = False
        self._head_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(settings.HEADER_TIMEOUT_S, self._head_overdue)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._progress = False
        self._piece_bytes = len(data)
        super().data_received(data)
        if not self._progress and not self._in_body:
            self._head_grew(len(data))

    @override
    def on_headers_complete(self) -> None:
        if self._head_bytes + self._piece_bytes > settings.HEADER_LIMIT_BYTES:
            size = len(self.url) + sum(len(n) + len(v) + HEADER_OVERHEAD_BYTES for n, v in self.headers)
            if size > settings.HEADER_LIMIT_BYTES:
                self._refuse(431)
                raise HeadTooLarge
        self._progress = self._in_body = True
        self._head_bytes = 0
        self._stop_head_timer()
        super().on_headers_complete()

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.scope["extensions"] = {WHOLE_RESPONSE: WholeResponse(cycle)}  # type: ignore[dict-item]
        super()._start_asgi_task(cycle, app)

    @override
    def on_message_complete(self) -> None:
        self._progress = True
        self._in_body = False
        super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete:
            self.loop.call_later(REST_OF_BODY_S, self._rest_overdue, self.cycle)

    def _rest_overdue(self, cycle: RequestResponseCycle) -> None:
        """The application needed no more of this body, and uvicorn would take and drop the rest for ever."""
        if self._in_body and self.cycle is cycle:
            self.transport.close()

    @override
    def send_400_response(self, msg: str) -> None:
        """What uvicorn does when parsing fails; silent where we already answered."""
        if not self._refused:
            self._stop_head_timer()
            super().send_400_response(msg)

    def _head_grew(self, size: int) -> None:
        """A piece of a head, or stray line ends between requests; a client may not drip either for ever."""
        self._head_bytes += size
        if self._head_bytes > settings.HEADER_LIMIT_BYTES:
            self._refuse(431)
        elif self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(settings.HEADER_TIMEOUT_S, self._head_overdue)

    def _head_overdue(self) -> None:
        self._head_timer = None
        if self._is_answering():  # a pipelined request is slow; the one before it still has all its time
            self._head_timer = self.loop.call_later(settings.HEADER_TIMEOUT_S, self._head_overdue)
        elif self._head_bytes:
            self._refuse(408)
        else:
            self.transport.close()  # connected and never said a word: nothing to answer

    def _refuse(self, status: int) -> None:
        """Answer in plain HTTP (no request has reached the application) and hang up."""
        self._refused = True
        self._stop_head_timer()
        if not self._is_answering():  # else this answer would land inside the other one
            self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class PartingWebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol; at a stop the application says goodbye, where uvicorn would close the socket."""

    @override
    def shutdown(self) -> None:
        """Tell the application, which settles, says what it cost and closes; whoever does not take that is cut off."""
        if not self.handshake_complete or self.close_sent or self.transport.is_closing():
            super().shutdown()
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": SERVICE_RESTART})
        patience_s = settings.REALTIME_CLOSE_TIMEOUT_S + settings.REALTIME_GOODBYE_S + SETTLING_S
        self.loop.call_later(min(patience_s, settings.SHUTDOWN_GRACE_S), self.transport.abort)


class PatientServer(uvicorn.Server):
    """Gives running calls their grace, then cancels them and lets each settle before the application ends."""

    @override
    async def _wait_tasks_to_complete(self) -> None:
        try:
            async with asyncio.timeout(settings.SHUTDOWN_GRACE_S):
                await super()._wait_tasks_to_complete()
        except TimeoutError:
            tasks = list(self.server_state.tasks)
            logger.warning("%d calls still run after %d s and are cut", len(tasks), settings.SHUTDOWN_GRACE_S)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=settings.SETTLEMENT_WAIT_S)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket that shares its port with the other web processes. Raises `OSError`."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(address)
    listener.setblocking(False)
    return listener


def server_config(application: ASGIApplication | str = "komilion.asgi:application") -> uvicorn.Config:
    """How a web process serves the application; a string is imported in the process that serves it."""
    return uvicorn.Config(
        application,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http=LimitedHttpProtocol,
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        ws=PartingWebSocketProtocol,  # of "websockets-sansio": the others make a task of each frame, or parse in Python
        ws_max_size=settings.REALTIME_FRAME_LIMIT_BYTES,
        ws_ping_interval=settings.REALTIME_PING_EVERY_S,
        ws_ping_timeout=settings.REALTIME_PING_EVERY_S,
        ws_per_message_deflate=False,  # base64 of speech hardly shrinks, and a small frame may unpack to a large one
    )


def refusal_of_test_money() -> str:
    """Why TEST_PAYMENTS=1 keeps this process from serving; empty where it does not. Looks into the database."""
    if not settings.TEST_PAYMENTS:
        return ""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "komilion.settings")
    django.setup()
    from billing.payments import pretend  # noqa: PLC0415 - models can be imported only now

    return pretend.refusal_of_test_money(settings)


def main() -> int:
    """Serve until SIGTERM. The exit code."""
    if refusal := refusal_of_test_money():
        sys.stderr.write(f"komilion: {refusal}\n")
        return 1
    try:
        listener = listen(settings.HOST, settings.PORT)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {settings.HOST}:{settings.PORT}: {error.strerror}\n")
        return 1
    server = PatientServer(server_config())
    server.run(sockets=[listener])
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
