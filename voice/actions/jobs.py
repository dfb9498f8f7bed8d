"""Transcription jobs: made, taken up by one worker at a time, written down part by part, ended once."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from accounts.actions.changes import audit, lock_organization
from komilion.common.clock import utc_now
from komilion.common.errors import Conflict, KomilionError
from komilion.common.ids import new_id, new_request_id
from routing.catalog.credentials import seal, unseal
from routing.providers.speech import Transcript
from voice.actions.uploads import do_delete_recording
from voice.actions.webhooks import do_queue_delivery
from voice.meetings.options import MeetingOptions
from voice.meetings.recording import Span
from voice.models import JobPart, JobState, TranscriptionJob
from voice.models.job import OFFERED, OPEN_STATES

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
OFFERED_FOR = timedelta(seconds=60)  # after that it is put there again
WAITS_MOST = timedelta(days=1)  # for a place among the calls of who made it
STARTS_MOST = 6
PAUSES_S = (5, 15, 60, 180, 300)  # after a trouble that passes
RESULT_MOST_BYTES = 64 * 2**20
DUE_AT_ONCE = 100


class LeaseLost(Exception):
    """The job is another worker's by now, was canceled, or is gone."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """Who wants what of which audio: one of `upload_key` and `url` is there."""

    organization_id: int
    member_id: int | None
    key_id: int | None
    options: MeetingOptions
    upload_key: str | None = None
    url: str = ""
    webhook_url: str = ""


def do_make_job(new: NewJob) -> TranscriptionJob:
    """Queue it. Raises `Conflict` where the organization has as many open ones as it may; locks the organization."""
    now = utc_now()
    with transaction.atomic():
        lock_organization(new.organization_id)
        demand_room(new.organization_id)
        return TranscriptionJob.objects.create(
            id=new_id("job"),
            organization_id=new.organization_id,
            member_id=new.member_id,
            api_key_id=new.key_id,
            options=msgspec.to_builtins(new.options),
            upload_id=new.upload_key,
            url_sealed=seal(new.url.encode()) if new.url else b"",
            webhook_url_sealed=seal(new.webhook_url.encode()) if new.webhook_url else b"",
            created_at=now,
            expires_at=now + timedelta(days=settings.VOICE_JOB_LIFETIME_DAYS),
        )


def demand_room(organization_id: int) -> None:
    """Raise `Conflict` where the organization has as many open jobs as it may."""
    mine = TranscriptionJob.objects.filter(organization_id=organization_id, state__in=OPEN_STATES)
    most = settings.VOICE_OPEN_JOBS_PER_ORGANIZATION
    if mine.count() >= most:
        raise Conflict(f"This organization has {most} jobs that are not done, as many as it may; wait for one.")


def do_offer_jobs() -> list[str]:
    """Those that wait for a worker: new ones, and whose worker is gone. Each is named once a minute.

    Of an organization no more than may run at once, and those first who have least at work, so that one with many jobs
    keeps no other waiting.
    """
    now = utc_now()
    due = TranscriptionJob.objects.filter(_is_due(now), state__in=OPEN_STATES)
    at_work = Counter(_at_work(now).filter(state__in=OPEN_STATES).values_list("organization_id", flat=True))
    ranked = list[tuple[int, int, str]]()
    for pk, organization_id in due.order_by("created_at", "pk").values_list("pk", "organization_id").iterator():
        if at_work[organization_id] < settings.VOICE_JOBS_PER_ORGANIZATION_AT_ONCE:
            ranked.append((at_work[organization_id], len(ranked), pk))
            at_work[organization_id] += 1
    ids = [pk for _, _, pk in sorted(ranked)[:DUE_AT_ONCE]]
    return [pk for pk in ids if due.filter(pk=pk).update(lease_owner=OFFERED, lease_ends_at=now + OFFERED_FOR)]


