"""What a webhook says of a job: how it ended, and where the transcript is. Never what was said."""

from typing import Any

from django.conf import settings

from accounts.api.json import usd
from voice.models import JobState, TranscriptionJob

COMPLETED = "voice.transcription.completed"
FAILED = "voice.transcription.failed"
JOBS = "/api/voice/jobs/"


def payload_of(job: TranscriptionJob) -> tuple[str, dict[str, Any]]:
    """The event's name, and the message, in the shape that Standard Webhooks recommends."""
    event = COMPLETED if job.state == JobState.COMPLETED else FAILED
    finished_at = job.finished_at or job.created_at
    data: dict[str, Any] = {
        "object": "transcription.job",
        "id": job.pk,
        "status": job.state,
        "duration": None if job.duration_ms is None else job.duration_ms / 1_000,
        "cost_usd": usd(job.cost_nano),
        "cost_nano_usd": job.cost_nano,
        "createdAt": job.created_at.isoformat().replace("+00:00", "Z"),
        "finishedAt": finished_at.isoformat().replace("+00:00", "Z"),
        "url": f"{settings.PUBLIC_URL}{JOBS}{job.pk}",
    }
    if job.error_reason:
        data["error"] = {"reason": job.error_reason, "message": job.error_message}
    return event, {"type": event, "timestamp": data["finishedAt"], "data": data}
