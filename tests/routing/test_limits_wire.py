"""The limiter's own connection: every kind of address, and servers that are not what they seem."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from routing.limits.wire import Wire, WireError, open_wire, pack
from tests.async_waiting import eventually
from tests.routing.limiting import in_loop
from tests.services.valkey import ValkeyServer

type Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def test_every_kind_of_address(valkey_server: ValkeyServer) -> None:
    address, password = valkey_server.url.removesuffix("/0"), valkey_server.url.split(":")[2].split("@")[0]
    with valkey_server.client as client:
        client.execute_command("ACL", "SETUSER", "gateway", "on", ">pass:word", "~*", "+@all")

    async def scenario() -> None:
        for url, database in (
            (address, 0),
            (f"{address}/3", 3),
            (address.replace(f":{password}@", "gateway:pass%3Aword@") + "/0", 0),
            (f"unix://:{password}@{valkey_server.socket_path}?db=2", 2),
        ):
            wire = await open_wire(url, 1)
            about = await wire.ask("CLIENT", "INFO")
            assert isinstance(about, bytes)
            assert f" db={database} ".encode() in about
            wire.close()

    in_loop(scenario())


@pytest.mark.parametrize("url", ["http://localhost", "redis://:sec/ret@localhost:x/0"])
def test_an_address_that_is_none_is_named_without_its_password(url: str) -> None:
    with pytest.raises(WireError, match="REDIS_URL is not") as caught:
        in_loop(open_wire(url, 1))
    assert "sec" not in str(caught.value)


def test_a_wrong_password_is_an_error(valkey_server: ValkeyServer) -> None:
    with pytest.raises(WireError, match="WRONGPASS"):
        in_loop(open_wire(valkey_server.url.replace("redis://:", "redis://:not-"), 1))


def address_without_answer() -> str:
    """A name that must be looked up first, which takes a thread and so longer than one tick."""
    return "redis://localhost:1"


async def talk_to(handler: Handler, path: Path, url_end: str, timeout_s: float) -> None:
    """Open and close a wire to a server on a socket at `path` that does what `handler` does."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_unix_server(handle, path)
    try:
        wire = await open_wire(f"unix://{url_end}", timeout_s)
        wire.close()
    finally:
        server.close()
        await server.wait_closed()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def speak_another_protocol(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await reader.read()


async def answer_in_pieces_and_chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    for piece in (b"+O", b"K\r", b"\n"):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.005)
    writer.write(b"+nobody asked\r\n")
    await reader.read()


@pytest.mark.parametrize("handler", [hang_up, say_nothing, speak_another_protocol])
def test_a_server_that_is_no_redis_is_an_error(tmp_path: Path, handler: Handler) -> None:
    path = tmp_path / "socket"
    with pytest.raises(WireError):
        in_loop(talk_to(handler, path, f":password@{path}", 0.2))


def test_an_answer_may_come_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    in_loop(talk_to(answer_in_pieces_and_chatter, path, f":password@{path}", 5))


def test_opening_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def scenario() -> None:
        arrived = asyncio.Event()

        async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            arrived.set()
            await reader.read()  # ends when the other side hangs up

        opening = asyncio.create_task(talk_to(note, path, f":password@{path}", 5))
        await arrived.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

        connecting = asyncio.create_task(open_wire(address_without_answer(), 5))
        await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    in_loop(scenario())


def test_the_end_of_a_connection_is_reported_once_and_sending_into_it_is_harmless(
    valkey_server: ValkeyServer,
) -> None:
    async def scenario() -> None:
        wire = await open_wire(valkey_server.url, 1)
        ends: list[str] = []
        wire.on_lost = lambda: ends.append("lost")
        valkey_server.kill()
        await eventually(lambda: ends)
        wire.send(b"", lambda _: ends.append("answered"))
        wire.close()
        assert ends == ["lost"]

    in_loop(scenario())


def test_an_answer_followed_by_the_end_is_an_answer() -> None:
    async def scenario() -> None:
        wire = Wire()
        asking = asyncio.create_task(wire.ask("PING"))
        await asyncio.sleep(0)
        wire.data_received(b"+PONG\r\n")
        wire.connection_lost(None)
        assert await asking == b"PONG"

    in_loop(scenario())


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "valkey")])
    today = datetime.datetime.now(datetime.UTC)  # noqa: TID251 - a certificate's dates are of the real world
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


def test_an_encrypted_connection(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificate, key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            for expected in (pack("SELECT", 1), pack("PING")):
                asked = await reader.readexactly(len(expected))
                writer.write(b"+OK\r\n" if asked == expected else b"-ERR\r\n")
            await reader.read()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=theirs)
        address = f"rediss://127.0.0.1:{server.sockets[0].getsockname()[1]}/1"
        async with server:
            with pytest.raises(WireError, match="certificate"):
                await open_wire(address, 5)
            for options in (
                f"ssl_ca_certs={certificate}",
                f"ssl_ca_certs={certificate}&ssl_certfile={certificate}&ssl_keyfile={key}",
                "ssl_cert_reqs=none",
            ):
                wire = await open_wire(f"{address}?{options}", 5)
                wire.close()

    in_loop(scenario())
