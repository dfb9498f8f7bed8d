"""Reads of uploads, jobs and deliveries; what belongs to a tenant takes the organization of who asks."""

from datetime import datetime

from accounts.access import Asker
from billing.models import Price
from billing.prices import PriceVersion
from komilion.common.clock import utc_now
from komilion.common.errors import NotFound
from voice.models import JobPart, TranscriptionJob, Upload, UploadState, WebhookDelivery, WebhookSecret


def upload_of_ticket(key: str) -> Upload:
    """The upload that a signed address is for. Raises `NotFound` once it is over or deleted."""
    upload = Upload.objects.filter(pk=key, expires_at__gt=utc_now()).first()
    if upload is None:
        raise NotFound("This upload is over, or was deleted; ask for another one at POST /api/voice/upload.")
    return upload


DELIVERIES_LISTED = 100
JOBS_LISTED = 100
UPLOADS_LISTED = 200


def webhook_secret_made_at(organization_id: int) -> datetime | None:
    """When the organization's secret was made; None where it has none. The secret itself is shown by nobody."""
    return WebhookSecret.objects.filter(pk=organization_id).values_list("made_at", flat=True).first()


def secret_state(made_at: datetime | None) -> str:
    """What names the secret that was made then, or that there is none, in the address of a form."""
    return "" if made_at is None else made_at.isoformat()


def has_webhook_secret(organization_id: int) -> bool:
    """Whether its webhooks can be signed."""
    return WebhookSecret.objects.filter(pk=organization_id).exists()


def deliveries_of(organization_id: int, job_id: str | None = None) -> list[WebhookDelivery]:
    """The newest messages of the organization, or all of one of its jobs."""
    found = WebhookDelivery.objects.filter(organization_id=organization_id)
    if job_id is not None:
        found = found.filter(job_id=job_id)
    return list(found.order_by("-created_at")[:DELIVERIES_LISTED])


def part_price(part: JobPart) -> PriceVersion:
    """The price at which a part was heard."""
    return PriceVersion.from_row(Price.objects.get(pk=part.offer["price_id"]))


def jobs_of(asker: Asker, limit: int = JOBS_LISTED) -> list[TranscriptionJob]:
    """The newest jobs of the organization; for a key that manages no others, of this key."""
    jobs = TranscriptionJob.objects.filter(organization_id=asker.organization_id)
    if asker.only_key_id is not None:
        jobs = jobs.filter(api_key_id=asker.only_key_id)
    return list(jobs.defer("result_sealed").order_by("-created_at", "-pk")[:limit])


def uploads_of(asker: Asker, limit: int = UPLOADS_LISTED) -> list[Upload]:
    """The newest uploads of the organization; for a key that manages no others, of this key: who has an `audioKey` may
    have it transcribed, so only who asked for it is told.
    """
    uploads = Upload.objects.filter(organization_id=asker.organization_id).exclude(state=UploadState.DELETED)
    if asker.only_key_id is not None:
        uploads = uploads.filter(api_key_id=asker.only_key_id)
    return list(uploads.order_by("-created_at", "-pk")[:limit])
