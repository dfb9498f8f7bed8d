"""Jobs of the advisor; the schedule stands in komilion.celery."""

import logging

from celery import shared_task

from advisor.actions.evidence import do_build_due
from komilion.common.clock import utc_now

log = logging.getLogger(__name__)


@shared_task  # type: ignore[untyped-decorator]
def build_evidence() -> None:
    """Sum up the days that are over."""
    built = do_build_due(utc_now())
    if built:
        log.info("evidence built", extra={"days": [str(day) for day in built]})