def _is_due(now: datetime) -> Q:
    return Q(lease_ends_at__isnull=True) | Q(lease_ends_at__lte=now)


def _at_work(now: datetime) -> Any:
    """Those that a worker has, or will have as soon as it is free; also canceled ones that a provider still hears."""
    return TranscriptionJob.objects.filter(lease_ends_at__gt=now).exclude(lease_owner="")


def do_take_job(job_id: str, owner: str) -> TranscriptionJob | None:
    """Work on it, as the only one; None where there is nothing to do, another worker does it, or as many of its
    organization run as may: then it is offered again. Locks the organization, so that jobs taken at once are counted.

    One whose workers died again and again is given up: what kills them is most likely the file.
    """
    now = utc_now()
    with transaction.atomic():
        free = Q(lease_owner=OFFERED) | _is_due(now)
        jobs = TranscriptionJob.objects.filter(free, pk=job_id, state__in=OPEN_STATES)
        organization_id = jobs.values_list("organization_id", flat=True).first()
        if organization_id is None:
            return None
        lock_organization(organization_id)
        running = _at_work(now).filter(organization_id=organization_id).exclude(lease_owner=OFFERED)
        if running.count() >= settings.VOICE_JOBS_PER_ORGANIZATION_AT_ONCE:
            do_give_back(job_id)
            return None
        job = jobs.select_related("upload", "api_key", "member").select_for_update(of=("self",)).first()
        if job is None:
            return None
        job.starts += 1
        job.state, job.lease_owner, job.lease_ends_at = JobState.RUNNING, owner, now + LEASE
        job.error_reason = job.error_message = ""
        job.save(update_fields=["starts", "state", "lease_owner", "lease_ends_at", "error_reason", "error_message"])
    if job.starts > STARTS_MOST:
        log.error("job given up", extra={"alarm": "transcription_given_up", "job": job.pk})
        do_fail(job, "internal_error", "The transcription was begun several times and never came to its end.")
        return None
    return job


def do_give_back(job_id: str) -> None:
    """There is no place for it now: from the queue back to those that are to be offered."""
    offered = TranscriptionJob.objects.filter(pk=job_id, lease_owner=OFFERED)
    offered.update(lease_owner="", lease_ends_at=None)


def do_wait_for_place(job: TranscriptionJob, refusal: KomilionError) -> bool:
    """Its caller has as many calls as it may: later, which is no failed start. False where it has waited enough."""
    now = utc_now()
    if now - job.created_at > WAITS_MOST:
        return False
    _wait(job, int(refusal.headers["Retry-After"]), refusal, starts=F("starts") - 1)
    return True


def do_renew(job: TranscriptionJob, worked_s: int) -> bool:
    """Keep it for another `LEASE`, after so much work; whether it is still wanted. Raises `LeaseLost`."""
    if not _held(job).update(lease_ends_at=utc_now() + LEASE, stalled_s=F("stalled_s") + worked_s):
        raise LeaseLost
    return bool(_mine(job).exists())


def do_let_go(job: TranscriptionJob) -> None:
    """One that was canceled meanwhile has its bill, and may be deleted."""
    with transaction.atomic():
        canceled = _held(job).select_for_update().filter(state=JobState.CANCELED).first()
        if canceled is not None:
            canceled.lease_owner, canceled.lease_ends_at, canceled.cost_nano = "", None, _charged(canceled)
            canceled.save(update_fields=["lease_owner", "lease_ends_at", "cost_nano"])


def _held(job: TranscriptionJob) -> Any:
    """This job where its worker is still the one that it was given to."""
    return TranscriptionJob.objects.filter(pk=job.pk, lease_owner=job.lease_owner)


def _mine(job: TranscriptionJob) -> Any:
    return _held(job).filter(state=JobState.RUNNING)


def _charged(job: TranscriptionJob) -> int:
    return sum(job.parts.values_list("charge_nano", flat=True))


