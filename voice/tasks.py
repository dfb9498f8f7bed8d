"""Jobs of voice; the schedule stands in komilion.celery."""

import logging

from celery import shared_task

from voice.actions.uploads import do_sweep_uploads
from voice.actions.webhooks import do_deliver, do_deliver_due

log = logging.getLogger(__name__)


@shared_task  # type: ignore[untyped-decorator]
def sweep_uploads() -> None:
    """Delete files that are over, and those that nothing knows of."""
    deleted = do_sweep_uploads()
    if deleted:
        log.info("uploads deleted", extra={"uploads": deleted})


@shared_task  # type: ignore[untyped-decorator]
def deliver_webhook(delivery_id: str) -> None:
    """Try one message as soon as there is something to tell."""
    do_deliver(delivery_id)


@shared_task  # type: ignore[untyped-decorator]
def deliver_webhooks() -> None:
    """Try again what failed and is due, and what a worker left behind."""
    do_deliver_due()
