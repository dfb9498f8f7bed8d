"""Jobs of voice; the schedule stands in komilion.celery."""

import logging

from celery import shared_task

from komilion.common.ids import new_id
from voice.actions.jobs import do_offer_jobs, do_sweep_jobs
from voice.actions.uploads import do_sweep_uploads
from voice.actions.webhooks import do_deliver, do_deliver_due
from voice.meetings.work import work_on
from voice.queries import waiting_deliveries

log = logging.getLogger(__name__)


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
        transcribe_meeting.delay(job_id)


@shared_task  # type: ignore[untyped-decorator]
def transcribe_meeting(job_id: str) -> None:
    """Work on one meeting, and tell its webhook at once."""
    if work_on(job_id, new_id("worker")):
        for delivery_id in waiting_deliveries(job_id):
            do_deliver(delivery_id)


@shared_task  # type: ignore[untyped-decorator]
def deliver_webhook(delivery_id: str) -> None:
    """Try one message as soon as there is something to tell."""
    do_deliver(delivery_id)


@shared_task  # type: ignore[untyped-decorator]
def deliver_webhooks() -> None:
    """Try again what failed and is due, and what a worker left behind."""
    do_deliver_due()
