"""What URLs of strangers answer: bodies without an end, slow, packed or broken, and what is posted to them."""

import asyncio
import gzip
import io
from collections.abc import Callable

import pytest

from komilion.common import egress
from komilion.common.egress import Egress
from komilion.common.errors import PayloadTooLarge, UrlRefused, UrlUnreachable
from tests.komilion.http_server import OK, Script, Server, always, endless
from tests.komilion.strangers import HERE, MOST, TEXT, fetch, inside, redirect, run


@pytest.fixture
def allowed(settings) -> None:
    settings.EGRESS_ALLOW = (HERE, "other.example")


# bodies


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"])
def test_a_body_without_an_end_is_cut_off(allowed, start: bytes):
    async def scenario(server: Server, url: str) -> None:
        with pytest.raises(PayloadTooLarge, match="1 MiB"):
            await fetch(url)

    run(endless(start, b"x" * 1_000), scenario)


def dripping(each: bytes, head: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"):
    """A piece every hundredth of a second, for ever."""

    def script(server: Server) -> Script:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            writer.write(head)
            while True:
                writer.write(each)
                await writer.drain()
                await asyncio.sleep(0.01)

        return serve

    return script


def test_a_body_that_drips_is_given_up(allowed):
    async def scenario(server: Server, url: str) -> None:
        with pytest.raises(UrlUnreachable, match="too long"):
            await fetch(url, timeout_s=0.2)

    run(dripping(b"x"), scenario)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_server_below_the_least_pace_is_given_up_long_before_the_time_is_over(allowed, monkeypatch, head: bytes):
    monkeypatch.setattr(egress, "PACE_S", 0.2)

    async def scenario(server: Server, url: str) -> None:
        with pytest.raises(UrlUnreachable, match="less than 50 kB a second") as caught:
            await fetch(url, timeout_s=600)
        assert caught.value.param == "audioUrl"

    run(dripping(b"x", head), scenario)


def test_a_server_that_keeps_the_pace_may_take_longer(allowed, monkeypatch):
    monkeypatch.setattr(egress, "PACE_S", 0.2)
    monkeypatch.setattr(egress, "LEAST_BYTES_PER_S", 5_000)

    async def scenario(server: Server, url: str) -> None:
        with pytest.raises(UrlUnreachable, match="too long"):  # and not too slow
            await fetch(url, timeout_s=1)

    run(dripping(b"x" * 500), scenario)


def test_a_body_that_is_packed_is_not_unpacked(allowed):
    packed = gzip.compress(b"\0" * 10_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()

    async def scenario(server: Server, url: str) -> None:
        with pytest.raises(UrlUnreachable, match="packed"):
            await fetch(url)

    run(always(head + packed), scenario)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (b"HTTP/1.1 206 Part\r\nContent-Length: 0\r\n\r\n", "answered 206"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "broke off"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "no valid HTTP"),
    ],
)
def test_answers_that_are_none(allowed, answer: bytes, says: str):
    async def scenario(server: Server, url: str) -> None:
        with pytest.raises(UrlUnreachable, match=says):
            await fetch(url)

    run(always(answer, keep=False), scenario)


def test_what_the_server_calls_it(allowed):
    async def scenario(server: Server, url: str) -> None:
        fetched = await Egress(inside()).fetch(url, io.BytesIO(), most_bytes=MOST, timeout_s=5)
        assert (fetched.size, fetched.content_type) == (5, "audio/wav")

    run(always(TEXT), scenario)


# posting


def test_a_message_is_posted_and_a_redirect_not_followed(allowed):
    async def scenario(server: Server, url: str) -> None:
        answer = await Egress(inside()).post(url, {"X-A": "b"}, b"{}", timeout_s=5, keep_bytes=3)
        assert (answer.status, answer.body) == (302, b"")
        assert server.bodies == [b"{}"]
        assert b"X-A: b\r\n" in server.heads[0]
        assert server.connections == 1

    run(always(redirect("/elsewhere")), scenario)


@pytest.mark.parametrize("answer", [endless(b"HTTP/1.1 200 OK\r\n\r\n", b"hello"), always(OK[:-2], keep=False)])
def test_only_the_beginning_of_an_answer_is_kept(allowed, answer: Callable[[Server], Script]):
    async def scenario(server: Server, url: str) -> None:
        kept = await Egress(inside()).post(url, {}, b"{}", timeout_s=5, keep_bytes=3)
        assert (kept.status, kept.body) == (200, b"hel")

    run(answer, scenario)


def test_a_message_is_not_posted_inside():
    async def main() -> None:
        with pytest.raises(UrlRefused):
            await Egress(inside()).post(f"https://{HERE}/", {}, b"{}", timeout_s=5, keep_bytes=1)

    asyncio.run(main())
