"""What the wallet's pages show of a wallet and of a payment, in few queries; tenants come in by organization only."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import F

from billing.models import AutoRecharge, BalanceAlert, Dispute, PayingCustomer, Payment, PromoLot, Refund, Wallet
from billing.payments.mode import is_current
from billing.payments.objects import WON
from komilion.common.errors import NotFound

LOTS = 20


@dataclass(frozen=True, slots=True)
class WalletOverview:
    """`customer` as far as it is good here now; `lots` have something left and stand in the order of spending."""

    wallet: Wallet
    customer: PayingCustomer | None
    auto_recharge: AutoRecharge | None
    alert: BalanceAlert | None
    lots: Sequence[PromoLot]

    @property
    def has_card(self) -> bool:
        """Whether a card is kept that automatic top-ups can use."""
        return self.customer is not None and bool(self.customer.payment_method_id)


def wallet_overview(organization_id: int) -> WalletOverview:
    """The wallet and what was set up around it. Raises `NotFound` where the organization has no wallet."""
    around = ("customer", "auto_recharge", "balance_alert")
    wallet = Wallet.objects.filter(pk=organization_id).select_related(*around).first()
    if wallet is None:
        raise NotFound
    customer, auto_recharge, alert = (getattr(wallet, name, None) for name in around)
    lots = PromoLot.objects.filter(wallet=wallet, remaining_nano__gt=0)
    return WalletOverview(
        wallet=wallet,
        customer=customer if customer is not None and is_current(customer) else None,
        auto_recharge=auto_recharge,
        alert=alert,
        lots=list(lots.order_by(F("expires_at").asc(nulls_last=True), "pk")[:LOTS]),
    )


def wallet_of(organization_id: int) -> Wallet:
    """The wallet alone. Raises `NotFound` where there is none."""
    wallet = Wallet.objects.filter(pk=organization_id).first()
    if wallet is None:
        raise NotFound
    return wallet


@dataclass(frozen=True, slots=True)
class PaymentAftermath:
    """What happened to a payment later; refunds that failed are among `refunds`, but not in the sum."""

    refunds: Sequence[Refund]
    disputes: Sequence[Dispute]
    refunded_credit_cents: int
    is_disputed: bool


def payment_aftermath(payment: Payment) -> PaymentAftermath:
    """Refunds and disputes of a payment, oldest first."""
    refunds = list(payment.refunds.order_by("created_at", "pk"))
    disputes = list(payment.disputes.order_by("created_at", "pk"))
    return PaymentAftermath(
        refunds=refunds,
        disputes=disputes,
        refunded_credit_cents=sum(row.credit_cents for row in refunds if row.state != Refund.State.FAILED),
        is_disputed=any(row.state not in WON for row in disputes),
    )
