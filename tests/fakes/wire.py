"""Just enough HTTP/1.1 for the scripted upstream: requests out of a buffer, heads and chunks as bytes."""

from dataclasses import dataclass
from http import HTTPStatus

HEAD_LIMIT_BYTES = 256 * 2**10


class BadRequest(Exception):
    """What arrived is no request this server understands."""


@dataclass(frozen=True)
class Request:
    """One request, whole; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def take_request(buffer: bytearray) -> Request | None:
    """Remove the first whole request from the buffer; None while there is not enough of it."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > HEAD_LIMIT_BYTES:
            raise BadRequest("endless head")
        return None
    first, *lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    try:
        method, path, _version = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, value in (ln.split(":", 1) for ln in lines)}
    except ValueError as error:
        raise BadRequest(f"not HTTP: {first[:100]!r}") from error
    if headers.get("transfer-encoding", "").lower() == "chunked":
        taken = _take_chunks(buffer, end + 4)
        if taken is None:
            return None
        body, used = taken
    else:
        used = end + 4 + int(headers.get("content-length", 0))
        if len(buffer) < used:
            return None
        body = bytes(buffer[end + 4 : used])
    del buffer[:used]
    return Request(method, path, headers, body)


def _take_chunks(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    """The body in chunks from `start`, and where it ends; None while it is not whole. No trailers."""
    parts = []
    while (line_end := buffer.find(b"\r\n", start)) >= 0:
        size = int(bytes(buffer[start:line_end]).split(b";")[0], 16)
        end = line_end + 2 + size
        if len(buffer) < end + 2:
            return None
        parts.append(bytes(buffer[line_end + 2 : end]))
        start = end + 2
        if size == 0:
            return b"".join(parts), start
    return None


def head(status: int, headers: dict[str, str]) -> bytes:
    """Status line and headers, exactly as given."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; of nothing: the last one."""
    return b"%x\r\n%s\r\n" % (len(data), data)
