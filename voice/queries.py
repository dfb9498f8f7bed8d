"""Reads of uploads, jobs and deliveries; what belongs to a tenant takes the organization of who asks."""

from komilion.common.clock import utc_now
from komilion.common.errors import NotFound
from voice.models import Upload


def upload_of_ticket(key: str) -> Upload:
    """The upload that a signed address is for. Raises `NotFound` once it is over or deleted."""
    upload = Upload.objects.filter(pk=key, expires_at__gt=utc_now()).first()
    if upload is None:
        raise NotFound("This upload is over, or was deleted; ask for another one at POST /api/voice/upload.")
    return upload
