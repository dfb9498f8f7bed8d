"""Sending files to a live gateway, whole, in parts, and broken off."""

import http.client
import os
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.client import TIMEOUT_S, Answer, call
from tests.stand import Gateway, Tenant

UPLOAD = "/api/voice/upload"
WAV = "audio/wav"
HELLO = b"RIFF....WAVE hello"


def ticket(gateway: Gateway, tenant: Tenant, **body: Any) -> dict[str, Any]:
    """A new upload of this tenant; fails where it is refused."""
    answer = ask_ticket(gateway, tenant, **body)
    assert answer.status == 201, answer.body
    return answer.json


def ask_ticket(gateway: Gateway, tenant: Tenant, **body: Any) -> Answer:
    return call(gateway.url, UPLOAD, tenant.key, {"filename": "monday.wav", "contentType": WAV, **body})


def send(
    gateway: Gateway,
    where: dict[str, Any],
    body: bytes | Iterable[bytes] = b"",
    *,
    method: str = "PUT",
    content_type: str | None = WAV,
    **headers: str,
) -> Answer:
    """Send to a ticket's address; the body as one piece with its length, or chunked."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        sent["Content-Type"] = content_type
    return request(gateway, method, urlsplit(where["uploadUrl"]).path, body, sent)


def request(
    gateway: Gateway, method: str, path: str, body: bytes | Iterable[bytes] = b"", headers: dict[str, str] | None = None
) -> Answer:
    parts = urlsplit(gateway.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body, headers or {}, encode_chunked=not isinstance(body, bytes))
        response = connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, received, response.read())
    finally:
        connection.close()


def bearer(tenant: Tenant) -> dict[str, str]:
    """The tenant's key as a header."""
    return {"Authorization": f"Bearer {tenant.key}"}


class BrokenOff:
    """A PUT whose body begins and never ends; `hang_up` ends the connection."""

    def __init__(self, gateway: Gateway, where: dict[str, Any], total: int, begin: bytes) -> None:
        parts = urlsplit(gateway.url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=TIMEOUT_S)
        head = f"PUT {urlsplit(where['uploadUrl']).path} HTTP/1.1\r\nHost: x\r\nContent-Type: {WAV}\r\n"
        self._socket.sendall(f"{head}Content-Length: {total}\r\n\r\n".encode() + begin)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hang_up(self) -> None:
        self._socket.close()

    def read(self) -> bytes:
        """What the server answers."""
        return self._socket.recv(65_536)


def state_of(gateway: Gateway, tenant: Tenant, where: dict[str, Any]) -> Answer:
    return call(gateway.url, f"{UPLOAD}/{where['audioKey']}", tenant.key)


def files() -> set[str]:
    from voice.uploads.folder import folder

    return set(os.listdir(folder()))


def content(where: dict[str, Any]) -> bytes:
    from voice.uploads.folder import path_of

    return path_of(where["audioKey"]).read_bytes()


def size(where: dict[str, Any]) -> int:
    from voice.uploads.folder import size_of

    return size_of(where["audioKey"])


def not_conflicting(answer: Answer) -> Answer | None:
    """The answer, once no other request sends any more."""
    return None if answer.status == 409 else answer
