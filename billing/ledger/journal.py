"""Where settlements wait while the database is away: one append-only file per process, synced before anybody is told.

A line is `crc32 json`; a torn line (the process died while writing, the disk was full) was never acknowledged.
The owner holds a lock on its file for as long as it lives: whoever can lock a file has found an orphan to replay.
"""

import contextlib
import fcntl
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from billing.ledger.items import Settle, Void

log = logging.getLogger(__name__)

type Journaled = Settle | Void
UNWRITABLE = (ValueError, OverflowError, TypeError)  # what `encode` raises: lone surrogates, integers beyond 64 bits
_decoder = msgspec.json.Decoder(Settle | Void)
encode = msgspec.json.encode


class Journal:
    """The journal of one process; not safe for use by several threads at once."""

    def __init__(self, folder: Path, process_id: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / f"{process_id}.jsonl"
        self._file: IO[bytes] = self.path.open("a+b", buffering=0)  # a failed write must not come again later
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sync_folder(folder)
        self.waiting = len(self.read())

    def append(self, items: Sequence[Journaled]) -> None:
        """Durable when it returns. Raises `OSError` when the disk refuses; then nothing was added."""
        if items:
            _write(self._file, [line_of(item) for item in items])
            self.waiting += len(items)

    def read(self) -> list[Journaled]:
        """Everything that waits, oldest first."""
        return _read(self.path)[0]

    def set_aside(self, item: Journaled) -> None:
        """Keep an item that the database refuses, for the operator. Raises `OSError`."""
        set_aside(self.path, [line_of(item)])

    def clear(self) -> None:
        """Forget everything; what it held is in the database by now."""
        self._file.truncate(0)
        os.fsync(self._file.fileno())
        self.waiting = 0

    def close(self) -> None:
        """Give up the lock; an empty file is removed."""
        if not self.waiting:
            self.path.unlink(missing_ok=True)
        self._file.close()


def orphans(folder: Path) -> Iterator[tuple[Path, list[Journaled], list[bytes]]]:
    """Journals whose owner is gone, each locked while the caller replays it; the caller unlinks it afterwards.

    Each with its items and the lines that nobody can read.
    """
    for path in sorted(folder.glob("*.jsonl")):
        try:
            with path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield path, *_read(path)
        except BlockingIOError:
            continue  # its owner is alive and replays it itself
        except FileNotFoundError:
            continue  # another process was quicker


def waiting_request_ids(folder: Path) -> set[str]:
    """Requests that have a settlement waiting in any journal of this data folder."""
    found: set[str] = set()
    for path in folder.glob("*.jsonl"):
        try:
            found |= {item.request_id for item in _read(path)[0]}
        except FileNotFoundError:
            continue  # replayed and removed while we looked
    return found


def set_aside(path: Path, lines: Sequence[bytes]) -> None:
    """Append lines to the file beside the journal that waits for an operator (docs/runbook.md)."""
    with path.with_suffix(".refused").open("ab", buffering=0) as file:
        _write(file, lines)


def line_of(item: Journaled) -> bytes:
    """The item as a line of a journal."""
    body = encode(item)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _write(file: IO[bytes], lines: Sequence[bytes]) -> None:
    """All of it, synced, or nothing. The empty line before it ends what an earlier, failed write may have left."""
    length = os.fstat(file.fileno()).st_size
    rest = memoryview(b"\n" + b"".join(lines))
    try:
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(length)
        raise


def _read(path: Path) -> tuple[list[Journaled], list[bytes]]:
    """The items, oldest first, and the lines that cannot be read; what follows the last line end was torn off."""
    items: list[Journaled] = []
    unreadable: list[bytes] = []
    *lines, torn = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        checksum, _, body = line.partition(b" ")
        try:
            if line and int(checksum, 16) != zlib.crc32(body):
                raise ValueError("wrong checksum")
            if line:
                items.append(_decoder.decode(body))
        except ValueError as error:  # msgspec's own errors are ValueErrors
            log.error("journal line dropped", extra={"journal": path.name, "line": number, "error": str(error)})
            unreadable.append(line + b"\n")
    if torn:
        log.error("journal ends in a torn line", extra={"journal": path.name})
    return items, unreadable


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