def do_note_progress(job: TranscriptionJob, percent: int) -> None:
    """For who asks. Raises `LeaseLost`."""
    if not _mine(job).update(progress=percent):
        raise LeaseLost


def do_plan_parts(job: TranscriptionJob, length_ms: int, spans: Sequence[Span]) -> list[JobPart]:
    """The parts of the job: those that are there once one of them is answered, else these. Raises `LeaseLost`."""
    with transaction.atomic():
        _demand_lease(job)
        if job.duration_ms is None:  # it is there and decoded for the first time
            job.duration_ms, job.stalled_s = length_ms, 0
            job.save(update_fields=["duration_ms", "stalled_s"])
        parts = list(job.parts.order_by("number"))
        if any(part.answer_sealed for part in parts):
            return parts
        job.parts.all().delete()
        new = [
            JobPart(job=job, number=number, start_ms=span.start_ms, end_ms=span.end_ms, request_id=new_request_id())
            for number, span in enumerate(spans)
        ]
        return list(JobPart.objects.bulk_create(new))


def _demand_lease(job: TranscriptionJob) -> None:
    if not _mine(job).select_for_update().exists():
        raise LeaseLost


def do_begin_part(job: TranscriptionJob, part: JobPart) -> str:
    """The request id for asking: always a new one, as nobody knows what became of one before. Raises `LeaseLost`."""
    with transaction.atomic():
        _demand_lease(job)
        part.request_id = new_request_id()
        part.save(update_fields=["request_id"])
    return part.request_id


@dataclass(frozen=True, slots=True)
class Answered:
    """What a provider answered for a part, and what is to be charged for that."""

    transcript: Transcript
    usage: dict[str, int]
    source: str
    offer: dict[str, Any]  # model, provider, price id


def do_keep_answer(job: TranscriptionJob, part: JobPart, answered: Answered) -> None:
    """Before it is charged. Raises `LeaseLost`: then nothing is charged either, as another worker asks again.

    Of a job that was canceled meanwhile nothing is kept; what a provider heard of it is charged all the same.
    """
    with transaction.atomic():
        held = _held(job).select_for_update().first()
        if held is None:
            raise LeaseLost
        if held.state == JobState.CANCELED:
            return
        part.answer_sealed = seal(msgspec.json.encode(answered.transcript))
        part.usage, part.offer = answered.usage, {**answered.offer, "source": answered.source}
        part.save(update_fields=["answer_sealed", "usage", "offer"])


def transcript_of(part: JobPart) -> Transcript:
    """The answer that was kept."""
    return msgspec.json.decode(unseal(bytes(part.answer_sealed)), type=Transcript)


def do_settle_part(part: JobPart, charge_nano: int) -> None:
    """It is charged, and the job got further."""
    part.is_settled, part.charge_nano = True, charge_nano
    part.save(update_fields=["is_settled", "charge_nano"])
    TranscriptionJob.objects.filter(pk=part.job_id).update(stalled_s=0)


def do_complete(job: TranscriptionJob, result: bytes, cost_nano: int) -> None:
    """With the result, in the transaction that tells the webhook. Raises `LeaseLost`."""
    with transaction.atomic():
        _demand_lease(job)
        job.result_sealed = seal(result)
        job.cost_nano, job.progress = cost_nano, 100
        _end(job, JobState.COMPLETED)


def do_fail(job: TranscriptionJob, reason: str, message: str, partial: bytes = b"") -> None:
    """For good; `partial` is what was transcribed and paid for. Nothing where it is not ours any more."""
    with transaction.atomic():
        if not _mine(job).select_for_update().exists():
            return
        job.error_reason, job.error_message = reason[:60], message[:500]
        job.result_sealed = seal(partial) if partial else b""
        job.cost_nano = _charged(job)
        _end(job, JobState.FAILED)
    log.warning("job failed", extra={"job": job.pk, "error": job.error_reason, "starts": job.starts})


