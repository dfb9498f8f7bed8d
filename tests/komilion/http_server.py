"""Servers of raw bytes for the HTTP client, and how to play a scenario with one."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

from komilion.common.http_client import HttpClient

HEAD_LIMIT = 4_096
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: 1\r\n\r\n"
TO_THE_END = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"

type Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each connection by a script; counts connections and remembers what it was sent."""

    def __init__(self, script: "Callable[[Server], Script]") -> None:
        self._script = script(self)
        self.connections = 0
        self.ended = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.url = ""

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{port}/v1/chat"

    async def stop(self) -> None:
        self._server.close()
        self._server.close_clients()
        await self._server.wait_closed()

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """Read one request; returns its body."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(lines[b"content-length"]))
        self.bodies.append(body)
        return body

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._script(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.ended += 1


def run(script: Callable[["Server"], Script], scenario: Callable[[HttpClient, Server], Awaitable[None]]) -> None:
    """Play a scenario with a client and a server."""

    async def main() -> None:
        server = Server(script)
        await server.start()
        client = HttpClient(head_limit_bytes=HEAD_LIMIT, connect_timeout_s=5)
        try:
            async with asyncio.timeout(20):
                await scenario(client, server)
        finally:
            await client.close()
            await server.stop()

    asyncio.run(main())


def always(*pieces: bytes, keep: bool = True) -> Callable[[Server], Script]:
    """Answer every request with these bytes, piece by piece; then wait for the next, or hang up."""

    def script(server: Server) -> Script:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await server.request(reader)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not keep:
                    return

        return serve

    return script


def endless(start: bytes, piece: bytes) -> Callable[[Server], Script]:
    """Answer with `start` and then with `piece` for ever."""

    def script(server: Server) -> Script:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            writer.write(start)
            while True:
                writer.write(piece * 100)
                await writer.drain()

        return serve

    return script


async def fetch(client: HttpClient, server: Server, body: bytes = b"{}", timeout_s: float | None = None) -> bytes:
    response = await client.request("POST", server.url, {"X-A": "b"}, body, timeout_s=timeout_s)
    assert response.status == 200
    data = await response.read(2**20)
    response.release()
    return data
