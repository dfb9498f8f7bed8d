"""The state of the money as an operator watches it: sums over all tenants, for `/metrics`."""

from django.db.models import Count, Min, Q, Sum

from billing.models import Dispute, Hold, HoldState, TopUpOrder, Wallet
from komilion.common.clock import utc_now


def ledger_state() -> dict[str, tuple[str, float]]:
    """Name -> (what it is, value). Four queries by index, but for the one over all wallets."""
    wallets = Wallet.objects.aggregate(
        available=Sum("available_nano", default=0),
        held=Sum("held_nano", default=0),
        paid=Sum("paid_nano", default=0),
        promo=Sum("promo_nano", default=0),
        debt=Sum("debt_nano", default=0),
        in_debt=Count("pk", filter=Q(debt_nano__gt=0)),
    )
    holds = Hold.objects.filter(state=HoldState.OPEN).aggregate(count=Count("pk"), oldest=Min("created_at"))
    age_s = (utc_now() - holds["oldest"]).total_seconds() if holds["oldest"] else 0.0
    unknown = TopUpOrder.objects.filter(state=TopUpOrder.State.UNKNOWN).count()
    disputes = Dispute.objects.filter(ended_at__isnull=True).count()
    return {
        "wallets_available_nano_usd": ("Credit of all wallets that can be spent.", wallets["available"]),
        "wallets_held_nano_usd": ("Credit that running calls have reserved.", wallets["held"]),
        "wallets_paid_nano_usd": ("Credit that was paid for.", wallets["paid"]),
        "wallets_promo_nano_usd": ("Credit that was given away.", wallets["promo"]),
        "wallets_debt_nano_usd": ("What tenants owe.", wallets["debt"]),
        "wallets_in_debt": ("Wallets that owe something.", wallets["in_debt"]),
        "open_holds": ("Holds that are neither settled nor released.", holds["count"]),
        "oldest_open_hold_seconds": ("Age of the oldest of them.", max(0.0, age_s)),
        "unknown_recharges": ("Automatic top-ups whose outcome must be looked up.", unknown),
        "open_disputes": ("Charge-backs that are not decided.", disputes),
    }
