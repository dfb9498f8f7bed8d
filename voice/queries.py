"""Reads of uploads, jobs and deliveries; what belongs to a tenant takes the organization of who asks."""

from datetime import datetime

from komilion.common.clock import utc_now
from komilion.common.errors import NotFound
from voice.models import Upload, WebhookDelivery, WebhookSecret


def upload_of_ticket(key: str) -> Upload:
    """The upload that a signed address is for. Raises `NotFound` once it is over or deleted."""
    upload = Upload.objects.filter(pk=key, expires_at__gt=utc_now()).first()
    if upload is None:
        raise NotFound("This upload is over, or was deleted; ask for another one at POST /api/voice/upload.")
    return upload


DELIVERIES_LISTED = 100


def webhook_secret_made_at(organization_id: int) -> datetime | None:
    """When the organization's secret was made; None where it has none. The secret itself is shown by nobody."""
    return WebhookSecret.objects.filter(pk=organization_id).values_list("made_at", flat=True).first()


def deliveries_of(organization_id: int, job_id: str | None = None) -> list[WebhookDelivery]:
    """The newest messages of the organization, or all of one of its jobs."""
    found = WebhookDelivery.objects.filter(organization_id=organization_id)
    if job_id is not None:
        found = found.filter(job_id=job_id)
    return list(found.order_by("-created_at")[:DELIVERIES_LISTED])
