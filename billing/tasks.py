"""Jobs of the ledger; the schedule stands in komilion.celery."""

import logging

from celery import shared_task

from billing.errors import StoreBusy, StoreUnavailable
from billing.ledger.reap import reap
from billing.partitions import ensure_partitions as make_partitions
from komilion.common.clock import utc_now

log = logging.getLogger(__name__)


@shared_task  # type: ignore[untyped-decorator]
def reap_holds() -> None:
    """Expire what is overdue or orphaned."""
    try:
        reap()
    except (StoreUnavailable, StoreBusy) as error:
        log.warning("nothing reaped this time", extra={"error": str(error)})


@shared_task  # type: ignore[untyped-decorator]
def ensure_partitions() -> None:
    """Keep the usage table's next months ready."""
    for name in make_partitions(utc_now().date()):
        log.info("partition made", extra={"partition": name})
