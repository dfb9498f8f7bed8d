"""Reads of payments for pages; tenants come in by organization only."""

from collections.abc import Collection
from itertools import chain

from django.db.models import OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from billing.models import Dispute, LedgerEntry, Payment, Refund, TopUpOrder
from billing.payments.objects import ENDED
from komilion.common.errors import NotFound

ROWS = 100


def open_orders_of(organization_id: int, limit: int = ROWS) -> list[TopUpOrder]:
    """Top-ups that may still be paid, newest first; not the automatic ones, which nobody pays by hand."""
    orders = TopUpOrder.objects.filter(wallet_id=organization_id, state=TopUpOrder.State.OPEN)
    return list(orders.exclude(kind=TopUpOrder.Kind.RECHARGE).order_by("-created_at", "-pk")[:limit])


def order_of(organization_id: int, order_id: str) -> TopUpOrder:
    """A top-up that was asked for. Raises `NotFound`, also for another organization's."""
    order = TopUpOrder.objects.filter(wallet_id=organization_id, pk=order_id).first()
    if order is None:
        raise NotFound
    return order


def payments_of(organization_id: int, limit: int = ROWS) -> list[Payment]:
    """What was paid and credited, newest first, each with its `order` and the credit that went back (`back_cents`)."""
    back = Sum("refunds__credit_cents", filter=~Q(refunds__state=Refund.State.FAILED), default=0)
    payments = Payment.objects.filter(wallet_id=organization_id).select_related("order").annotate(back_cents=back)
    return list(payments.order_by("-created_at", "-pk")[:limit])


def payment_of(organization_id: int, payment_id: str) -> Payment:
    """One of them, with its `order`, for its receipt. Raises `NotFound`, also for another organization's."""
    payment = Payment.objects.filter(wallet_id=organization_id, pk=payment_id).select_related("order").first()
    if payment is None:
        raise NotFound
    return payment


def keeps_credit() -> Q:
    """Payments of which not all was given back."""
    given = Refund.objects.filter(payment=OuterRef("pk")).exclude(state=Refund.State.FAILED).values("payment")
    return Q(credit_cents__gt=Coalesce(Subquery(given.annotate(cents=Sum("credit_cents")).values("cents")), 0))


def has_paid(organization_id: int) -> bool:
    """Whether real money stands behind the organization: a payment of which not all was given back, or a top-up that
    an operator entered. Trial credit, grants and test money do not count.
    """
    return organization_id in paying([organization_id])


def paying(organization_ids: Collection[int]) -> frozenset[int]:
    """Those of these organizations that have paid, as `has_paid` has it."""
    payments = Payment.objects.filter(wallet_id__in=organization_ids)
    kept = payments.filter(keeps_credit(), livemode=True)
    topups = LedgerEntry.objects.filter(wallet_id__in=organization_ids, kind=LedgerEntry.Kind.TOPUP)
    entered = topups.exclude(reference__in=payments.values("pk"))
    found = (rows.values_list("wallet_id", flat=True).distinct() for rows in (kept, entered))
    return frozenset(chain.from_iterable(found))


def refunds_of(organization_id: int, limit: int = ROWS) -> list[Refund]:
    """What was given back, newest first, each with its `payment`."""
    refunds = Refund.objects.filter(wallet_id=organization_id).select_related("payment")
    return list(refunds.order_by("-created_at", "-pk")[:limit])


def disputes_of(organization_id: int, limit: int = ROWS) -> list[Dispute]:
    """Charge-backs, newest first, each with its `payment`."""
    disputes = Dispute.objects.filter(wallet_id=organization_id).select_related("payment")
    return list(disputes.order_by("-created_at", "-pk")[:limit])


def has_open_dispute(organization_id: int) -> bool:
    """Whether a payment is disputed and the case is still open. An inquiry is no dispute yet."""
    disputes = Dispute.objects.filter(wallet_id=organization_id).exclude(state__in=ENDED)
    return disputes.exclude(state__startswith="warning_").exists()


def money_under_way(organization_id: int) -> str:
    """What may still bring the organization money or take it, and how long to wait; empty where nothing may."""
    waiting = TopUpOrder.objects.filter(wallet_id=organization_id, state__in=TopUpOrder.WAITING)
    kinds = set(waiting.values_list("kind", flat=True))
    if TopUpOrder.Kind.CHECKOUT in kinds:
        return "a top-up that was begun can still be paid. Its payment page ends after a day; try again then."
    if TopUpOrder.Kind.RECHARGE in kinds:
        return "the outcome of an automatic top-up is not known yet. Try again tomorrow."
    if Refund.objects.filter(wallet_id=organization_id, state=Refund.State.OPEN).exists():
        return "a refund has not ended yet. The wallet's page shows when it has; try again then."
    return ""
