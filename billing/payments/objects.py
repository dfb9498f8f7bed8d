"""Reads Stripe's objects, whether they came in a verified event or from the API. Amounts are cents.

A figure that is missing or no whole number becomes -1, which matches no order; a text that is missing becomes empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from billing.payments.client import metadata_of, order_id_of

WON = frozenset({"won", "prevented", "warning_closed"})
ENDED = WON | {"lost"}


@dataclass(frozen=True, slots=True)
class Paid:
    """Money that Stripe says was paid for an order: `net_cents` for credit and fee, `tax_cents` on top."""

    payment_id: str
    order_id: str
    session_id: str  # empty for a PaymentIntent without Checkout
    organization: str  # as we named it to Checkout; empty without
    customer_id: str
    net_cents: int
    tax_cents: int
    total_cents: int
    currency: str
    livemode: bool
    charge_id: str = ""


@dataclass(frozen=True, slots=True)
class RefundNews:
    """How a refund stands; `refund_id` is ours, empty where somebody made the refund at Stripe."""

    stripe_id: str
    refund_id: str
    payment_id: str
    amount_cents: int
    currency: str
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class DisputeNews:
    """How a dispute stands."""

    id: str
    payment_id: str
    amount_cents: int
    currency: str
    status: str
    respond_by: datetime | None

    @property
    def takes_money(self) -> bool:
        """Whether Stripe has taken the money; an inquiry (`warning_...`) takes none yet."""
        return not self.status.startswith("warning_") and self.status != "prevented"


@dataclass(frozen=True, slots=True)
class Card:
    """A card as people recognize it; `expires` is YYYY-MM."""

    payment_method_id: str
    customer_id: str
    brand: str
    last4: str
    expires: str


def read_session(session: Mapping[str, Any]) -> Paid:
    """A Checkout session."""
    details = session.get("total_details")
    return Paid(
        payment_id=id_of(session.get("payment_intent")),
        order_id=order_id_of(session),
        session_id=text_of(session, "id"),
        organization=text_of(session, "client_reference_id"),
        customer_id=id_of(session.get("customer")),
        net_cents=whole(session, "amount_subtotal"),
        tax_cents=whole(details, "amount_tax") if isinstance(details, dict) else 0,
        total_cents=whole(session, "amount_total"),
        currency=text_of(session, "currency"),
        livemode=session.get("livemode") is True,
    )


def read_intent(intent: Mapping[str, Any]) -> Paid:
    """A PaymentIntent without Checkout: no tax."""
    return Paid(
        payment_id=text_of(intent, "id"),
        order_id=order_id_of(intent),
        session_id="",
        organization="",
        customer_id=id_of(intent.get("customer")),
        net_cents=whole(intent, "amount_received" if "amount_received" in intent else "amount"),
        tax_cents=0,
        total_cents=whole(intent, "amount"),
        currency=text_of(intent, "currency"),
        livemode=intent.get("livemode") is True,
        charge_id=id_of(intent.get("latest_charge")),
    )


def read_refund(refund: Mapping[str, Any]) -> RefundNews:
    """A refund."""
    return RefundNews(
        stripe_id=text_of(refund, "id"),
        refund_id=str(metadata_of(refund).get("refund_id") or ""),
        payment_id=id_of(refund.get("payment_intent")),
        amount_cents=whole(refund, "amount"),
        currency=text_of(refund, "currency"),
        status=text_of(refund, "status"),
        reason=text_of(refund, "failure_reason"),
    )


def read_dispute(dispute: Mapping[str, Any]) -> DisputeNews:
    """A dispute."""
    evidence = dispute.get("evidence_details")
    due_by = whole(evidence, "due_by") if isinstance(evidence, dict) else -1
    return DisputeNews(
        id=text_of(dispute, "id"),
        payment_id=id_of(dispute.get("payment_intent")),
        amount_cents=whole(dispute, "amount"),
        currency=text_of(dispute, "currency"),
        status=text_of(dispute, "status"),
        respond_by=datetime.fromtimestamp(due_by, UTC) if due_by > 0 else None,
    )


def read_card(method: Mapping[str, Any]) -> Card:
    """A payment method; without a card it is named by its type."""
    card = method.get("card")
    card = card if isinstance(card, dict) else {}
    year, month = whole(card, "exp_year"), whole(card, "exp_month")
    return Card(
        payment_method_id=text_of(method, "id"),
        customer_id=id_of(method.get("customer")),
        brand=(text_of(card, "brand") or text_of(method, "type"))[:20],
        last4=text_of(card, "last4")[:4],
        expires=f"{year:04d}-{month:02d}" if year > 0 and 1 <= month <= 12 else "",
    )


def id_of(found: Any) -> str:
    """The id of what is named, or given whole."""
    if isinstance(found, dict):
        return text_of(found, "id")
    return found if isinstance(found, str) else ""


def text_of(found: Mapping[str, Any], name: str) -> str:
    """A text, or empty."""
    value = found.get(name)
    return value if isinstance(value, str) else ""


def whole(found: Mapping[str, Any], name: str) -> int:
    """A whole number that is not negative, or -1."""
    value = found.get(name)
    return value if type(value) is int and value >= 0 else -1
