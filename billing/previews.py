"""What the ledger would answer to a hold, without placing it: for estimates. A moment later it may answer otherwise."""

from billing.cap_periods import current_start
from billing.ledger.decide import Books
from billing.ledger.items import Outcome, Place, WalletState
from billing.models import Cap, CapUse, Wallet
from komilion.common.clock import utc_now
from komilion.common.errors import NotFound


def preview_hold(item: Place) -> Outcome:
    """`Granted`, `Refused` or `NeedsCount`, by the ledger's own rules; whether the key still may ask is not looked at.

    Raises `NotFound` for an organization without a wallet.
    """
    wallet = Wallet.objects.filter(organization_id=item.wallet_id).first()
    if wallet is None:
        raise NotFound("There is no such wallet.")
    books = Books()
    books.wallets[item.wallet_id] = WalletState(
        id=item.wallet_id,
        available=wallet.available_nano,
        held=wallet.held_nano,
        paid=wallet.paid_nano,
        promo=wallet.promo_nano,
        debt=wallet.debt_nano,
    )
    books.organization_epoch[item.wallet_id] = item.organization_epoch
    if item.key_id is not None:
        books.key_auth[item.key_id] = (item.key_epoch, item.organization_epoch, True)
    if item.capped_keys:
        books.caps.read_of_keys(_cap_rows(item))
    return books.place(item)


def _cap_rows(item: Place) -> list[tuple[object, ...]]:
    """As `Sql.caps_of_keys` reads them: each cap with its use in the running period."""
    caps = Cap.objects.filter(wallet_id=item.wallet_id, kind=Cap.Kind.KEY, subject_id__in=item.capped_keys)
    today = utc_now().date()
    rows: list[tuple[object, ...]] = []
    for cap in caps.order_by("pk"):
        start = current_start(cap.period, today)
        use = CapUse.objects.filter(cap_id=cap.pk, starts_on=start).first()
        used = (None, None) if use is None else (use.reserved_nano, use.spent_nano)
        rows.append((cap.pk, cap.subject_id, cap.period, cap.limit_nano, start.isoformat(), *used))
    return rows
