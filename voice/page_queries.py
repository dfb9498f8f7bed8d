"""What the pages show of jobs and webhooks beside what `voice.queries` reads for everybody."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from routing.catalog.credentials import unseal
from voice.models import TranscriptionJob, Upload, WebhookDelivery
from voice.queries import deliveries_of

UNNAMED = "Recording"


def names_of(jobs: list[TranscriptionJob]) -> dict[str, str]:
    """What the recordings of these jobs are called, by job; a file is gone after a day, and its name with it."""
    keys = {job.upload_id for job in jobs if job.upload_id is not None}
    names = dict(Upload.objects.filter(pk__in=keys).values_list("pk", "name"))
    return {job.pk: names.get(job.upload_id or "", UNNAMED) for job in jobs}


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message with the host that it goes to: the rest of the address may hold a secret of the receiver's."""

    row: WebhookDelivery
    host: str


def deliveries_shown(organization_id: int) -> list[Delivery]:
    """The newest messages of the organization."""
    return [Delivery(row, host_of(row)) for row in deliveries_of(organization_id)]


def host_of(delivery: WebhookDelivery) -> str:
    """Where the message goes, and no more of its address."""
    return urlsplit(unseal(bytes(delivery.url_sealed)).decode()).netloc.rpartition("@")[2]
