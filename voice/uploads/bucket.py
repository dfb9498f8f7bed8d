"""Uploads in a bucket of S3's kind, by boto3: objects `audio/ORGANIZATION/KEY`. All of it blocks.

boto3 costs 25 MB, so only `store` imports this, where a bucket is set.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from komilion.common.errors import BadRequest, PayloadTooLarge, StorageFull, Unavailable, UnsupportedMediaType
from voice.models import Upload
from voice.uploads import folder
from voice.uploads.names import media_type
from voice.uploads.target import Target, not_there

log = logging.getLogger(__name__)

TIMEOUT_S = 60  # of silence
TRIES = 2
NOTHING_THERE = (404, 416)  # 416: it is shorter than what is read of it
NO_ROOM = 507


class Missing(Exception):
    """The bucket has no such object."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where objects are, and who may sign for them. `endpoint` is the service's URL, without the bucket."""

    endpoint: str
    name: str
    region: str
    key_id: str
    secret: str


def bucket_of_settings() -> Bucket:
    """The one of this installation."""
    return Bucket(
        endpoint=settings.VOICE_BUCKET_ENDPOINT,
        name=settings.VOICE_BUCKET,
        region=settings.VOICE_BUCKET_REGION,
        key_id=settings.VOICE_BUCKET_KEY_ID,
        secret=settings.VOICE_BUCKET_SECRET,
    )


@lru_cache(maxsize=4)
def _client(bucket: Bucket) -> Any:
    """Signature Version 4, the bucket in the path, and no checksums that not every service knows."""
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        connect_timeout=settings.CONNECT_TIMEOUT_S,
        read_timeout=TIMEOUT_S,
        retries={"total_max_attempts": TRIES},
        proxies={},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=bucket.region,
        aws_access_key_id=bucket.key_id,
        aws_secret_access_key=bucket.secret,
        config=config,
    )


class S3:
    """`voice.uploads.store.Store`; senders put their files there themselves, at signed addresses."""

    needs_size = True
    address_outlives = True

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._client = _client(bucket)

    def target(self, upload: Upload) -> Target:
        """Signed for the size and the media type of the ticket."""
        signed = {**self._place(upload), "ContentType": upload.content_type, "ContentLength": upload.size_bytes}
        lifetime_s = settings.VOICE_UPLOAD_URL_LIFETIME_S
        url = self._client.generate_presigned_url("put_object", Params=signed, ExpiresIn=lifetime_s)
        return Target(url, {"Content-Type": upload.content_type, "Content-Length": str(upload.size_bytes)})

    def received_bytes(self, upload: Upload) -> int:
        """The object's size."""
        found = self._head(upload)
        return 0 if found is None else int(found["ContentLength"])

    def demand_whole(self, upload: Upload) -> int:
        """The object is looked at: a service may take more than was signed. What is wrong with it is deleted."""
        found = self._head(upload)
        if found is None:
            raise not_there(upload)
        size = int(found["ContentLength"])
        if size > settings.VOICE_UPLOAD_LIMIT_BYTES:
            self.delete(upload)
            raise PayloadTooLarge("The uploaded file is larger than an upload may be; it was deleted.")
        if size != upload.size_bytes:
            self.delete(upload)
            message = f"The uploaded file has {size:,} bytes and its ticket {upload.size_bytes or 0:,}; it was deleted."
            raise BadRequest(message, param="audioKey")
        if media_type(found.get("ContentType", "")) != upload.content_type:
            self.delete(upload)
            raise UnsupportedMediaType("The uploaded file is not of the contentType of its ticket; it was deleted.")
        return size

    def keep(self, upload: Upload, data: bytes) -> None:
        """Raises `StorageFull` where the service has no room, `Unavailable` where it is away or refuses us."""
        with _answering():
            self._client.put_object(**self._place(upload), Body=data, ContentType=upload.content_type)

    @contextlib.contextmanager
    def opened(self, upload: Upload) -> Iterator[Path]:
        """A copy. Raises `BadRequest` where the object is gone."""
        with tempfile.NamedTemporaryFile(dir=folder.folder()) as copy:
            try:
                with _answering():
                    self._client.download_fileobj(*self._place(upload).values(), copy)
            except Missing as error:
                raise not_there(upload) from error
            copy.flush()
            yield Path(copy.name)

    def read(self, upload: Upload, start: int, most_bytes: int) -> bytes:
        """A ranged GET; a service that knows none is not read to its end for a piece."""
        wanted = f"bytes={start}-{start + most_bytes - 1}"
        try:
            with _answering():
                found = self._client.get_object(**self._place(upload), Range=wanted)
                with contextlib.closing(found["Body"]) as body:
                    if "ContentRange" not in found:
                        raise Unavailable("The store of uploads gives no pieces.")
                    data: bytes = body.read(most_bytes)
                    return data
        except Missing as error:
            raise not_there(upload) from error

    def delete(self, upload: Upload) -> None:
        """Remove the object; one that is not there is as good."""
        with contextlib.suppress(Missing), _answering():
            self._client.delete_object(**self._place(upload))

    def _head(self, upload: Upload) -> dict[str, Any] | None:
        try:
            with _answering():
                found: dict[str, Any] = self._client.head_object(**self._place(upload))
        except Missing:
            return None
        return found

    def _place(self, upload: Upload) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": f"audio/{upload.organization_id}/{upload.key}"}


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Raises `Missing`, `StorageFull`, and `Unavailable` where the service cannot be reached or refuses us.

    The last is never the sender's doing: a wrong key or secret, or rights that are missing, for the operator to mend.
    """
    try:
        yield
    except BotoCoreError as error:
        raise Unavailable("The store of uploads does not answer.") from error
    except ClientError as error:
        status, code = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
        if status in NOTHING_THERE and code != "NoSuchBucket":
            raise Missing from error
        if status == NO_ROOM:
            raise StorageFull from error
        if status < 500:
            log.error("the bucket refuses us", extra={"alarm": "bucket_refused", "status": status, "code": code})
        raise Unavailable("The store of uploads does not answer as it should.") from error
