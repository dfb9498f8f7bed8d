"""The scripted OpenAI-compatible upstream: an HTTP server on loopback whose model names say how it behaves.

In a test: `with Upstream() as upstream:` runs it on a thread of its own; `upstream.url` is the base URL,
`upstream.script("name", Reply(...))` adds behaviour, `upstream.calls` is what it saw and would bill. As a
process of its own, for tests that kill things: `python -m tests.fakes.upstream --port N --journal FILE`. The
model names are described in `replies.py` and `presets.py`, the journal in `journal.py`.
"""

import argparse
import asyncio
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from tests.fakes import wire
from tests.fakes.exchange import Exchange
from tests.fakes.journal import Call, Journal
from tests.fakes.on_thread import OnThread
from tests.fakes.presets import PRESETS
from tests.fakes.replies import Reply, in_turn, read_script

BACKLOG = 1_024
JSON = {"Content-Type": "application/json"}


class Upstream(OnThread):
    """The server, its scripts and its journal; `serve` runs it in a loop, `with` on a thread."""

    def __init__(self, journal_path: Path | None = None, port: int = 0) -> None:
        super().__init__()
        self.journal = Journal(journal_path)
        self.trap_hits: list[wire.Request] = []  # what followed a redirect to another host
        self.scripts: dict[str, Reply] = dict(PRESETS)
        self._sockets = [_listen(port), _listen(0)]
        self.port, self._trap_port = (sock.getsockname()[1] for sock in self._sockets)
        self.connections: set[Connection] = set()

    @property
    def url(self) -> str:
        """The base URL for a provider: what comes before `/chat/completions`."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def trap_url(self) -> str:
        """Another host, where the gateway has no business."""
        return f"http://127.0.0.1:{self._trap_port}"

    @property
    def calls(self) -> list[Call]:
        """Every call so far, in the order of arrival."""
        return self.journal.calls

    def calls_of(self, model: str) -> list[Call]:
        """The calls of one upstream model."""
        return [call for call in list(self.journal.calls) if call.model == model]

    def script(self, name: str, reply: Reply) -> str:
        """From now on the model `name` answers like this; returns the name."""
        self.scripts[name] = reply
        return name

    async def begin(self) -> None:
        """The usual door, and the one that nobody may use."""
        loop = asyncio.get_running_loop()
        answer, answer_trap = lambda: Connection(self), lambda: Connection(self, trap=True)
        self._servers = [
            await loop.create_server(answer, sock=self._sockets[0], backlog=BACKLOG),
            await loop.create_server(answer_trap, sock=self._sockets[1]),
        ]

    async def end(self) -> None:
        """Drop every connection, and close the journal."""
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.abandon()
        for server in self._servers:
            await server.wait_closed()
        self.journal.close()


class Connection(asyncio.Protocol):
    """One connection: requests in, one answer at a time out; a gateway that leaves is noticed at once."""

    def __init__(self, upstream: Upstream, *, trap: bool = False) -> None:
        self._upstream = upstream
        self._trap = trap
        self._buffer = bytearray()
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A gateway connects."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._writable.set()
        self._upstream.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Part of a request."""
        self._buffer += data
        self._next()

    def pause_writing(self) -> None:
        """The gateway does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It reads again."""
        self._writable.set()

    def eof_received(self) -> None:
        """The gateway has closed its side: it does not want the rest."""
        self._left()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whosever doing."""
        self._left()
        self._upstream.connections.discard(self)

    def abandon(self) -> None:
        """Close at once: the server stops."""
        self._transport.abort()

    def _left(self) -> None:
        if self._answering:
            self._answering.cancel()

    def _next(self) -> None:
        """Begin with the next request, when it is whole and the one before is answered."""
        if self._answering or self._transport.is_closing():
            return
        try:
            request = wire.take_request(self._buffer)
        except (wire.BadRequest, ValueError):
            self._transport.close()
            return
        if request:
            self._answering = asyncio.get_running_loop().create_task(self._answer(request))

    async def _answer(self, request: wire.Request) -> None:
        try:
            await self._route(request)
        finally:
            self._answering = None
        self._next()

    async def _route(self, request: wire.Request) -> None:
        if self._trap:
            self._upstream.trap_hits.append(request)
        if request.method == "GET":
            await self._respond(200, {"object": "list", "data": []})
        elif not request.path.split("?")[0].endswith("/chat/completions"):
            await self._respond(404, {"error": {"message": "no such path", "type": "invalid_request_error"}})
        else:
            await self._chat(request)

    async def _chat(self, request: wire.Request) -> None:
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        journal = self._upstream.journal
        call = journal.arrived(request.path, request.headers, body)
        reply = read_script(call.model.rsplit("/", 1)[-1], self._upstream.scripts)
        reply = reply or read_script(call.model, self._upstream.scripts)
        if reply is None or not isinstance(body, dict):
            journal.ended(call, "refused", call.billed)
            message = f"no script for model {call.model!r}" if isinstance(body, dict) else "not a JSON object"
            return await self._respond(404, {"error": {"message": message, "code": "model_not_found"}})
        reply = in_turn(reply, journal.earlier(call))
        trap_url = self._upstream.trap_url
        exchange = Exchange(call, reply, self._transport, self._writable.wait, journal, trap_url)
        try:
            await exchange.run()
        except asyncio.CancelledError:
            exchange.left()
            raise
        return None

    async def _respond(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self._transport.write(wire.head(status, {**JSON, "Content-Length": str(len(data))}) + data)
        await self._writable.wait()


def _listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=BACKLOG)


async def _serve_until_told(upstream: Upstream) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, upstream.stop)
    print(upstream.url, flush=True)
    await upstream.serve()


def main() -> None:
    """Serve alone; the first line of output is the base URL."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--journal", type=Path)
    options = parser.parse_args(sys.argv[1:])
    asyncio.run(_serve_until_told(Upstream(options.journal, options.port)))


if __name__ == "__main__":
    main()
