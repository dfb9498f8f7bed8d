"""A meeting that is transcribed in the background, part by part.

What people said is sealed, as every text of a tenant that is kept.
"""

from typing import override

from django.db import models
from django.db.models import Q


class JobState(models.TextChoices):
    """`queued` and `running` until exactly one of the others."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


OPEN_STATES = (JobState.QUEUED, JobState.RUNNING)
OFFERED = "offered"  # in place of a worker's name: it is in the queue
HEARD_PERCENT = 85  # `progress` once every part is heard; what is left is the summary


class TranscriptionJob(models.Model):
    """One call of transcribe-meeting that goes on without its caller.

    Whoever works on it holds it by `lease_owner` until `lease_ends_at` and renews that; whose lease is over is taken up
    by the next worker. `caller` is what admission and holds need to know of who asked.
    """

    id = models.CharField(max_length=40, primary_key=True)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    member = models.ForeignKey("accounts.Membership", on_delete=models.SET_NULL, null=True, related_name="+")
    api_key = models.ForeignKey("accounts.ApiKey", on_delete=models.SET_NULL, null=True, related_name="+")
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.QUEUED)
    options = models.JSONField(default=dict)  # voice.meetings.options.MeetingOptions
    upload = models.ForeignKey("voice.Upload", on_delete=models.SET_NULL, null=True, related_name="+")
    url_sealed = models.BinaryField(default=b"")  # of the audio, where it is fetched; may hold a token of its owner's
    webhook_url_sealed = models.BinaryField(default=b"")
    duration_ms = models.BigIntegerField(null=True)  # of the audio, once it is known
    progress = models.PositiveSmallIntegerField(default=0)  # percent
    result_sealed = models.BinaryField(default=b"")
    cost_nano = models.BigIntegerField(default=0)
    # why it failed; of a queued one why it was put off
    error_reason = models.CharField(max_length=60, default="", blank=True)
    error_message = models.CharField(max_length=500, default="", blank=True)
    starts = models.PositiveSmallIntegerField(default=0)  # how often a worker took it up
    stalled_s = models.PositiveIntegerField(db_default=0)  # of all their work since it got further
    lease_owner = models.CharField(max_length=40, default="", blank=True)
    lease_ends_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["organization", "-created_at"], name="jobs_of_an_organization"),
            models.Index(fields=["lease_ends_at"], condition=Q(state__in=OPEN_STATES), name="jobs_by_lease"),
            models.Index(fields=["expires_at"], name="jobs_by_end"),
        ]

    @override
    def __str__(self) -> str:
        return f"job {self.id} ({self.state})"


class JobPart(models.Model):
    """A stretch of the audio that is asked of a provider by itself, and paid for by itself.

    Written before the hold with its `request_id`; `answer_sealed` before the settlement. So whoever takes the job up
    knows: no answer, then it is asked again by another request id; an answer, then the same id is settled again, which
    the ledger does once; `is_settled`, then nothing.
    """

    job = models.ForeignKey(TranscriptionJob, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    start_ms = models.BigIntegerField()
    end_ms = models.BigIntegerField()
    request_id = models.CharField(max_length=40, unique=True)
    answer_sealed = models.BinaryField(default=b"")
    usage = models.JSONField(default=dict)  # what the answer is charged for
    offer = models.JSONField(default=dict)  # who answered: model, provider
    is_settled = models.BooleanField(default=False)
    charge_nano = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="one_part_of_a_number")]

    @override
    def __str__(self) -> str:
        return f"part {self.number} of {self.job_id}"
