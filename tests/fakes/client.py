"""HTTP clients for tests: a plain one that returns everything, a raw socket that misbehaves on purpose."""

import http.client
import json
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

TIMEOUT_S = 30
CHAT = "/v1/chat/completions"
PROMPT = [{"role": "user", "content": "What is quantum computing?"}]


@dataclass(frozen=True)
class Answer:
    """A whole response; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def events(self) -> list[str]:
        """The data of each server-sent event, `[DONE]` too."""
        return list(events_in(self.body))

    @property
    def frames(self) -> list[Any]:
        """The JSON of each event but `[DONE]`."""
        return [json.loads(event) for event in self.events if event != "[DONE]"]

    @property
    def text(self) -> str:
        """What the model said, streamed or not, in its first choice."""
        if "text/event-stream" not in self.headers.get("content-type", ""):
            return str(self.json["choices"][0]["message"]["content"])
        choices = [choice for frame in self.frames for choice in frame["choices"] if choice["index"] == 0]
        return "".join(choice["delta"].get("content") or "" for choice in choices)


def events_in(body: bytes) -> Iterator[str]:
    """The data of each whole event in a stream of them; comments are left out."""
    for block in body.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n\n")[:-1]:
        lines = [line.removeprefix("data:").strip() for line in block.split("\n") if line.startswith("data:")]
        if lines:
            yield "\n".join(lines)


def call(
    url: str, path: str, key: str | None = None, body: Any = None, headers: dict[str, str] | None = None
) -> Answer:
    """One request on a connection of its own: GET without a body, POST with one (bytes go as they are)."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    parts = urlsplit(url)
    sent = {"Content-Type": "application/json"} if data is not None else {}
    if key:
        sent["Authorization"] = f"Bearer {key}"
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET" if data is None else "POST", path, data, {**sent, **(headers or {})})
        response = connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, received, response.read())
    finally:
        connection.close()


def chat(url: str, key: str | None, *, path: str = CHAT, **body: Any) -> Answer:
    """One chat completion; `messages` has a default."""
    return call(url, path, key, {"messages": PROMPT, **body})


class RawCall:
    """A chat completion on a bare socket, sent and received as slowly, partly or wrongly as a test wants.

    with RawCall(url, key, model="acme/one", stream=True) as raw:
        raw.send()
        raw.read_until(b"data:")
        raw.leave()
    """

    def __init__(self, url: str, key: str | None, *, path: str = CHAT, **body: Any) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=TIMEOUT_S)
        self.body = json.dumps({"messages": PROMPT, **body}).encode()
        lines = [f"POST {path} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
        lines += [f"Authorization: Bearer {key}"] if key else []
        self.head = "\r\n".join([*lines, f"Content-Length: {len(self.body)}", "", ""]).encode()
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes | None = None) -> Self:
        """Send these bytes; without any the whole request."""
        self._socket.sendall(self.head + self.body if data is None else data)
        return self

    def send_slowly(self, data: bytes, piece_bytes: int, pause_s: float) -> None:
        """Send in pieces with a pause after each."""
        for start in range(0, len(data), piece_bytes):
            self._socket.sendall(data[start : start + piece_bytes])
            threading.Event().wait(pause_s)

    def read_until(self, mark: bytes, times: int = 1) -> bytes:
        """Read until `mark` has come so often, or the server closed; returns everything received so far."""
        while self.received.count(mark) < times and (data := self._receive()):
            self.received += data
        return self.received

    def read_frames(self, count: int) -> bytes:
        """Read until `count` events have come."""
        return self.read_until(b"data:", count)

    def rest(self) -> bytes:
        """Read until the server closes or says that the body is whole; returns everything received."""
        return self.read_until(b"0\r\n\r\n")

    @property
    def status(self) -> int:
        """The status code; reads the head when it has not come yet."""
        head = self.read_until(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]) if head else 0

    @property
    def payload(self) -> bytes:
        """What has been received of the body, without the framing of chunks."""
        head, _, body = self.received.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" not in head.lower():
            return body
        parts = []
        while b"\r\n" in body:
            size, _, body = body.partition(b"\r\n")
            parts.append(body[: int(size, 16)])
            body = body[int(size, 16) + 2 :]
        return b"".join(parts)

    def leave(self, *, reset: bool = False) -> None:
        """Close the connection; with `reset` as a crashed client does, else properly."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65_536)
        except ConnectionResetError:
            return b""
