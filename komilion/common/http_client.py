"""An HTTP/1.1 client for the hot path: kept connections, one POST each at a time, bodies read as they come.

llhttp parses (by `httptools`, as in our server), `aiohappyeyeballs` connects, the event loop carries; what is left
is a pool and the limits. The general clients cost a request more than everything else the gateway does for it
(docs/decisions/0006). The other side is a stranger: heads are bounded, redirects are answers like any other, no proxy
is read from the environment, nothing is unpacked, and bytes that nobody asked for end their connection.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import cast, override

import aiohappyeyeballs
import httptools

from komilion.common.http_errors import BadResponse, Disconnected, NotConnected, TooLarge
from komilion.common.http_message import Origin, Resolve, has_length, head_of, look_up, target_of

KEEP_ALIVE_S = 60.0
READ_AHEAD_BYTES = 256 * 2**10  # unread bytes of a body at which the socket is left alone
ONE_WRITE_BYTES = 64 * 2**10  # up to here copying head and body together is cheaper than a second write
NEXT_ADDRESS_AFTER_S = 0.25  # RFC 8305, section 8
RELEASED_FOR_S = 1.0  # how long the end of a response that nobody reads any more may take


class Response:
    """A response whose head has arrived. Read it whole or piece by piece; in the end `release` or `close` it."""

    __slots__ = (
        "_connection",
        "_error",
        "_is_complete",
        "_is_released",
        "_pieces",
        "_timer",
        "_unread",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(self, connection: "_Connection") -> None:
        self.status = 0  # until the head is there
        self.headers: dict[str, str] = {}  # names in lower case
        self._connection = connection
        self._pieces: list[bytes] = []
        self._unread = 0
        self._is_complete = False
        self._is_released = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def read_some(self) -> bytes:
        """What has arrived, at least a byte; empty at the end. Raises `HttpError`, `TimeoutError`."""
        while not self._pieces:
            if self._is_complete:
                return b""
            await self._change()
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces, self._unread = [], 0
        self._connection.resume()
        return data

    async def read(self, limit_bytes: int) -> bytes:
        """The whole body. Raises `TooLarge` above `limit_bytes`, else what `read_some` raises."""
        if self._is_complete and self._unread <= limit_bytes:
            return await self.read_some()
        pieces, size = list[bytes](), 0
        while piece := await self.read_some():
            size += len(piece)
            if size > limit_bytes:
                raise TooLarge("the body is too large", size, piece)
            pieces.append(piece)
        return b"".join(pieces)

    def release(self) -> None:
        """What may still come is of no interest; if it ends soon, its connection serves again."""
        if not self._is_complete:
            self._is_released = True
            self._pieces.clear()
            self._unread = 0
            self._connection.resume()
            self._stop_timer()
            self.expire_in(RELEASED_FOR_S)

    def close(self) -> None:
        """End it: the connection of an incomplete response is closed, so that the other side stops too."""
        self._stop_timer()
        if not self._is_complete:
            self._connection.abort()

    # called by the connection and the client

    async def wait_for_head(self) -> None:
        """Raises `HttpError`, `TimeoutError`."""
        while not self.status:
            await self._change()

    def expire_in(self, seconds: float) -> None:
        """Fail with `TimeoutError` unless it is complete by then."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def take(self, piece: bytes) -> bool:
        """Add to the body; whether so much is unread that no more should come."""
        if not self._is_released:
            self._pieces.append(piece)
        self._unread += len(piece)
        return self._unread > READ_AHEAD_BYTES

    def complete(self) -> None:
        """Nothing more will come."""
        self._is_complete = True
        self._stop_timer()

    def fail(self, error: Exception) -> None:
        """Nothing more will come, but something should have."""
        if not self._is_complete and self._error is None:
            self._error = error
            self._stop_timer()
            self.wake()

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _change(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _expire(self) -> None:
        self.fail(TimeoutError())
        self._connection.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Connection(asyncio.Protocol):
    """One connection; carries one exchange at a time."""

    __slots__ = (
        "_client",
        "_has_advanced",
        "_is_interim",
        "_is_paused",
        "_is_reusable",
        "_overhead_bytes",
        "_parser",
        "_response",
        "_transport",
        "idle_since_s",
        "origin",
    )

    def __init__(self, client: "HttpClient", origin: Origin) -> None:
        self.origin = origin
        self.idle_since_s = 0.0
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._response: Response | None = None
        self._overhead_bytes = 0  # since a head was finished or a piece of a body came
        self._has_advanced = False  # one of the two happened with the bytes just read
        self._is_interim = False
        self._is_paused = False
        self._is_reusable = False

    def send(self, head: bytes, body: tuple[bytes, ...], size: int) -> Response:
        """Start an exchange. A connection that was lost meanwhile fails the response at once."""
        response = self._response = Response(self)
        self._overhead_bytes = 0
        if self._transport is None:
            response.fail(Disconnected("the connection was closed"))
        elif size <= ONE_WRITE_BYTES:
            self._transport.write(b"".join((head, *body)))
        else:
            self._transport.writelines((head, *body))
        return response

    def resume(self) -> None:
        """Read on after so much was unread that reading stopped."""
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """End the connection, now."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None:
            self.abort()  # what it answers nobody knows; the next caller must not get it
            return
        self._has_advanced = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            response.fail(BadResponse(f"not HTTP: {error}"))
            self.abort()
        else:
            self._overhead_bytes = 0 if self._has_advanced else self._overhead_bytes + len(data)
            if self._overhead_bytes > self._client.head_limit_bytes:
                response.fail(BadResponse("a head, a trailer or a chunk's extension without an end"))
                self.abort()
            elif self._response is None:  # complete
                self._client.keep(self) if self._is_reusable else self.abort()
        response.wake()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._client.forget(self)
        response, self._response = self._response, None
        if response is None:
            return
        if exc is None and response.status and not has_length(response.headers):
            response.complete()
            response.wake()
        else:
            response.fail(Disconnected("the connection was closed"))

    # httptools

    def on_message_begin(self) -> None:
        """A response begins."""
        if self._response is None:
            raise ValueError("bytes behind the response")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer, which nobody reads."""
        response = self._response
        if response is None or response.status:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers = response.headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """The head is whole. Interim heads (1xx) are passed over."""
        response = self._response
        assert response is not None
        status = self._parser.get_status_code()
        self._is_interim = status < 200
        if self._is_interim:
            response.headers.clear()
            return
        if sum(map(len, response.headers)) + sum(map(len, response.headers.values())) > self._client.head_limit_bytes:
            raise ValueError("the head is too large")
        self._is_reusable = self._parser.should_keep_alive()
        self._has_advanced = True
        response.status = status

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._has_advanced = True
        response = self._response
        if response is not None and response.take(body) and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The response is whole."""
        if self._is_interim or self._response is None:
            return
        self._has_advanced = True
        self._response.complete()
        self._response = None
        self.resume()


class HttpClient:
    """Connections to any number of origins, kept for `KEEP_ALIVE_S`; never evicted. For one event loop."""

    def __init__(self, *, head_limit_bytes: int, connect_timeout_s: float, resolve: Resolve = look_up) -> None:
        self.head_limit_bytes = head_limit_bytes
        self._connect_timeout_s = connect_timeout_s
        self._resolve = resolve  # says where an origin is, and nobody else is asked
        self._idle: dict[Origin, dict[_Connection, None]] = {}  # the one used last is the last
        self._open: set[_Connection] = set()
        self._tls: ssl.SSLContext | None = None

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | tuple[bytes, ...] = b"",
        *,
        timeout_s: float | None = None,
    ) -> Response:
        """Send a request and wait for the response's head; `timeout_s` bounds the exchange to the end of its body.

        A body in pieces goes out one after the other.
        Raises `NotConnected` when nothing was sent, `Disconnected`, `BadResponse`, `TimeoutError`, and `ValueError`
        for a URL or a header that cannot be sent.
        """
        origin, start = target_of(url)
        pieces = body if isinstance(body, tuple) else (body,)
        size = sum(map(len, pieces))
        head = head_of(method, start, headers, size)
        connection = self._take(origin) or await self._connect(origin)
        response = connection.send(head, pieces, size)
        if timeout_s is not None:
            response.expire_in(timeout_s)
        try:
            await response.wait_for_head()
        except BaseException:
            response.close()
            raise
        return response

    def keep(self, connection: _Connection) -> None:
        """Take back a connection whose exchange is complete."""
        now_s = connection.idle_since_s = asyncio.get_running_loop().time()
        idle = self._idle.setdefault(connection.origin, {})
        idle[connection] = None
        while (oldest := next(iter(idle))).idle_since_s < now_s - KEEP_ALIVE_S:
            del idle[oldest]
            oldest.abort()

    def forget(self, connection: _Connection) -> None:
        """The connection was lost."""
        self._open.discard(connection)
        self._idle.get(connection.origin, {}).pop(connection, None)

    async def close(self) -> None:
        """End every connection."""
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)  # the transports end in the next round of the loop

    def _take(self, origin: Origin) -> _Connection | None:
        """The connection that was used last; one that idled for too long is most likely dead at the other end."""
        idle = self._idle.get(origin)
        if not idle:
            return None
        connection, _ = idle.popitem()
        if connection.idle_since_s >= asyncio.get_running_loop().time() - KEEP_ALIVE_S:
            return connection
        for stale in (connection, *idle):
            stale.abort()
        idle.clear()
        return None

    async def _connect(self, origin: Origin) -> _Connection:
        loop = asyncio.get_running_loop()
        tls = self._tls_context() if origin.is_tls else None
        name = origin.host if origin.is_tls else None
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                found = await self._resolve(origin)
                sock = await aiohappyeyeballs.start_connection(
                    found, happy_eyeballs_delay=NEXT_ADDRESS_AFTER_S, interleave=1
                )
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                _, connection = await loop.create_connection(
                    lambda: _Connection(self, origin), sock=sock, ssl=tls, server_hostname=name
                )
        except (OSError, UnicodeError) as error:  # TimeoutError and ssl.SSLError are among them
            raise NotConnected(f"{type(error).__name__}: {error}") from error
        self._open.add(connection)
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls
