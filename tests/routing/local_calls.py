"""Calls of a part of the local model server without a socket: a request in, the messages of its answer out."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from routing.local_models.wire import RequestError

BOUNDARY = "c2f1"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}".encode()


def form(fields: list[tuple[str, str]], audio: bytes | None = b"RIFF", name: str = "file") -> bytes:
    """A multipart form as clients send it."""
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    body = "".join(f'{head}"{key}"\r\n\r\n{value}\r\n' for key, value in fields).encode()
    if audio is not None:
        body += f'{head}"{name}"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'.encode() + audio + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


class Call:
    """One request whose client stays until it is told to leave."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._left = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        self.began = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if self._body is None:
            await self._left.wait()
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self.began.set()

    def leave(self) -> None:
        self._left.set()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def content_type(self) -> bytes:
        return bytes(dict(self.sent[0]["headers"])[b"content-type"])

    @property
    def answer(self) -> bytes:
        assert not self.sent[-1]["more_body"], "the answer has no end"
        return b"".join(message["body"] for message in self.sent[1:])


async def refused(work: Callable[[], Awaitable[None]]) -> RequestError:
    """The error that a call ends with."""
    try:
        await work()
    except RequestError as error:
        return error
    raise AssertionError("the call was served")
