"""Uploaded files on this machine's disk: `DATA_DIR/uploads`, one file by key, nobody else's to read.

No path is made of anything but a key that the database holds. Everything here blocks; callers in an event loop use a
thread.
"""

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from django.conf import settings

from komilion.common.errors import Conflict, StorageFull
from voice.uploads.names import KEY

log = logging.getLogger(__name__)

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
STRAY_AFTER_S = 3_600
SCRAP_AFTER_S = 86_400
SCRAPS = "tmp"  # what names begin with that `tempfile` gives


def folder() -> Path:
    """The folder, made where it is missing."""
    path: Path = settings.DATA_DIR / "uploads"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def path_of(key: str) -> Path:
    """Where the file of this key is, or would be."""
    assert KEY.fullmatch(key), "only keys that we made become paths"
    return folder() / key


def demand_room(want_bytes: int) -> None:
    """Raise `StorageFull` where so much more would leave less than `VOICE_DISK_RESERVE_BYTES`."""
    if shutil.disk_usage(folder()).free - want_bytes < settings.VOICE_DISK_RESERVE_BYTES:
        log.error("no room for an upload", extra={"alarm": "upload_disk_full", "bytes": want_bytes})
        raise StorageFull


class PartialFile:
    """A file that is being received, by one request at a time."""

    def __init__(self, key: str) -> None:
        """Raises `Conflict` while another request writes it."""
        self._path = path_of(key)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            message = "Another request is sending this upload; wait for its end."
            raise Conflict(message, headers={"Retry-After": "1"}) from None
        found = os.fstat(self._file)
        if not found.st_nlink:  # who had it before gave it up between our two calls
            os.close(self._file)
            raise Conflict("This upload begins anew; send it again.", headers={"Retry-After": "1"})
        self.size = found.st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)  # and with it the lock

    def begin_again(self) -> None:
        """Forget what is there."""
        os.ftruncate(self._file, 0)
        self.size = 0

    def append(self, data: bytes) -> None:
        """Write behind what is there. Raises `StorageFull`, and then the file is gone.

        Also where it would eat up the reserve: what was free when the upload began may have gone to others meanwhile.
        """
        try:
            demand_room(len(data))
        except StorageFull:
            self.delete()
            raise
        try:
            while data:
                written = os.pwrite(self._file, data, self.size)
                self.size += written
                data = data[written:]
        except OSError as error:
            self._give_up(error)

    def sync(self) -> None:
        """Have everything on the disk itself. Raises `StorageFull`, and then the file is gone."""
        try:
            os.fsync(self._file)
        except OSError as error:
            self._give_up(error)

    def delete(self) -> None:
        """Nothing is left of it."""
        self._path.unlink(missing_ok=True)
        self.size = 0

    def _give_up(self, error: OSError) -> None:
        self.delete()
        if error.errno not in FULL:
            raise error
        log.error("disk full within an upload", extra={"alarm": "upload_disk_full"})
        raise StorageFull from error


def size_of(key: str) -> int:
    """How many bytes are there."""
    with contextlib.suppress(FileNotFoundError):
        return path_of(key).stat().st_size
    return 0


def delete_file(key: str) -> None:
    """Remove it where it is."""
    path_of(key).unlink(missing_ok=True)


def delete_scraps() -> None:
    """Files that a worker worked on when it was killed."""
    before_s = time.time() - SCRAP_AFTER_S
    for entry in os.scandir(folder()):
        if entry.name.startswith(SCRAPS) and entry.stat().st_mtime < before_s:
            Path(entry.path).unlink(missing_ok=True)


def old_keys() -> Iterator[str]:
    """Keys of the files that nothing was written to for `STRAY_AFTER_S`."""
    before_s = time.time() - STRAY_AFTER_S
    for entry in os.scandir(folder()):
        if KEY.fullmatch(entry.name) and entry.stat().st_mtime < before_s:
            yield entry.name
