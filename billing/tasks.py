"""Jobs of the ledger; the schedule stands in komilion.celery."""

import logging

from celery import shared_task
from django.conf import settings

from billing.actions.alerts import do_send_alerts, do_send_receipts
from billing.actions.balances import do_mark_balances
from billing.actions.breakage import do_book_breakage
from billing.actions.credits import do_repair_follow_ups
from billing.actions.evidence import do_forget_payers
from billing.actions.idempotency import do_purge_answers
from billing.actions.recharge import do_start_recharges
from billing.actions.recharge_attempts import do_attempt_recharges
from billing.actions.reconcile import do_reconcile
from billing.actions.refunds import do_sweep_refunds
from billing.actions.rollups import do_rebuild, do_roll_forward
from billing.errors import StoreBusy, StoreUnavailable
from billing.ledger.reap import reap
from billing.partitions import ensure_partitions as make_partitions
from billing.rollups import last_days
from komilion.common.clock import utc_now
from komilion.common.mail import MailServerTrouble

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


@shared_task  # type: ignore[untyped-decorator]
def purge_answers() -> None:
    """Forget the answers of calls with an Idempotency-Key that are past their time."""
    purged = do_purge_answers()
    if purged:
        log.info("answers purged", extra={"answers": purged})


@shared_task  # type: ignore[untyped-decorator]
def mark_balances() -> None:
    """Keep old pages of statements quick."""
    do_mark_balances()


@shared_task  # type: ignore[untyped-decorator]
def roll_up_usage() -> None:
    """Bring the sums of usage rows up to date."""
    do_roll_forward()


@shared_task  # type: ignore[untyped-decorator]
def recheck_usage() -> None:
    """Compare the sums of the last weeks with their rows and repair them; there should be nothing to repair."""
    repaired = do_rebuild(last_days(settings.USAGE_RECHECK_DAYS))
    if repaired:
        log.error("sums of usage rows were wrong", extra={"alarm": "usage_sums_repaired", "repaired": repaired})


@shared_task  # type: ignore[untyped-decorator]
def recharge() -> None:
    """Top up by the saved card where credit runs low, and learn what came of earlier attempts."""
    do_start_recharges()
    do_attempt_recharges()


@shared_task  # type: ignore[untyped-decorator]
def sweep_payments() -> None:
    """Go on with what a crash or Stripe's silence left half done."""
    do_repair_follow_ups()
    do_sweep_refunds()


@shared_task  # type: ignore[untyped-decorator]
def write_letters() -> None:
    """Low balance and receipts, by e-mail. A server that is away is not asked again for each letter of the run."""
    try:
        do_send_alerts()
        do_send_receipts()
    except MailServerTrouble as error:
        log.warning("letters wait for the mail server", extra={"error": str(error)})


@shared_task  # type: ignore[untyped-decorator]
def reconcile_payments() -> None:
    """Compare the last days with Stripe; there should be nothing to repair."""
    do_reconcile()


@shared_task  # type: ignore[untyped-decorator]
def book_breakage() -> None:
    """Take back promo credit that ended unused."""
    do_book_breakage()


@shared_task  # type: ignore[untyped-decorator]
def forget_payers() -> None:
    """Forget who paid, where the person is gone and no bank can dispute it any more."""
    forgotten = do_forget_payers()
    if forgotten:
        log.info("payers forgotten", extra={"rows": forgotten})
