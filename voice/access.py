"""The one door to uploads, jobs and deliveries: each look-up takes the organization of who asks."""

from accounts.access import Asker, Caller, access_api_key, access_session_token, access_viewer, ticket_of
from komilion.common.errors import Forbidden, NotFound, Suspended
from voice.models import TranscriptionJob, Upload, UploadState
from voice.uploads.names import KEY


def must_speak(asker: Asker) -> None:
    """Raise `Forbidden` for a role that may only look, `Suspended` where nobody may send or transcribe anything."""
    if asker.is_suspended:
        raise Suspended
    if asker.key is None and not asker.may_manage:
        raise Forbidden("Your role may not upload or transcribe; ask an owner of the organization.")


def access_upload(organization_id: int, key: str) -> Upload:
    """An upload of this organization. Raises `NotFound`, for another one's and for one that is over, too."""
    upload = Upload.objects.filter(organization_id=organization_id, pk=key).first() if KEY.fullmatch(key) else None
    if upload is None or upload.state == UploadState.DELETED:
        message = "There is no such upload in this organization; it may be over: uploads are kept for a day."
        raise NotFound(message, param="audioKey")
    return upload


def access_job(asker: Asker, job_id: str) -> TranscriptionJob:
    """A job of this organization; for a key that manages no others, of this key. Raises `NotFound`."""
    jobs = TranscriptionJob.objects.filter(organization_id=asker.organization_id, pk=job_id[:40])
    if asker.only_key_id is not None:
        jobs = jobs.filter(api_key_id=asker.only_key_id)
    job = jobs.first()
    if job is None:
        raise NotFound("There is no such job.")
    return job


def caller_of(job: TranscriptionJob) -> Caller | None:
    """Who pays for a job, with the rights of this moment: its key, or the member who made it on our page.

    None where the key does not work any more or the member has left. Raises `Forbidden`, `Suspended`.
    """
    if job.api_key is not None:
        return access_api_key(bytes(job.api_key.key_hash))
    if job.member is None:
        return None
    viewer = access_viewer(job.member.user_id, job.organization_id)
    if viewer is None or viewer.membership_id != job.member_id:
        return None
    return access_session_token(ticket_of(viewer))
