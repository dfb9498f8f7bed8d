"""Promo credit that ended unused goes back to the house."""

import logging

from billing.actions.wallets import do_move
from billing.errors import MovementRefused
from billing.ledger.items import Movement
from billing.models import PromoLot
from komilion.common.clock import utc_now

log = logging.getLogger(__name__)


def do_book_breakage() -> int:
    """Take back what ended lots have left and no running call may need; from how many. The rest comes tomorrow."""
    now = utc_now()
    ended = PromoLot.objects.filter(remaining_nano__gt=0, expires_at__lte=now).order_by("pk")
    return sum(_take(lot, f"breakage-{lot.pk}-{now:%Y%m%d}") for lot in ended)


def _take(lot: PromoLot, reference: str) -> bool:
    movement = Movement(
        reference=reference,
        kind="breakage",
        wallet_id=lot.wallet_id,
        amount=lot.remaining_nano,
        lot_id=lot.pk,
        memo=f"promo credit {lot.reference} has ended"[:200],
    )
    try:
        return do_move(movement).changed
    except MovementRefused as error:
        log.info("breakage not booked now", extra={"lot": lot.pk, "error": str(error)})
        return False
