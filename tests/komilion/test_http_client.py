"""The HTTP client: what it sends and hands out, and which connections it keeps."""

import asyncio

import pytest

from komilion.common import http_client
from komilion.common.http_client import HttpClient
from komilion.common.http_errors import Disconnected
from tests.async_waiting import eventually
from tests.komilion.http_server import CHUNKED, OK, TO_THE_END, Script, Server, always, endless, fetch, run

# answers


@pytest.mark.parametrize("answer", [OK, CHUNKED, TO_THE_END], ids=["length", "chunked", "to the end"])
def test_an_answer_may_be_cut_anywhere(answer: bytes):
    async def scenario(client: HttpClient, server: Server) -> None:
        assert await fetch(client, server) == b"hello"

    for cut in range(1, len(answer)):
        run(always(answer[:cut], answer[cut:], keep=answer != TO_THE_END), scenario)
    run(always(*(bytes([byte]) for byte in answer), keep=answer != TO_THE_END), scenario)


def test_what_is_sent():
    async def scenario(client: HttpClient, server: Server) -> None:
        await fetch(client, server, b"x" * 300_000)
        host = server.url.removeprefix("http://").removesuffix("/v1/chat").encode()
        assert server.heads == [
            b"POST /v1/chat HTTP/1.1\r\nHost: " + host + b"\r\nX-A: b\r\nContent-Length: 300000\r\n\r\n"
        ]
        assert server.bodies == [b"x" * 300_000]

    run(always(OK), scenario)


@pytest.mark.parametrize("size", [10, 300_000])
def test_a_body_may_be_sent_in_pieces(size: int):
    pieces = (b"head ", b"x" * size, b" tail")

    async def scenario(client: HttpClient, server: Server) -> None:
        response = await client.request("POST", server.url, {}, pieces)
        assert await response.read(100) == b"hello"
        assert server.bodies == [b"".join(pieces)]
        assert f"Content-Length: {size + 10}".encode() in server.heads[0]

    run(always(OK), scenario)


def test_names_are_in_lower_case_and_repeated_headers_are_joined():
    async def scenario(client: HttpClient, server: Server) -> None:
        response = await client.request("GET", server.url, {})
        assert response.headers == {"content-length": "0", "x-a": "1, 2"}
        assert await response.read_some() == b""

    run(always(b"HTTP/1.1 503 Busy\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"), scenario)


def test_interim_answers_are_passed_over():
    async def scenario(client: HttpClient, server: Server) -> None:
        assert await fetch(client, server) == b"hello"
        assert await fetch(client, server) == b"hello"
        assert server.connections == 1

    run(always(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-A: 1\r\n\r\n" + OK), scenario)


def test_a_reader_that_is_slow_is_not_flooded():
    size = 16 * 2**20
    sent = 0

    def script(server: Server) -> Script:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await server.request(reader)
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            while sent < size:
                writer.write(b"x" * 2**16)
                await writer.drain()
                sent += 2**16

        return serve

    async def scenario(client: HttpClient, server: Server) -> None:
        response = await client.request("GET", server.url, {})
        await eventually(lambda: response._connection._is_paused)
        assert sent < size
        assert len(await response.read(size)) == size

    run(script, scenario)


# kept connections


def test_a_connection_is_used_again():
    async def scenario(client: HttpClient, server: Server) -> None:
        for _ in range(5):
            assert await fetch(client, server) == b"hello"
        assert server.connections == 1
        await asyncio.gather(*(fetch(client, server) for _ in range(3)))
        assert server.connections == 3

    run(always(CHUNKED), scenario)


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        OK + b"x",
        OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        OK.replace(b"1.1", b"1.0"),
    ],
    ids=["a second answer", "a byte too many", "close", "HTTP/1.0"],
)
def test_a_connection_that_cannot_be_trusted_or_used_again_is_closed(answer: bytes):
    async def scenario(client: HttpClient, server: Server) -> None:
        assert await fetch(client, server) == b"hello"
        assert await fetch(client, server) == b"hello"
        assert server.connections == 2

    run(always(answer), scenario)


