"""One connection to Redis that carries one command at a time, without the layers of a client library.

A call through redis-py costs this process about twice the CPU of the same bytes sent here, and the
limiter makes one for nearly every request. What is left out is what the limiter does not need: pools,
retries, clusters.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast, override

import hiredis
from redis.asyncio.connection import parse_url

type Reply = object
"""What hiredis makes of an answer: int, bytes, list, None or a returned `hiredis.ReplyError`."""


def pack(*words: str | int | bytes) -> bytes:
    """One command as the protocol writes it."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type] # the stub knows one word only
    return packed


class WireError(Exception):
    """The server cannot be reached, does not let us in, or went away."""


class Wire(asyncio.Protocol):
    """Send one packed command, get one call of `on_reply`; `on_lost` is called when the connection ends."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._on_reply: Callable[[Reply], None] | None = None
        self.on_lost: Callable[[], None] | None = None

    def send(self, command: bytes, on_reply: Callable[[Reply], None]) -> None:
        """Send one command. The one before must have been answered."""
        assert self._on_reply is None, "one command at a time"
        self._on_reply = on_reply
        if self._transport is not None:  # else the connection has ended, and `on_lost` says so
            self._transport.write(command)

    async def ask(self, *words: str | int | bytes) -> Reply:
        """Send one command and wait for its answer. Raises `WireError` when the answer is an error."""
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def settle(reply: Reply) -> None:
            if not answered.done():
                answered.set_result(reply)

        self.on_lost = lambda: settle(hiredis.ReplyError("the connection was closed"))
        self.send(pack(*words), settle)
        reply = await answered
        self.on_lost = None
        if isinstance(reply, hiredis.ReplyError):
            raise WireError(str(reply))
        return reply

    def close(self) -> None:
        """End the connection at once; neither callback is called any more."""
        self.on_lost = self._on_reply = None
        self._abort()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            reply = self._reader.gets()
        except hiredis.ProtocolError:
            self._abort()  # that is no Redis; ends in `on_lost`
            return
        if reply is not False and self._on_reply is not None:  # False: not all of it has arrived
            on_reply, self._on_reply = self._on_reply, None
            on_reply(reply)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.on_lost is not None:
            self.on_lost()


def _tls(options: dict[str, Any]) -> ssl.SSLContext:
    """The TLS settings that redis-py reads from a `rediss://` URL."""
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    if options.get("ssl_cert_reqs") == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _connect(url: str, options: dict[str, Any]) -> Wire:
    loop = asyncio.get_running_loop()
    if "path" in options:
        _, wire = await loop.create_unix_connection(Wire, options["path"])
        return wire
    tls = _tls(options) if url.startswith("rediss://") else None
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    _, wire = await loop.create_connection(Wire, host, port, ssl=tls)
    return wire


async def open_wire(url: str, timeout_s: float, greeting: tuple[str, ...] = ("PING",)) -> Wire:
    """A connection that is logged in, has chosen its database and has answered to `greeting`.

    Raises `WireError`, also for a bad URL.
    """
    try:
        options = cast("dict[str, Any]", parse_url(url))
    except ValueError:
        # Without its cause: the message may quote a part of the password.
        raise WireError("REDIS_URL is not a redis://, rediss:// or unix:// address") from None
    wire: Wire | None = None
    try:
        async with asyncio.timeout(timeout_s):
            wire = await _connect(url, options)
            if options.get("password"):
                user = (options["username"],) if options.get("username") else ()
                await wire.ask("AUTH", *user, options["password"])
            if options.get("db"):
                await wire.ask("SELECT", options["db"])
            await wire.ask(*greeting)
    except (OSError, TimeoutError, WireError) as error:
        if wire is not None:
            wire.close()
        raise WireError(f"{type(error).__name__}: {error}") from error
    except BaseException:
        if wire is not None:
            wire.close()
        raise
    return wire
