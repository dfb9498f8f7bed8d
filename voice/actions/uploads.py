"""Making room for uploads, taking them in, and taking them away."""

import logging
import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Coalesce

from accounts.access import Caller
from accounts.actions.changes import audit, lock_organization
from komilion.common.clock import utc_now
from komilion.common.errors import Conflict, NotFound, PayloadTooLarge, StorageFull
from voice.access import access_upload
from voice.models import TranscriptionJob, Upload, UploadState
from voice.models.job import OPEN_STATES
from voice.speech.forms import FormFile
from voice.uploads import folder
from voice.uploads.names import kept_content_type, kept_name
from voice.uploads.store import store
from voice.uploads.ticket import url_ends_at

log = logging.getLogger(__name__)

KEY_BYTES = 24
BURIED_PER_UPLOAD = 10  # how many times what may be there at once may be deleted before its address ends
ADDRESS_OUTLIVED_BY = timedelta(hours=1)  # by what was begun to be sent there in its last moment


@dataclass(frozen=True, slots=True)
class NewUpload:
    """Who sends which file. One that came with a job is no ticket, so it takes none of the organization's."""

    organization_id: int
    member_id: int | None
    key_id: int | None
    name: str
    content_type: str
    size_bytes: int | None = None
    came_with_job: bool = False


def do_make_upload(new: NewUpload) -> Upload:
    """A ticket for one file. Raises `PayloadTooLarge`, `Conflict` where the organization has too many.

    Locks the organization, so that tickets made at once share its room.
    """
    now = utc_now()
    with transaction.atomic():
        lock_organization(new.organization_id)
        if not new.came_with_job:  # those are as many as jobs, which are limited themselves
            _demand_ticket(new.organization_id)
        if new.size_bytes is not None:
            demand_size(new.size_bytes)
            _demand_quota(new.organization_id, new.size_bytes, None)
        return Upload.objects.create(
            key=f"aud_{secrets.token_urlsafe(KEY_BYTES)}",
            organization_id=new.organization_id,
            member_id=new.member_id,
            api_key_id=new.key_id,
            came_with_job=new.came_with_job,
            name=new.name,
            content_type=new.content_type,
            size_bytes=new.size_bytes,
            created_at=now,
            expires_at=now + timedelta(seconds=settings.VOICE_UPLOAD_LIFETIME_S),
        )


def _demand_ticket(organization_id: int) -> None:
    tickets = Upload.objects.filter(organization_id=organization_id, came_with_job=False)
    most = settings.VOICE_UPLOADS_PER_ORGANIZATION
    is_full = tickets.exclude(state=UploadState.DELETED).count() >= most
    if is_full or tickets.count() >= most * BURIED_PER_UPLOAD:
        raise Conflict(f"This organization has {most} uploads, as many as it may; delete some, or wait a day.")


def do_keep_upload(caller: Caller, file: FormFile) -> Upload:
    """A file that came with a job, as an upload that is whole. Raises `PayloadTooLarge`, `StorageFull`."""
    upload = do_make_upload(
        NewUpload(
            organization_id=caller.organization_id,
            member_id=caller.member_id,
            key_id=caller.key_id,
            name=kept_name(file.name, f"meeting-{utc_now():%Y-%m-%d}"),
            content_type=kept_content_type(file.content_type),
            size_bytes=len(file.data),
            came_with_job=True,
        )
    )
    try:
        store().keep(upload, file.data)
    except StorageFull:
        upload.delete()
        raise
    return do_complete_upload(upload.key, len(file.data))


def do_reserve(key: str, size_bytes: int) -> Upload:
    """Keep so much of the organization's room for an upload that begins or goes on; locks the organization.

    Raises `NotFound`, `PayloadTooLarge` where the others leave too little, `Conflict` for one that is there already.
    """
    with transaction.atomic():
        upload = Upload.objects.filter(pk=key).first()
        if upload is None or upload.expires_at <= utc_now():
            raise NotFound("There is no such upload (any more).")
        if upload.state == UploadState.RECEIVED:
            raise Conflict("This file was uploaded already; ask for another upload URL to send another one.")
        lock_organization(upload.organization_id)
        _demand_quota(upload.organization_id, size_bytes, key)
        upload.size_bytes = size_bytes
        upload.save(update_fields=["size_bytes"])
    return upload


def demand_size(size_bytes: int) -> None:
    """Raise `PayloadTooLarge` for more than any upload may have."""
    limit = settings.VOICE_UPLOAD_LIMIT_BYTES
    if size_bytes > limit:
        raise PayloadTooLarge(f"An upload may have {limit // 10**6:,} MB; this one has {size_bytes:,} bytes.")


