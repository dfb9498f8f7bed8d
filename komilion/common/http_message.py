"""The messages of HTTP/1.1 as the client needs them: where a request goes, its head, and where a body ends."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from aiohappyeyeballs import AddrInfoType

CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # what would split a header line


class Origin(NamedTuple):
    """Where connections go; those of one origin are interchangeable."""

    is_tls: bool
    host: str
    port: int


type AddrInfo = AddrInfoType  # an entry of `getaddrinfo`; the address itself is `[4][0]`
type Resolve = Callable[[Origin], Awaitable[Sequence[AddrInfo]]]


async def look_up(origin: Origin) -> Sequence[AddrInfo]:
    """Where an origin is, as the system's resolver says it. Raises `OSError`, `UnicodeError`."""
    return await asyncio.get_running_loop().getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)


@lru_cache(maxsize=1024)
def target_of(url: str) -> tuple[Origin, str]:
    """The origin and what follows the method in a request's head. Raises `ValueError`."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an http or https URL")
    is_tls = parts.scheme == "https"
    host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
    port = parts.port or (443 if is_tls else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError("the URL's path holds characters that have to be escaped")
    name = f"[{host}]" if ":" in host else host
    authority = name if port == (443 if is_tls else 80) else f"{name}:{port}"
    return Origin(is_tls, host, port), f"{path} HTTP/1.1\r\nHost: {authority}\r\n"


def head_of(method: str, start: str, headers: Mapping[str, str], body_bytes: int) -> bytes:
    """A request's head, of `target_of`'s second half and these headers. Raises `ValueError`."""
    if CONTROL.search("".join(headers.values())):
        raise ValueError("a header holds a control character")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"{method} {start}{lines}Content-Length: {body_bytes}\r\n\r\n".encode("latin-1")


def has_length(headers: Mapping[str, str]) -> bool:
    """Whether the body's end is marked; otherwise the connection's end is the body's."""
    return "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
