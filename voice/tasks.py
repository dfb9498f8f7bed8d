"""Jobs of voice; the schedule stands in komilion.celery."""

import logging

from celery import shared_task

from voice.actions.uploads import do_sweep_uploads

log = logging.getLogger(__name__)


@shared_task  # type: ignore[untyped-decorator]
def sweep_uploads() -> None:
    """Delete files that are over, and those that nothing knows of."""
    deleted = do_sweep_uploads()
    if deleted:
        log.info("uploads deleted", extra={"uploads": deleted})
