"""URLs of strangers: what is called, what is refused, and that nobody inside is reached by any spelling."""

import asyncio
import datetime
import io
import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from komilion.common.clock import utc_now
from komilion.common.egress import Egress, check_url
from komilion.common.errors import UrlRefused, UrlUnreachable
from komilion.common.http_message import Origin
from komilion.common.public_address import is_public
from tests.komilion.http_server import CHUNKED, OK, Script, Server, always
from tests.komilion.strangers import HERE, TEXT, Names, fetch, inside, redirect, refusal, run


@pytest.fixture
def allowed(settings) -> None:
    settings.EGRESS_ALLOW = (HERE, "other.example")


# who is reached

NOT_PUBLIC = [
    *("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "0.1.2.3", "::"),
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd00:ec2::254"),
    *("169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "fec0::1"),
    *("100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "ff02::1", "168.63.129.16", "192.88.99.1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::1", "2002:808:808::1"),
    *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "2001:10::1"),
]
PUBLIC = [
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_name_that_leads_inside_is_refused(address: str):
    error = refusal(f"https://{HERE}/", Names(files_example=[address]))
    assert isinstance(error, UrlRefused)
    assert "public Internet" in error.message
    assert address not in error.message


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str):
    assert is_public(address)


def test_one_address_inside_among_others_is_enough():
    assert isinstance(refusal(f"https://{HERE}/", Names(files_example=["8.8.8.8 127.0.0.1"])), UrlRefused)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "localhost"])
def test_other_spellings_of_an_address_are_looked_up_and_refused(host: str):
    async def system(origin: Origin) -> list:
        return await asyncio.get_running_loop().getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)

    async def main() -> None:
        with pytest.raises(UrlRefused):
            await Egress(system).fetch(f"https://{host}/", io.BytesIO(), most_bytes=1, timeout_s=5)

    names = {"2130706433": "127.0.0.1", "0x7f.1": "127.0.0.1", "127.1": "127.0.0.1", "0177.0.0.1": "127.0.0.1"}
    if host in names:  # what the C library makes of it; tests look up nothing but plain addresses of this machine
        assert socket.inet_ntoa(socket.inet_aton(host)) == names[host]
        refusal(f"https://{host}/", Names(**{host.replace(".", "_"): [names[host]]}))
    else:
        asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://files.example/",
            "ftp://files.example/",
            "file:///etc/passwd",
            "gopher://files.example/_x",
            "data:,x",
        ),
        *("//files.example/", "files.example", "", "https://", "https:///path", "https://files.example:22/"),
        *("https://files.example:8443/", "https://files.example:99999/", "https://files.example:x/"),
        *("https://user@files.example/", "https://user:word@files.example/", "https://:@files.example/"),
        *("https://files.example\\@127.0.0.1/", "https://files.example/\r\nX: 1", "https://files.example/a b"),
        *("https://files.example/\x00", "https://fi\u200bles.example/\u00e9", "https://[::1", "https://" + "a" * 5_000),
    ],
)
def test_urls_that_are_refused_before_any_look_up(url: str):
    names = inside()
    assert isinstance(refusal(url, names), UrlRefused)
    assert names.asked == []
    with pytest.raises(UrlRefused):
        check_url(url, param="webhookUrl")


def test_a_url_for_later_is_checked_without_a_look_up():
    check_url("https://files.example/hook?x=1#y")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1", "[::ffff:10.0.0.1]"])
def test_an_address_inside_is_refused_without_a_look_up(host: str):
    with pytest.raises(UrlRefused) as caught:
        check_url(f"https://{host}/", param="webhookUrl")
    assert caught.value.param == "webhookUrl"
    assert isinstance(refusal(f"https://{host}/"), UrlRefused)
    check_url("https://8.8.8.8/")


def test_a_name_without_addresses():
    error = refusal(f"https://{HERE}/", Names(files_example=[""]))
    assert isinstance(error, UrlUnreachable)


def test_a_name_that_nobody_knows():
    async def unknown(origin: Origin) -> list:
        raise socket.gaierror(-2, "Name or service not known")

    async def main() -> None:
        with pytest.raises(UrlUnreachable):
            await Egress(unknown).fetch(f"https://{HERE}/", io.BytesIO(), most_bytes=1, timeout_s=5)

    asyncio.run(main())


# what the operator allows


def test_an_allowed_host_may_be_inside_at_any_port_without_tls(allowed):
    async def scenario(server: Server, url: str) -> None:
        assert await fetch(url) == b"hello"
        head = server.heads[0].decode()
        assert head.startswith("GET /audio.wav HTTP/1.1\r\n")
        assert f"Host: {url.split('/')[2]}\r\n" in head
        assert "Accept-Encoding: identity\r\n" in head

    run(always(OK), scenario)


