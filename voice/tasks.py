"""Jobs of voice; the schedule stands in komilion.celery."""

import logging
import threading

from celery import shared_task
from django.conf import settings

from komilion.common.ids import new_id
from voice.actions.jobs import OFFERED_FOR, do_give_back, do_offer_jobs, do_sweep_jobs
from voice.actions.uploads import do_sweep_uploads
from voice.actions.webhooks import do_deliver_due
from voice.meetings.work import work_on

log = logging.getLogger(__name__)

_places = threading.BoundedSemaphore(settings.VOICE_JOBS_AT_ONCE)  # the threads beside them are for webhooks


@shared_task  # type: ignore[untyped-decorator]
def sweep_uploads() -> None:
    """Delete files that are over, and those that nothing knows of; and jobs that are."""
    uploads, jobs = do_sweep_uploads(), do_sweep_jobs()
    if uploads or jobs:
        log.info("uploads deleted", extra={"uploads": uploads, "jobs": jobs})


@shared_task  # type: ignore[untyped-decorator]
def start_jobs() -> None:
    """Queue the meetings that wait, and those whose worker is gone."""
    for job_id in do_offer_jobs():
        transcribe_meeting.apply_async((job_id,), expires=OFFERED_FOR.total_seconds())


@shared_task  # type: ignore[untyped-decorator]
def transcribe_meeting(job_id: str) -> None:
    """Work on one meeting, and have its webhook told at once. Where there is no place for it here, it is given back."""
    if not _places.acquire(blocking=False):
        do_give_back(job_id)
        return
    try:
        is_worked_on = work_on(job_id, new_id("worker"))
    finally:
        _places.release()
    if is_worked_on:
        deliver_webhooks.delay()


@shared_task  # type: ignore[untyped-decorator]
def deliver_webhooks() -> None:
    """Tell what is new, try again what failed and is due, and what a worker left behind."""
    do_deliver_due()
