"""Where settlements wait while the database is away: one append-only file per process, synced before anybody is told.

A line is `crc32 json`; a torn last line (the process died while writing) was never acknowledged and is dropped.
The owner holds a lock on its file for as long as it lives: whoever can lock a file has found an orphan to replay.
"""

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
_decoder = msgspec.json.Decoder(Settle | Void)


class Journal:
    """The journal of one process; not safe for use by several threads at once."""

    def __init__(self, folder: Path, process_id: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = folder / f"{process_id}.jsonl"
        self._file: IO[bytes] = self.path.open("a+b")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sync_folder(folder)
        self.waiting = len(self.read())

    def append(self, items: Sequence[Journaled]) -> None:
        """Durable when it returns. Raises `OSError` when the disk refuses."""
        self._file.write(b"".join(map(_line, items)))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.waiting += len(items)

    def read(self) -> list[Journaled]:
        """Everything that waits, oldest first."""
        return list(_items(self.path))

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


def orphans(folder: Path) -> Iterator[tuple[Path, list[Journaled]]]:
    """Journals whose owner is gone, each locked while the caller replays it; the caller unlinks it afterwards."""
    for path in sorted(folder.glob("*.jsonl")):
        try:
            with path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield path, list(_items(path))
        except BlockingIOError:
            continue  # its owner is alive and replays it itself
        except FileNotFoundError:
            continue  # another process was quicker


def waiting_request_ids(folder: Path) -> set[str]:
    """Requests that have a settlement waiting in any journal of this data folder."""
    found: set[str] = set()
    for path in folder.glob("*.jsonl"):
        try:
            found |= {item.request_id for item in _items(path)}
        except FileNotFoundError:
            continue  # replayed and removed while we looked
    return found


def _line(item: Journaled) -> bytes:
    body = msgspec.json.encode(item)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _items(path: Path) -> Iterator[Journaled]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        checksum, _, body = line.partition(b" ")
        try:
            is_whole = int(checksum, 16) == zlib.crc32(body)
        except ValueError:
            is_whole = False
        if not is_whole:
            log.error("journal line dropped", extra={"journal": path.name, "line": number})
            continue
        yield _decoder.decode(body)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