def test_bytes_that_come_while_nothing_was_asked_end_the_connection():
    go = asyncio.Event()

    def script(server: Server) -> Script:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            writer.write(OK)
            if server.connections == 1:
                await go.wait()
                writer.write(OK.replace(b"hello", b"wrong"))
            await server.request(reader)
            writer.write(OK)

        return serve

    async def scenario(client: HttpClient, server: Server) -> None:
        assert await fetch(client, server) == b"hello"
        go.set()
        await eventually(lambda: server.ended == 1)
        assert await fetch(client, server) == b"hello"
        assert server.connections == 2

    run(script, scenario)


def test_a_connection_that_the_server_closed_is_not_used_again():
    async def scenario(client: HttpClient, server: Server) -> None:
        for number in range(1, 4):
            assert await fetch(client, server) == b"hello"
            await eventually(lambda n=number: server.ended == n)
        assert server.connections == 3

    run(always(OK, keep=False), scenario)


def test_connections_that_idled_for_too_long_are_closed(monkeypatch):
    async def scenario(client: HttpClient, server: Server) -> None:
        await asyncio.gather(*(fetch(client, server) for _ in range(3)))
        monkeypatch.setattr(http_client, "KEEP_ALIVE_S", 0.0)
        await fetch(client, server)
        assert server.connections == 4
        await eventually(lambda: server.ended >= 3)
        monkeypatch.setattr(http_client, "KEEP_ALIVE_S", 60.0)
        await asyncio.gather(*(fetch(client, server) for _ in range(2)))

    run(always(OK), scenario)


def test_an_old_connection_goes_when_a_newer_one_is_kept(monkeypatch):
    go = asyncio.Event()

    def script(server: Server) -> Script:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await server.request(reader)
                if len(server.heads) > 2:
                    await go.wait()
                writer.write(OK)

        return serve

    async def scenario(client: HttpClient, server: Server) -> None:
        await asyncio.gather(fetch(client, server), fetch(client, server))
        third = asyncio.create_task(fetch(client, server))
        await eventually(lambda: len(server.heads) == 3)
        monkeypatch.setattr(http_client, "KEEP_ALIVE_S", 0.0)
        go.set()
        assert await third == b"hello"
        await eventually(lambda: server.ended == 1)

    run(script, scenario)


def test_a_connection_that_was_lost_between_two_calls_is_no_answer():
    async def scenario(client: HttpClient, server: Server) -> None:
        await fetch(client, server)
        (connection,) = client._open
        connection.abort()  # in this very turn of the loop: nobody has noticed yet
        with pytest.raises(Disconnected):
            await fetch(client, server)

    run(always(OK), scenario)


def test_what_is_released_early_is_read_to_its_end_and_the_connection_serves_again():
    more = asyncio.Event()

    def script(server: Server) -> Script:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await server.request(reader)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
                await more.wait()
                writer.write(b"world")

        return serve

    async def scenario(client: HttpClient, server: Server) -> None:
        response = await client.request("GET", server.url, {})
        assert await response.read_some() == b"hello"
        response.release()
        more.set()
        await eventually(lambda: bool(client._idle and next(iter(client._idle.values()))))
        assert await fetch(client, server) == b"helloworld"
        assert server.connections == 1

    run(script, scenario)


def test_what_is_released_and_does_not_end_is_closed(monkeypatch):
    monkeypatch.setattr(http_client, "RELEASED_FOR_S", 0.01)

    async def scenario(client: HttpClient, server: Server) -> None:
        response = await client.request("GET", server.url, {})
        response.release()
        await eventually(lambda: server.ended == 1)

    run(endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"x" * 1_000), scenario)


def test_closing_ends_the_connection_and_may_be_repeated():
    async def scenario(client: HttpClient, server: Server) -> None:
        response = await client.request("GET", server.url, {})
        response.close()
        response.close()
        await eventually(lambda: server.ended == 1)

    run(endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"x" * 1_000), scenario)


def test_who_is_cancelled_while_waiting_ends_the_call():
    def script(server: Server) -> Script:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.request(reader)
            await reader.read()

        return serve

    async def scenario(client: HttpClient, server: Server) -> None:
        call = asyncio.create_task(fetch(client, server))
        await eventually(lambda: len(server.heads) == 1)
        call.cancel()
        await eventually(lambda: server.ended == 1)
        assert call.cancelled()

    run(script, scenario)
