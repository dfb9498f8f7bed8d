"""Servers of strangers: names that lead where a test wants, one of this machine behind such a name, what it gives."""

import asyncio
import io
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from komilion.common.egress import Egress
from komilion.common.errors import KomilionError
from komilion.common.http_message import Origin
from tests.komilion.http_server import Script, Server

HERE = "files.example"
MOST = 2**20
TEXT = b"HTTP/1.1 200 OK\r\nContent-Type: Audio/WAV; rate=1\r\nContent-Length: 5\r\n\r\nhello"


class Names:
    """A resolver: each look-up of a name takes its next addresses, the last ones for ever; counts look-ups."""

    def __init__(self, **names: list[str]) -> None:
        self._names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []

    async def __call__(self, origin: Origin) -> list:
        self.asked.append(origin.host)
        addresses = self._names.get(origin.host, [origin.host])
        address = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        found = []
        for each in address.split():
            family = socket.AF_INET6 if ":" in each else socket.AF_INET
            rest = (0, 0) if family == socket.AF_INET6 else ()
            found.append((family, socket.SOCK_STREAM, 6, "", (each, origin.port, *rest)))
        return found


def inside() -> Names:
    return Names(files_example=["127.0.0.1"], other_example=["127.0.0.1"])


def run(
    script: Callable[[Server], Script], scenario: Callable[[Server, str], Awaitable[None]], *, tls: Path | None = None
) -> None:
    """Play a scenario with a server of this machine, which is known as `files.example`."""

    async def main() -> None:
        server = Server(script)
        context = None
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls)
        await server.start(context)
        port = server.url.split(":")[2].partition("/")[0]
        try:
            async with asyncio.timeout(20):
                await scenario(server, f"{'https' if tls else 'http'}://{HERE}:{port}/audio.wav")
        finally:
            await server.stop()

    asyncio.run(main())


async def fetch(url: str, names: Names | None = None, *, timeout_s: float = 10) -> bytes:
    sink = io.BytesIO()
    fetched = await Egress(names or inside()).fetch(url, sink, most_bytes=MOST, timeout_s=timeout_s, param="audioUrl")
    assert fetched.size == len(sink.getvalue())
    return sink.getvalue()


def refusal(url: str, names: Names | None = None) -> KomilionError:
    with pytest.raises(KomilionError) as caught:
        asyncio.run(fetch(url, names))
    assert caught.value.param == "audioUrl"
    return caught.value


def redirect(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
