"""`PUT /api/voice/audio/TICKET`: a file comes in, from the socket to the disk and never whole in memory.

`Content-Range: bytes A-B/TOTAL` sends a part, as other resumable uploads have it: 308 with `Range: bytes=0-N` says what
is there, 200 that all is. A request that breaks off keeps what came; `HEAD`, or a PUT with `Content-Range: bytes
*/TOTAL` and no body, asks where to go on. The ticket is the right to send; no key is asked for. Size, pace, media type
and room are checked while it comes.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from komilion.common.clock import monotonic_s
from komilion.common.errors import (
    BadRequest,
    KomilionError,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    StorageFull,
    UnsupportedMediaType,
)
from routing.gateway.exchange import ClientGone, Exchange
from routing.gateway.services import Services
from voice.actions.uploads import (
    demand_size,
    do_complete_upload,
    do_forget_upload,
    do_note_progress,
    do_release_room,
    do_reserve,
)
from voice.models import Upload, UploadState
from voice.queries import upload_of_ticket
from voice.threads import in_thread
from voice.uploads.folder import PartialFile, demand_room, size_of
from voice.uploads.names import media_type
from voice.uploads.ticket import read_ticket

RANGE = re.compile(r"bytes (?:(\d{1,15})-(\d{1,15})|\*)/(\d{1,15})")
WRITE_AT_BYTES = 2**20  # a thread is woken once for so much


@dataclass(frozen=True, slots=True)
class Part:
    """What a request brings: from `start` on, `size` bytes (None: to its end) of `total` (None: of what it has)."""

    start: int
    size: int | None
    total: int | None
    is_question: bool = False  # brings nothing, asks what is there

    @property
    def room(self) -> int:
        """What is reserved for the whole file."""
        known = self.total if self.total is not None else self.size
        return settings.VOICE_UPLOAD_LIMIT_BYTES if known is None else known


async def serve_head(exchange: Exchange, services: Services) -> None:
    """How much is there."""
    upload = await in_thread(upload_of_ticket, read_ticket(exchange.path))
    size = await in_thread(size_of, upload.key)
    whole = upload.state == UploadState.RECEIVED
    await exchange.start(
        200, [(b"content-length", b"0"), *_where(size), (b"upload-complete", b"?1" if whole else b"?0")]
    )
    await exchange.write(b"", last=True)


async def serve_put(exchange: Exchange, services: Services) -> None:
    """Take in a file or a part of one."""
    key = read_ticket(exchange.path)
    upload = await in_thread(upload_of_ticket, key)
    if media_type(exchange.header(b"content-type")) != upload.content_type:
        raise UnsupportedMediaType(f"The Content-Type must be that of the ticket: {upload.content_type}.")
    part = _part_of(exchange)
    if part.is_question:
        await _say(exchange, upload, await in_thread(size_of, key))
        return
    with await in_thread(PartialFile, key) as file:
        await in_thread(_make_room, key, part, file)
        if part.total is None:
            await in_thread(file.begin_again)
        if part.start == file.size:
            await _take(exchange, key, part, file)
            upload = await in_thread(_finish, upload, part, file)
        size = file.size
    await _say(exchange, upload, size)


def _make_room(key: str, part: Part, file: PartialFile) -> None:
    """In the organization's share, and on the disk; for an upload that is not whole, as is certain with `file` locked.

    What is too large for any upload is gone with its ticket; what is only too much for now may come once there is room.
    """
    try:
        demand_size(part.room)
    except PayloadTooLarge:
        file.delete()
        do_forget_upload(key)
        raise
    try:
        do_reserve(key, part.room)
        demand_room(part.room - part.start)
    except NotFound:
        file.delete()
        raise
    except StorageFull:
        do_release_room(key)
        raise


def _finish(upload: Upload, part: Part, file: PartialFile) -> Upload:
    """The upload as it is after this part."""
    if part.total is not None and file.size < part.total:
        do_note_progress(upload.key, file.size)
        return upload
    file.sync()
    return do_complete_upload(upload.key, file.size)


def _part_of(exchange: Exchange) -> Part:
    declared = exchange.header(b"content-length")
    length = int(declared) if re.fullmatch(r"\d{1,15}", declared) else None
    text = exchange.header(b"content-range")
    if not text:
        return Part(0, length, None)
    found = RANGE.fullmatch(text)
    if found is None:
        raise BadRequest("Content-Range must be `bytes FIRST-LAST/TOTAL` or `bytes */TOTAL`.")
    total = int(found[3])
    if found[1] is None:
        return Part(0, 0, total, is_question=True)
    start, size = int(found[1]), int(found[2]) + 1 - int(found[1])
    if size < 1 or start + size > total:
        raise BadRequest(f"Content-Range is no part of a file of {total} bytes: {text}.")
    if length is not None and length != size:
        raise BadRequest(f"Content-Range names {size} bytes, and the body has {length}.")
    return Part(start, size, total)


async def _take(exchange: Exchange, key: str, part: Part, file: PartialFile) -> None:
    """The body into the file. What ends it early leaves what came, but nothing of what is too large or has no room."""
    try:
        await _receive(exchange, part, file)
    except PayloadTooLarge:
        await in_thread(file.delete)
        await in_thread(do_forget_upload, key)
        raise
    except StorageFull:
        await in_thread(do_release_room, key)
        raise
    except (ClientGone, KomilionError, asyncio.CancelledError):
        await asyncio.shield(in_thread(do_note_progress, key, file.size))
        raise


async def _receive(exchange: Exchange, part: Part, file: PartialFile) -> None:
    started_s = monotonic_s()
    most = settings.VOICE_UPLOAD_LIMIT_BYTES if part.size is None else part.size
    pieces, waiting, size = list[bytes](), 0, 0
    is_last = False
    try:
        while not is_last:
            message = await _next(exchange, started_s, size)
            piece = message.get("body", b"")
            size += len(piece)
            if size > most:
                raise PayloadTooLarge(f"An upload may have {most:,} bytes here; this one has more.")
            pieces.append(piece)
            waiting += len(piece)
            is_last = not message.get("more_body")
            if waiting >= WRITE_AT_BYTES:
                await in_thread(file.append, b"".join(pieces))
                pieces, waiting = [], 0
    finally:
        if waiting:
            await asyncio.shield(in_thread(file.append, b"".join(pieces)))


async def _next(exchange: Exchange, started_s: float, size: int) -> Any:
    """The next piece, at no less than the least pace."""
    due_s = started_s + settings.VOICE_UPLOAD_STALL_S + size / settings.VOICE_UPLOAD_MINIMUM_BYTES_PER_S
    left_s = min(due_s - monotonic_s(), settings.VOICE_UPLOAD_STALL_S)
    try:
        async with asyncio.timeout(left_s):
            message = await exchange.receive()
    except TimeoutError:
        raise RequestTimeout("The file came too slowly; what came is kept, go on from there.") from None
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


async def _say(exchange: Exchange, upload: Upload, size: int) -> None:
    """200 for a whole file, else 308 with what is there."""
    if upload.state == UploadState.RECEIVED:
        await exchange.respond_json({"audioKey": upload.key, "bytes": size, "complete": True})
    else:
        await exchange.respond_json({"audioKey": upload.key, "bytes": size, "complete": False}, 308, _where(size))


def _where(size: int) -> list[tuple[bytes, bytes]]:
    """`Range` is left out where nothing is there, as it has no way to say so."""
    lines = [(b"upload-offset", b"%d" % size)]
    return [*lines, (b"range", b"bytes=0-%d" % (size - 1))] if size else lines