def test_an_allowed_network_too(settings):
    settings.EGRESS_ALLOW = ("127.0.0.0/8",)

    async def scenario(server: Server, url: str) -> None:
        assert await fetch(url) == b"hello"
        with pytest.raises(UrlRefused, match="https"):  # http to what is not in it
            await fetch("http://other.example/", Names(other_example=["8.8.8.8"]))
        with pytest.raises(UrlRefused, match="names a port"):
            await fetch("https://other.example:8443/", Names(other_example=["8.8.8.8"]))
        with pytest.raises(UrlRefused, match="public"):
            await fetch("https://other.example/", Names(other_example=["10.0.0.1"]))

    run(always(OK), scenario)


def test_an_allowed_host_says_nothing_about_another_one(settings):
    settings.EGRESS_ALLOW = ("intranet.example",)
    assert isinstance(refusal(f"https://{HERE}/"), UrlRefused)


def test_a_name_is_looked_up_once_and_its_address_kept(allowed):
    names = Names(files_example=["127.0.0.1", "169.254.169.254"])

    async def scenario(server: Server, url: str) -> None:
        assert await fetch(url, names) == b"hello"
        assert names.asked == [HERE]

    run(always(OK), scenario)


def test_no_proxy_of_the_environment_is_asked(allowed, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def scenario(server: Server, url: str) -> None:
        assert await fetch(url) == b"hello"

    run(always(CHUNKED), scenario)


# redirects


def redirecting(location: Callable[[Server], str]) -> Callable[[Server], Script]:
    """The first request is redirected, the next one answered."""

    def script(server: Server) -> Script:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            writer.write(redirect(location(server)) if server.connections == 1 else TEXT)
            await writer.drain()

        return serve

    return script


@pytest.mark.parametrize(
    "location",
    [
        *("https://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://[::ffff:127.0.0.1]/"),
        *(
            "http://169.254.169.254/",
            "file:///etc/passwd",
            "https://user:word@files.example/",
            "https://inside.example/",
        ),
    ],
)
def test_a_redirect_inside_is_refused(allowed, location: str):
    async def scenario(server: Server, url: str) -> None:
        with pytest.raises(UrlRefused):
            await fetch(url, Names(files_example=["127.0.0.1"], inside_example=["192.168.0.1"]))
        assert server.connections == 1

    run(always(redirect(location)), scenario)


@pytest.mark.parametrize("where", ["/other.wav", "other.wav", "http://other.example:{port}/other.wav"])
def test_a_redirect_is_followed(allowed, where: str):
    def location(server: Server) -> str:
        return where.format(port=server.url.split(":")[2].partition("/")[0])

    async def scenario(server: Server, url: str) -> None:
        names = inside()
        assert await fetch(url, names) == b"hello"
        assert server.heads[1].startswith(b"GET /other.wav ")
        assert len(names.asked) == 2

    run(redirecting(location), scenario)


@pytest.mark.parametrize(("location", "says"), [("/again", "more than 3"), ("", "nowhere"), ("//[::1", "no URL")])
def test_redirects_without_an_end(allowed, location: str, says: str):
    async def scenario(server: Server, url: str) -> None:
        with pytest.raises(UrlUnreachable, match=says):
            await fetch(url)
        assert server.connections == (4 if location == "/again" else 1)

    run(always(redirect(location)), scenario)


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Key and self-signed certificate of `files.example`, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HERE)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - datetime.timedelta(days=1))
        .not_valid_after(utc_now() + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HERE)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "server.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("host", [HERE, "other.example"])
def test_the_name_and_not_the_address_is_what_the_certificate_is_checked_for(
    allowed, certificate: Path, monkeypatch, host: str
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def scenario(server: Server, url: str) -> None:
        if host == HERE:
            assert await fetch(url) == b"hello"
        else:
            with pytest.raises(UrlUnreachable, match="certificate"):
                await fetch(url.replace(HERE, host))

    run(always(OK), scenario, tls=certificate)


def test_what_begins_with_tls_does_not_go_on_without(allowed, certificate: Path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def scenario(server: Server, url: str) -> None:
        with pytest.raises(UrlRefused, match="does not begin with https"):
            await fetch(url)

    run(always(redirect("http://other.example/")), scenario, tls=certificate)


def test_addresses_are_compared_by_value():
    assert ipaddress.ip_address("::ffff:7f00:1") == ipaddress.ip_address("::ffff:127.0.0.1")
    assert not is_public("::ffff:7f00:1")
