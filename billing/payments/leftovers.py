"""Credit of test money that is not spent yet: once payments are real, it would buy answers that nobody pays for."""

from django.db.models import QuerySet, Sum

from billing.models import Dispute, LedgerEntry, Payment, Refund, Wallet
from billing.statement import CALL_KINDS, DELTA_SIGNS
from komilion.common.money import format_usd
from komilion.common.play_money import is_live_key

TAKE_AWAY = "manage.py wallet remove-test-credit"
MOVEMENTS_OF_MONEY = ("topup", "recredit", "refund", "chargeback", "chargeback_reversed")


def credit_left(wallets: QuerySet[Wallet] | None = None) -> dict[int, int]:
    """Nano-USD by wallet, of those that have any: what they have beyond all that was really paid or given back.

    Test money counts as spent first, so credit of real money is never taken for it.
    """
    played = Payment.objects.filter(livemode=False)
    found = (Wallet.objects.all() if wallets is None else wallets).filter(
        paid_nano__gt=0, pk__in=played.values("wallet_id")
    )
    worth = {wallet.pk: wallet.paid_nano - wallet.debt_nano for wallet in found.order_by("pk")}
    real = (
        LedgerEntry.objects.filter(wallet_id__in=found.values("pk"), kind__in=MOVEMENTS_OF_MONEY)
        .exclude(kind__in=CALL_KINDS)  # the index of movements asks for it
        .exclude(reference__in=played.values("pk"))
        .exclude(reference__in=Refund.objects.filter(payment__in=played).values("pk"))
        .exclude(reference__in=Dispute.objects.filter(payment__in=played).values("pk"))
    )
    for wallet_id, kind, total in real.values_list("wallet_id", "kind").annotate(total=Sum("amount_nano")):
        worth[wallet_id] = worth.get(wallet_id, 0) - DELTA_SIGNS[kind] * int(total)
    return {wallet_id: left for wallet_id, left in worth.items() if left > 0}


def refusal_of_real_money(stripe_key: str) -> str:
    """Why payments may not be real yet; empty where they may, or are not. Asks the database."""
    left = credit_left() if is_live_key(stripe_key) else {}
    if not left:
        return ""
    total = format_usd(sum(left.values()))
    return (
        f"STRIPE_SECRET_KEY is a live key, and ${total} of test money can still be spent from {len(left)} wallet(s); "
        f"{TAKE_AWAY} takes it away"
    )
