"""Test money: what Stripe would have said, said by us. Only where `payment_mode` is `test`.

The objects take the same way as Stripe's from there on: the same checks, the same ledger.
"""

from typing import Any

from django.db import DatabaseError

from billing.models import Payment, TopUpOrder
from billing.payments.mode import TEST_PREFIX
from billing.payments.signature import Event
from komilion.common.play_money import trouble_of_test_money


def refusal_of_test_money(setup: Any) -> str:
    """Why `TEST_PAYMENTS=1` may not be by these settings and by the database; empty where it may."""
    try:
        return trouble_of_test_money(setup) or trouble_of_database()
    except DatabaseError as error:
        return f"TEST_PAYMENTS=1 asks the database for real payments, which fails: {error}"


def trouble_of_database() -> str:
    """Why test money may not go into this database; empty where it may. Raises Django's `DatabaseError`."""
    if Payment.objects.filter(livemode=True).exists():
        return "TEST_PAYMENTS=1 gives credit away, and this database holds payments of real money"
    return ""


def customer_id_for(wallet_id: int) -> str:
    """The customer of an organization that pays with test money."""
    return f"{TEST_PREFIX}{wallet_id}"


def payment_id_for(order: TopUpOrder) -> str:
    """The payment of an order."""
    return f"{TEST_PREFIX}{order.pk}"


def session_event(order: TopUpOrder, *, is_paid: bool) -> Event:
    """The end of a Checkout session, paid or run out."""
    session = {
        "id": f"{TEST_PREFIX}session-{order.pk}",
        "payment_intent": payment_id_for(order),
        "customer": order.customer_id,
        "client_reference_id": str(order.wallet_id),
        "amount_subtotal": order.credit_cents + order.fee_cents,
        "amount_total": order.credit_cents + order.fee_cents,
        "total_details": {"amount_tax": 0, "amount_discount": 0},
        "currency": order.currency,
        "livemode": False,
        "payment_status": "paid" if is_paid else "unpaid",
        "metadata": {"order_id": order.pk},
    }
    kind = "checkout.session.completed" if is_paid else "checkout.session.expired"
    return Event(f"{TEST_PREFIX}event-{order.pk}", kind, livemode=False, object=session)


def intent_event(order: TopUpOrder) -> Event:
    """A saved test card that was charged."""
    intent = {
        "id": payment_id_for(order),
        "customer": order.customer_id,
        "amount": order.credit_cents + order.fee_cents,
        "amount_received": order.credit_cents + order.fee_cents,
        "currency": order.currency,
        "livemode": False,
        "status": "succeeded",
        "metadata": {"order_id": order.pk},
    }
    return Event(f"{TEST_PREFIX}event-{order.pk}", "payment_intent.succeeded", livemode=False, object=intent)
