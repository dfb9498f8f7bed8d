"""What the HTTP client takes from nobody: answers that are none or never end, lost connections, false certificates."""

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from komilion.common.clock import utc_now
from komilion.common.http_client import HttpClient
from komilion.common.http_errors import BadResponse, Disconnected, NotConnected, TooLarge
from komilion.common.http_message import target_of
from tests.async_waiting import eventually
from tests.komilion.http_server import CHUNKED, HEAD_LIMIT, OK, Server, always, endless, fetch, run

# what is refused


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * HEAD_LIMIT + b"\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["not HTTP", "two lengths", "two framings", "bad chunk", "upgrade", "large head"],
)
def test_what_is_no_answer(answer: bytes):
    async def scenario(client: HttpClient, server: Server) -> None:
        with pytest.raises(BadResponse):
            await fetch(client, server)
        await eventually(lambda: server.ended == 1)

    run(always(answer), scenario)


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"x" * 100),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"x" * 100),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", b"X-A: 1\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: ", b"x" * 100),
    ],
    ids=["line", "headers", "interim answers", "chunk extension", "trailers", "trailer line"],
)
def test_what_never_ends_is_given_up(start: bytes, piece: bytes):
    async def scenario(client: HttpClient, server: Server) -> None:
        with pytest.raises(BadResponse):
            await fetch(client, server)
        await eventually(lambda: server.ended == 1)

    run(endless(start, piece), scenario)


def test_a_body_has_a_limit():
    async def scenario(client: HttpClient, server: Server) -> None:
        for limit, error in ((5, None), (4, TooLarge)):
            response = await client.request("GET", server.url, {})
            if error is None:
                assert await response.read(limit) == b"hello"
            else:
                with pytest.raises(error):
                    await response.read(limit)

    run(always(OK), scenario)


@pytest.mark.parametrize(
    "answer",
    [b"", OK[:10], OK[:-1], CHUNKED[:-1], CHUNKED[:60]],
    ids=["nothing", "half a head", "a byte short", "no last line", "half a chunk"],
)
def test_a_connection_that_ends_early(answer: bytes):
    async def scenario(client: HttpClient, server: Server) -> None:
        with pytest.raises(Disconnected):
            await fetch(client, server)

    run(always(answer, keep=False), scenario)


def test_what_came_before_the_end_is_handed_out_first():
    async def scenario(client: HttpClient, server: Server) -> None:
        response = await client.request("GET", server.url, {})
        await eventually(lambda: server.ended == 1)
        assert await response.read_some() == b"hell"
        with pytest.raises(Disconnected):
            await response.read_some()

    run(always(OK[:-1], keep=False), scenario)


@pytest.mark.parametrize("answer", [b"", OK[:-1]], ids=["no head", "half a body"])
def test_a_whole_exchange_has_a_limit_in_time(answer: bytes):
    async def scenario(client: HttpClient, server: Server) -> None:
        with pytest.raises(TimeoutError):
            await fetch(client, server, timeout_s=0.05)
        await eventually(lambda: server.ended == 1)

    run(always(answer), scenario)


def test_nobody_there(free_port_without_a_server: int):
    async def scenario(client: HttpClient, server: Server) -> None:
        with pytest.raises(NotConnected):
            await client.request("GET", f"http://127.0.0.1:{free_port_without_a_server}/", {})

    run(always(OK), scenario)


@pytest.fixture
def free_port_without_a_server() -> int:
    """A port that was free a moment ago."""

    async def find() -> int:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return port

    return asyncio.run(find())


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/", "http:///path", "/v1", "http://127.0.0.1/a b", "http://127.0.0.1/\u00e9", "http://a:x/"],
)
def test_addresses_that_cannot_be_sent(url: str):
    async def scenario(client: HttpClient, server: Server) -> None:
        with pytest.raises(ValueError, match=r"."):
            await client.request("GET", url, {})

    run(always(OK), scenario)


@pytest.mark.parametrize("value", ["a\r\nX-B: c", "a\nb", "a\0b", "\u20ac"])
def test_headers_that_cannot_be_sent(value: str):
    async def scenario(client: HttpClient, server: Server) -> None:
        with pytest.raises(ValueError, match=r"."):
            await client.request("GET", server.url, {"X-A": value})
        assert server.connections == 0

    run(always(OK), scenario)


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("https://api.example.com/v1/chat?x=1", "api.example.com", "/v1/chat?x=1"),
        ("http://[::1]:8080", "[::1]:8080", "/"),
        ("http://b\u00fccher.example/", "xn--bcher-kva.example", "/"),
        ("https://example.com:443/", "example.com", "/"),
    ],
)
def test_how_an_address_is_written(url: str, host: str, target: str):
    _, start = target_of(url)
    assert start == f"{target} HTTP/1.1\r\nHost: {host}\r\n"


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Key and self-signed certificate of `localhost`, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - datetime.timedelta(days=1))
        .not_valid_after(utc_now() + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "localhost.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("is_trusted", [True, False])
def test_a_certificate_is_checked(certificate: Path, monkeypatch, is_trusted: bool):
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def main() -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
        server = Server(always(OK))
        await server.start(tls)
        client = HttpClient(head_limit_bytes=HEAD_LIMIT, connect_timeout_s=5)
        try:
            if is_trusted:
                assert await fetch(client, server) == b"hello"
                assert await fetch(client, server) == b"hello"
                assert server.connections == 1
            else:
                with pytest.raises(NotConnected, match="CERTIFICATE_VERIFY_FAILED"):
                    await fetch(client, server)
        finally:
            await client.close()
            await server.stop()

    asyncio.run(main())
