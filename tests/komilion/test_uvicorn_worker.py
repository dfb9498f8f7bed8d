"""Limits on the head of a request, and running calls at shutdown; a real socket, no supervisor."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from komilion import settings
from komilion.uvicorn_worker import LimitedHttpProtocol, PatientServer, listen
from tests.waiting import wait_until

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
LIMIT = 32 * 2**10


class Server:
    """A web process's server in a thread, around an application that reports how long the body was."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.cut = threading.Event()
        self._listener = listen("127.0.0.1", 0)
        self.port: int = self._listener.getsockname()[1]
        config = uvicorn.Config(
            self._application, http=LimitedHttpProtocol, interface="asgi3", lifespan="off", log_config=None
        )
        self._server = PatientServer(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))
        self._thread.start()
        wait_until(lambda: self._server.started)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        size = 0
        if scope["path"] == "/at-once":
            size = len((await receive())["body"])
        while scope["path"] != "/at-once" and (message := await receive())["type"] == "http.request":
            size += len(message["body"])
            if not message["more_body"]:
                break
        if scope["path"] == "/for-ever":
            self.entered.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0)  # a settlement needs the loop once more
                self.cut.set()
        body = str(size).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(settings, "HEADER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(settings, "SHUTDOWN_GRACE_S", 0.3)
    server = Server()
    yield server
    server.stop()


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    data = b""
    while piece := connection.recv(65_536):
        data += piece
    return data


@pytest.mark.parametrize("rest", [b"", b"1\r\na\r\n"], ids=["nothing", "more"])
def test_who_never_ends_a_body_that_was_answered_is_hung_up_on(
    server: Server, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    monkeypatch.setattr("komilion.uvicorn_worker.REST_OF_BODY_S", 0.2)
    with server.connect() as connection:
        connection.sendall(b"POST /at-once HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        data = connection.recv(65_536)
        connection.sendall(rest)
        assert (data + read_all(connection)).startswith(b"HTTP/1.1 200 OK")


def test_a_body_that_ends_after_its_answer_keeps_the_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("komilion.uvicorn_worker.REST_OF_BODY_S", 0.2)
    with server.connect() as connection:
        connection.sendall(b"POST /at-once HTTP/1.1\r\nContent-Length: 4\r\n\r\nab")
        assert connection.recv(65_536).endswith(b"\r\n\r\n2")
        connection.sendall(b"cd")
        threading.Event().wait(0.3)
        connection.sendall(HEAD + b"Connection: close\r\n\r\n")
        assert read_all(connection).endswith(b"\r\n\r\n0")


def test_a_head_of_the_allowed_size_is_served_and_the_connection_kept(server: Server) -> None:
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(HEAD + b"X: " + b"a" * (LIMIT - 100) + b"\r\n\r\n")
            assert connection.recv(1_000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("cut", [0, 100, 20_000, LIMIT + 50])
def test_a_head_above_the_limit_is_431_however_it_arrives(server: Server, cut: int) -> None:
    request = HEAD + b"X: " + b"a" * LIMIT + b"\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(request[:cut])
        connection.sendall(request[cut:])
        assert read_all(connection).startswith(b"HTTP/1.1 431")


def test_a_large_body_does_not_count_as_head(server: Server) -> None:
    size = 10 * LIMIT
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size)
            assert connection.recv(1_000).endswith(str(size).encode())


def test_a_head_that_takes_too_long_is_408(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(HEAD)
        assert read_all(connection).startswith(b"HTTP/1.1 408")


def test_a_slow_head_on_a_kept_connection_is_408_too(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(HEAD + b"\r\n")
        assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
        connection.sendall(HEAD)
        assert read_all(connection).startswith(b"HTTP/1.1 408")


def test_a_connection_that_says_nothing_is_closed_without_a_word(server: Server) -> None:
    with server.connect() as connection:
        assert read_all(connection) == b""


def test_a_slow_pipelined_request_does_not_cut_the_one_before_it(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        connection.sendall(b"a" + HEAD)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 200")


def test_garbage_is_400(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"\x00\x01 nonsense\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400")


def test_a_call_that_outlives_the_grace_is_cut_and_may_still_settle(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /for-ever HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.entered.wait(10)
        server.stop()
        assert server.cut.is_set()
