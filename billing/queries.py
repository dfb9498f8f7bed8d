"""Reads of money for pages, commands and APIs; tenants come in by organization only."""

from billing.models import Wallet
from komilion.common.money import format_usd


def wallet_summary(organization_id: int) -> dict[str, str]:
    """`{"available", "held", "paid", "promo", "debt"}` in US dollars; paid + promo = available + held."""
    wallet = Wallet.objects.get(organization_id=organization_id)
    return {
        "available": format_usd(wallet.available_nano),
        "held": format_usd(wallet.held_nano),
        "paid": format_usd(wallet.paid_nano),
        "promo": format_usd(wallet.promo_nano),
        "debt": format_usd(wallet.debt_nano),
    }