def is_stalled(job: TranscriptionJob) -> bool:
    """Whether it was worked on for long without getting further: each try of a provider that hangs takes minutes."""
    return bool(_mine(job).filter(stalled_s__gt=settings.VOICE_JOB_STALL_LIMIT_S).exists())


def do_put_off(job: TranscriptionJob, error: KomilionError) -> bool:
    """A trouble that passes: later, by whoever is free. False where that was done often enough."""
    if job.starts >= STARTS_MOST:
        return False
    pause_s = PAUSES_S[min(job.starts, len(PAUSES_S)) - 1]
    log.info("job put off", extra={"job": job.pk, "error": error.reason, "pause_s": pause_s})
    _wait(job, pause_s, error)
    return True


def _wait(job: TranscriptionJob, wait_s: int, why: KomilionError, **changes: Any) -> None:
    """Until then it is nobody's; who looks at it is told why."""
    ends_at = utc_now() + timedelta(seconds=wait_s)
    told = {"error_reason": why.reason[:60], "error_message": why.message[:500]}
    _mine(job).update(state=JobState.QUEUED, lease_owner="", lease_ends_at=ends_at, **told, **changes)


def _end(job: TranscriptionJob, state: JobState) -> None:
    job.state, job.finished_at = state, utc_now()
    job.lease_owner, job.lease_ends_at, job.url_sealed = "", None, b""
    job.save()
    do_queue_delivery(job)


def do_cancel_or_delete(job: TranscriptionJob, *, operator: str = "") -> bool:
    """An open job ends without a result, one that ended goes with its recording and all that was said; whether it is
    gone. An operator's act is audited.

    Raises `Conflict` for a canceled one of which a provider still hears a part: that has to be charged first.
    `Unavailable` where the recording cannot be deleted now: then the job is still there, to be deleted again.
    """
    now = utc_now()
    with transaction.atomic():
        found = TranscriptionJob.objects.select_for_update().filter(pk=job.pk).first()
        if found is None:
            return True
        if found.state in OPEN_STATES:
            _cancel(found, now)
            _audit(found, operator, "transcription.cancel")
            return False
        if found.lease_ends_at is not None and found.lease_ends_at > now:
            message = "A part of this job is being heard, and has to be charged before the job is deleted."
            raise Conflict(message, headers={"Retry-After": "30"})
    do_delete_recording(found)
    with transaction.atomic():
        TranscriptionJob.objects.filter(pk=job.pk).delete()
        _audit(found, operator, "transcription.delete")
    return True


def _audit(job: TranscriptionJob, operator: str, action: str) -> None:
    if operator:
        audit(job.organization_id, operator, action, job.pk)


def _cancel(job: TranscriptionJob, now: datetime) -> None:
    """Its worker keeps the lease until what it asked a provider for is charged."""
    job.state, job.finished_at, job.url_sealed, job.cost_nano = JobState.CANCELED, now, b"", _charged(job)
    if job.lease_owner in ("", OFFERED):
        job.lease_owner, job.lease_ends_at = "", None
    job.error_reason = job.error_message = ""
    changed = ("state", "finished_at", "url_sealed", "cost_nano", "lease_owner", "lease_ends_at")
    job.save(update_fields=[*changed, "error_reason", "error_message"])
    job.parts.update(answer_sealed=b"")


def do_sweep_jobs() -> int:
    """Delete what is over; returns how many."""
    over = TranscriptionJob.objects.filter(expires_at__lte=utc_now()).exclude(state__in=OPEN_STATES)
    _, by_kind = over.delete()
    return by_kind.get("voice.TranscriptionJob", 0)


def result_of(job: TranscriptionJob) -> dict[str, Any] | None:
    """What the job brought; None where there is nothing."""
    if not job.result_sealed:
        return None
    found: dict[str, Any] = orjson.loads(unseal(bytes(job.result_sealed)))
    return found
