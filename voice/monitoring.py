"""The state of jobs, webhooks and uploads as an operator watches it, of all tenants together."""

from datetime import timedelta

from django.db.models import Count, Min, Q, Sum

from komilion.common.clock import utc_now
from voice.models import DeliveryState, JobState, TranscriptionJob, Upload, WebhookDelivery
from voice.models.job import OFFERED

TAKEN_WITHIN = timedelta(minutes=2)  # by a worker that is there and free


def have_jobs_no_worker() -> bool:
    """Whether a new job has waited for long and none is being worked on. Two short queries, for `/health/readiness`.

    Not those that were put off, or wait for a place among the calls of who made them: they have a reason.
    """
    now = utc_now()
    new = TranscriptionJob.objects.filter(state=JobState.QUEUED, starts=0, error_reason="")
    at_work = TranscriptionJob.objects.filter(state=JobState.RUNNING, lease_ends_at__gt=now).exclude(
        lease_owner=OFFERED
    )
    return new.filter(created_at__lte=now - TAKEN_WITHIN).exists() and not at_work.exists()


def voice_state() -> dict[str, tuple[str, float]]:
    """Name -> (what it is, value), for `/metrics`. Three queries."""
    waits = Q(state=JobState.QUEUED)
    jobs = TranscriptionJob.objects.aggregate(
        waiting=Count("pk", filter=waits),
        oldest=Min("created_at", filter=waits),
        running=Count("pk", filter=Q(state=JobState.RUNNING)),
        failed=Count("pk", filter=Q(state=JobState.FAILED)),
    )
    webhooks = WebhookDelivery.objects.aggregate(
        waiting=Count("pk", filter=Q(state=DeliveryState.PENDING)),
        failed=Count("pk", filter=Q(state=DeliveryState.FAILED)),
    )
    uploads = Upload.objects.aggregate(received=Sum("received_bytes", default=0))
    age_s = (utc_now() - jobs["oldest"]).total_seconds() if jobs["oldest"] else 0.0
    return {
        "transcription_jobs_waiting": ("Jobs that wait for a worker, a place or another try.", jobs["waiting"]),
        "transcription_oldest_waiting_seconds": ("Age of the oldest of them.", max(0.0, age_s)),
        "transcription_jobs_running": ("Jobs that a worker has.", jobs["running"]),
        "transcription_jobs_failed": ("Failed jobs that are kept.", jobs["failed"]),
        "webhooks_waiting": ("Messages that are to be sent, or sent again.", webhooks["waiting"]),
        "webhooks_failed": ("Messages that were given up, of jobs that are kept.", webhooks["failed"]),
        "upload_bytes": ("What uploads take of the disk or the bucket.", uploads["received"]),
    }
