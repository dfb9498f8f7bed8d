"""Where uploaded files are: on this machine's disk, or in a bucket of S3's kind where `VOICE_BUCKET` names one.

A bucket is what several machines need, which do not share a disk. Its addresses are signed for one object, media type
and size; what came is looked at before it is used. All of it blocks.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from django.conf import settings

from komilion.common.clock import utc_now
from komilion.common.errors import BadRequest, PayloadTooLarge, StorageFull, Unavailable, UnsupportedMediaType
from komilion.common.http_client import HttpClient, HttpError
from voice.models import Upload, UploadState
from voice.uploads import folder
from voice.uploads.names import media_type
from voice.uploads.presign import Bucket, presign
from voice.uploads.ticket import upload_url

HEAD_LIMIT_BYTES = 16 * 2**10
ANSWER_LIMIT_BYTES = 64 * 2**10
BUCKET_TIMEOUT_S = 600
OURS_LIFETIME_S = 3_600  # of addresses that only we use


@dataclass(frozen=True, slots=True)
class Target:
    """Where a file is put, by PUT and with these headers."""

    url: str
    headers: Mapping[str, str]


class Store(Protocol):
    """Keeps the files of uploads; the rows are others' concern."""

    needs_size: bool

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

    def delete(self, upload: Upload) -> None:
        """Nothing is left of it."""


def not_there() -> BadRequest:
    """Nobody sent the file yet, or not all of it."""
    return BadRequest("The file of this audioKey was not uploaded (to its end) yet.", param="audioKey")


class Disk:
    """`voice.uploads.folder`; our own server receives."""

    needs_size = False

    def target(self, upload: Upload) -> Target:
        """An address of ours."""
        return Target(upload_url(upload.key), {"Content-Type": upload.content_type})

    def received_bytes(self, upload: Upload) -> int:
        """What the file has."""
        return folder.size_of(upload.key)

    def demand_whole(self, upload: Upload) -> int:
        """As the receiver noted it."""
        if upload.state != UploadState.RECEIVED or folder.size_of(upload.key) != upload.received_bytes:
            raise not_there()
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

    def delete(self, upload: Upload) -> None:
        """Remove the file."""
        folder.delete_file(upload.key)


class S3:
    """Objects `audio/ORGANIZATION/KEY` of a bucket."""

    needs_size = True

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def target(self, upload: Upload) -> Target:
        """Signed for the size and the media type of the ticket."""
        headers = {"Content-Type": upload.content_type, "Content-Length": str(upload.size_bytes)}
        return Target(self._signed("PUT", upload, headers, settings.VOICE_UPLOAD_URL_LIFETIME_S), headers)

    def received_bytes(self, upload: Upload) -> int:
        """The object's size."""
        status, headers = self._ask("HEAD", upload)
        return int(headers.get("content-length", "0")) if status == 200 else 0

    def demand_whole(self, upload: Upload) -> int:
        """The object is looked at: a service may take more than was signed. What is wrong with it is deleted."""
        status, headers = self._ask("HEAD", upload)
        if status != 200:
            raise not_there()
        size = int(headers.get("content-length", "0"))
        if size > settings.VOICE_UPLOAD_LIMIT_BYTES:
            self.delete(upload)
            raise PayloadTooLarge("The uploaded file is larger than an upload may be; it was deleted.")
        if media_type(headers.get("content-type", "")) != upload.content_type:
            self.delete(upload)
            raise UnsupportedMediaType("The uploaded file is not of the contentType of its ticket; it was deleted.")
        return size

    def keep(self, upload: Upload, data: bytes) -> None:
        """Raises `Unavailable`."""
        status, _ = self._ask("PUT", upload, data)
        if status not in {200, 201}:
            raise StorageFull

    @contextlib.contextmanager
    def opened(self, upload: Upload) -> Iterator[Path]:
        """A copy. Raises `BadRequest` where the object is gone."""
        with tempfile.NamedTemporaryFile(dir=folder.folder()) as copy:
            status, _ = self._ask("GET", upload, sink=copy)
            if status != 200:
                raise not_there()
            copy.flush()
            yield Path(copy.name)

    def delete(self, upload: Upload) -> None:
        """Remove the object; one that is not there is as good."""
        status, _ = self._ask("DELETE", upload)
        if status not in {200, 204, 404}:
            raise Unavailable("The store of uploads does not answer as it should.")

    def _signed(self, method: str, upload: Upload, headers: Mapping[str, str], lifetime_s: int) -> str:
        url = self._bucket.url_of(f"audio/{upload.organization_id}/{upload.key}")
        return presign(self._bucket, method, url, headers, lifetime_s=lifetime_s, now=utc_now())

    def _ask(
        self, method: str, upload: Upload, body: bytes = b"", sink: IO[bytes] | None = None
    ) -> tuple[int, dict[str, str]]:
        headers = {"Content-Type": upload.content_type} if method == "PUT" else {}
        url = self._signed(method, upload, headers, OURS_LIFETIME_S)
        try:
            return asyncio.run(_exchange(method, url, headers, body, sink))
        except (HttpError, TimeoutError) as error:
            raise Unavailable("The store of uploads does not answer.") from error


async def _exchange(
    method: str, url: str, headers: Mapping[str, str], body: bytes, sink: IO[bytes] | None
) -> tuple[int, dict[str, str]]:
    client = HttpClient(head_limit_bytes=HEAD_LIMIT_BYTES, connect_timeout_s=settings.CONNECT_TIMEOUT_S)
    try:
        async with asyncio.timeout(BUCKET_TIMEOUT_S):
            response = await client.request(method, url, headers, body)
            if sink is not None and response.status == 200:
                while piece := await response.read_some():
                    await asyncio.to_thread(sink.write, piece)
            elif method != "HEAD":
                await response.read(ANSWER_LIMIT_BYTES)
            response.close()
            return response.status, response.headers
    finally:
        await client.close()


def store() -> Store:
    """The one of this installation."""
    if not settings.VOICE_BUCKET:
        return Disk()
    return S3(
        Bucket(
            endpoint=settings.VOICE_BUCKET_ENDPOINT,
            name=settings.VOICE_BUCKET,
            region=settings.VOICE_BUCKET_REGION,
            key_id=settings.VOICE_BUCKET_KEY_ID,
            secret=settings.VOICE_BUCKET_SECRET,
        )
    )
