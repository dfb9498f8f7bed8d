"""Where uploaded files are: on this machine's disk, or in a bucket of S3's kind where `VOICE_BUCKET` names one.

A bucket is what several machines need, which do not share a disk. Its addresses are signed for one object, media type
and size; what came is looked at before it is used. All of it blocks.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from django.conf import settings

from voice.models import Upload, UploadState
from voice.uploads import folder
from voice.uploads.target import Target, not_there
from voice.uploads.ticket import upload_url


class Store(Protocol):
    """Keeps the files of uploads; the rows are others' concern."""

    needs_size: bool
    address_outlives: bool  # the deletion of its upload

    def target(self, upload: Upload) -> Target:
        """Where the sender puts it."""

    def received_bytes(self, upload: Upload) -> int:
        """How much of it is there."""

    def demand_whole(self, upload: Upload) -> int:
        """Its size, once it is there as it was announced. Raises `BadRequest` while it is not."""

    def keep(self, upload: Upload, data: bytes) -> None:
        """Put it there ourselves."""

    def opened(self, upload: Upload) -> contextlib.AbstractContextManager[Path]:
        """The file as one of this machine's, which may be gone after the block."""

    def read(self, upload: Upload, start: int, most_bytes: int) -> bytes:
        """A piece of the file, and no more of it. Raises `BadRequest` where it is gone."""

    def delete(self, upload: Upload) -> None:
        """Nothing is left of it."""


class Disk:
    """`voice.uploads.folder`; our own server receives."""

    needs_size = False
    address_outlives = False

    def target(self, upload: Upload) -> Target:
        """An address of ours."""
        return Target(upload_url(upload.key), {"Content-Type": upload.content_type})

    def received_bytes(self, upload: Upload) -> int:
        """What the file has."""
        return folder.size_of(upload.key)

    def demand_whole(self, upload: Upload) -> int:
        """As the receiver noted it."""
        if upload.state != UploadState.RECEIVED or folder.size_of(upload.key) != upload.received_bytes:
            raise not_there(upload)
        return upload.received_bytes

    def keep(self, upload: Upload, data: bytes) -> None:
        """Raises `StorageFull`."""
        folder.demand_room(len(data))
        with folder.PartialFile(upload.key) as file:
            file.begin_again()
            file.append(data)
            file.sync()

    @contextlib.contextmanager
    def opened(self, upload: Upload) -> Iterator[Path]:
        """The file itself."""
        yield folder.path_of(upload.key)

    def read(self, upload: Upload, start: int, most_bytes: int) -> bytes:
        """From the file itself."""
        try:
            with folder.path_of(upload.key).open("rb") as file:
                file.seek(start)
                return file.read(most_bytes)
        except FileNotFoundError:
            raise not_there(upload) from None

    def delete(self, upload: Upload) -> None:
        """Remove the file."""
        folder.delete_file(upload.key)


def store() -> Store:
    """The one of this installation."""
    if not settings.VOICE_BUCKET:
        return Disk()
    from voice.uploads.bucket import S3, bucket_of_settings  # noqa: PLC0415 - 25 MB that a disk needs not

    return S3(bucket_of_settings())