def _demand_quota(organization_id: int, size_bytes: int, key: str | None) -> None:
    others = Upload.objects.filter(organization_id=organization_id).exclude(pk=key).exclude(state=UploadState.DELETED)
    used = others.aggregate(total=Sum(Coalesce("size_bytes", 0)))["total"] or 0
    most = settings.VOICE_UPLOADS_PER_ORGANIZATION_BYTES
    if used + size_bytes > most:
        message = f"The uploads of an organization may have {most // 10**6:,} MB together; delete some, or wait a day."
        raise PayloadTooLarge(message)


def do_note_progress(key: str, received_bytes: int) -> None:
    """A request ended before the file was whole."""
    Upload.objects.filter(pk=key, state=UploadState.WAITING).update(received_bytes=received_bytes)


def do_complete_upload(key: str, received_bytes: int) -> Upload:
    """Every byte is there and synced. Raises `NotFound` where it was deleted meanwhile."""
    with transaction.atomic():
        waiting = Upload.objects.filter(pk=key, state=UploadState.WAITING)
        if not waiting.update(state=UploadState.RECEIVED, received_bytes=received_bytes, size_bytes=received_bytes):
            raise NotFound("This upload was deleted meanwhile.")
        return Upload.objects.get(pk=key)


def do_take_in(upload: Upload) -> Upload:
    """See that the file is there as it was announced, and note it. Raises as `Store.demand_whole`, and `NotFound`."""
    size = store().demand_whole(upload)
    if upload.state == UploadState.WAITING:  # it came to a bucket, which tells nobody
        return do_complete_upload(upload.key, size)
    return upload


def do_release_room(key: str) -> None:
    """There was no room: what was sent is gone, and the ticket is as new."""
    folder.delete_file(key)
    Upload.objects.filter(pk=key, state=UploadState.WAITING).update(received_bytes=0, size_bytes=None)


def do_delete_upload(organization_id: int, key: str, *, operator: str = "") -> None:
    """Row and file; an operator's act is audited. Raises `NotFound`, `Conflict` while a job reads it."""
    upload = access_upload(organization_id, key)
    if TranscriptionJob.objects.filter(upload_id=key, state__in=OPEN_STATES).exists():
        raise Conflict("A job is transcribing this upload; cancel the job first.")
    _delete(upload, operator)


def do_delete_recording(job: TranscriptionJob) -> None:
    """What a job that ended was made from, whoever named it; not while another job names it too, which may read it and
    whose page plays it: then it goes with the last of them.
    """
    others = TranscriptionJob.objects.filter(upload_id=job.upload_id).exclude(pk=job.pk)
    upload = Upload.objects.filter(pk=job.upload_id).exclude(state=UploadState.DELETED).first()
    if upload is not None and not others.exists():
        _delete(upload)


def do_forget_upload(key: str) -> None:
    """Row and file, whoever's: of one that turned out too large."""
    for upload in Upload.objects.filter(pk=key):
        _delete(upload)


def _delete(upload: Upload, operator: str = "") -> None:
    """The file first: a row without a file is met again by the sweep, a file without a row only by chance.

    While a file may still be sent to a bucket by an address that nobody can take back, the row stays for the sweep.
    """
    where, ends_at = store(), url_ends_at(upload.created_at) + ADDRESS_OUTLIVED_BY
    where.delete(upload)
    with transaction.atomic():
        if operator:
            audit(upload.organization_id, operator, "upload.delete", upload.pk)
        if not where.address_outlives or ends_at <= utc_now():
            upload.delete()
            return
        TranscriptionJob.objects.filter(upload_id=upload.pk).update(upload=None)
        upload.state, upload.name, upload.size_bytes, upload.expires_at = UploadState.DELETED, "", None, ends_at
        upload.save(update_fields=["state", "name", "size_bytes", "expires_at"])


def do_sweep_uploads() -> int:
    """Delete what is over and no open job reads, what came to an address after its upload was deleted, then files of
    this machine without a row; returns how many.
    """
    for upload in Upload.objects.filter(state=UploadState.DELETED).iterator():
        store().delete(upload)
    read = TranscriptionJob.objects.filter(state__in=OPEN_STATES, upload__isnull=False).values("upload_id")
    over = list(Upload.objects.filter(expires_at__lte=utc_now()).exclude(pk__in=read))
    for upload in over:
        _delete(upload)
    folder.delete_scraps()
    keys = list(folder.old_keys())
    known = set(Upload.objects.filter(pk__in=keys).values_list("pk", flat=True))
    strays = [key for key in keys if key not in known]
    for key in strays:
        folder.delete_file(key)
    return len(over) + len(strays)
