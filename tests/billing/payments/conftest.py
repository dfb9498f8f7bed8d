"""A wallet of Alice's that nobody paid into yet, a fake Stripe, and events that are signed as Stripe signs them."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
import stripe
from django.test import Client

from accounts.models import Membership, Organization, Role, User
from billing.models import LedgerEntry, PayingCustomer, TopUpOrder
from komilion.common.ids import new_id
from tests.billing.ledger_database import LedgerDatabase, new_name
from tests.billing.payments.recharging import switch_on
from tests.fakes.stripe import FakeStripe, running_fake_stripe

SECRET = "whsec_of_the_tests_0123456789"
KEY = "sk_test_of_the_tests_0123456789"
CUSTOMER = "cus_alice"
_numbers = count(1)

type Object = dict[str, Any]


@pytest.fixture(scope="session")
def one_fake_stripe() -> Iterator[FakeStripe]:
    with running_fake_stripe() as fake:
        yield fake


@pytest.fixture
def fake_stripe(one_fake_stripe: FakeStripe, settings: Any) -> FakeStripe:
    """Where Stripe is, in its test mode; empty."""
    one_fake_stripe.clear()
    settings.STRIPE_SECRET_KEY = KEY
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_API_BASE = one_fake_stripe.url
    settings.TEST_PAYMENTS = False
    return one_fake_stripe


@pytest.fixture
def test_money(settings: Any) -> None:
    """No Stripe, test money."""
    settings.TEST_PAYMENTS = True
    settings.STRIPE_SECRET_KEY = ""


@dataclass
class Alice:
    """An organization on trial with a wallet, and its owner."""

    ledger: LedgerDatabase
    id: int
    email: str

    @property
    def organization(self) -> Organization:
        return Organization.objects.get(pk=self.id)

    def wallet(self) -> dict[str, int]:
        """Available, held, paid, promo and debt in cents."""
        return {name: nano // 10_000_000 for name, nano in self.ledger.wallet(self.id).items()}

    def balance(self) -> tuple[int, int]:
        """Paid credit and debt, in cents."""
        wallet = self.wallet()
        return wallet["paid"], wallet["debt"]

    def entries(self) -> list[tuple[str, int]]:
        """What happened to the wallet, with amounts in cents."""
        rows = LedgerEntry.objects.filter(wallet_id=self.id).order_by("pk")
        return [(row.kind, row.amount_nano // 10_000_000) for row in rows]

    def order(self, credit_cents: int = 1_000, **fields: Any) -> TopUpOrder:
        """An order that waits to be paid on Stripe's page."""
        given = {"kind": "checkout", "livemode": False, "customer_id": CUSTOMER, "created_by": self.email, **fields}
        return TopUpOrder.objects.create(id=new_id("top"), wallet_id=self.id, credit_cents=credit_cents, **given)

    def customer(self, **fields: Any) -> PayingCustomer:
        """The organization at Stripe."""
        given = {"customer_id": CUSTOMER, "livemode": False, **fields}
        return PayingCustomer.objects.update_or_create(wallet_id=self.id, defaults=given)[0]

    def card(self) -> PayingCustomer:
        """The organization at Stripe with a saved card."""
        return self.customer(payment_method_id="pm_1", card_brand="visa", card_last4="4242", card_expires="2030-01")

    def top_up(self, credit_cents: int = 1_000, **fields: Any) -> TopUpOrder:
        """An order that is paid and credited; its payment is `pi_` and the order's id."""
        order = self.order(credit_cents, **fields)
        assert deliver(session_event(order)) == 200
        order.refresh_from_db()
        assert order.state == "paid"
        return order

    def spend(self, cents: int) -> None:
        """Have so much paid credit used up."""
        from billing.ledger.items import Movement

        self.ledger.commit(Movement(new_name("spent"), "adjust", self.id, cents * 10_000_000))


def new_alice(ledger: LedgerDatabase) -> Alice:
    organization = Organization.objects.create(name=new_name("Alice's"), tier="free", limits={"parallel": 2})
    user = User(email=f"{new_name('alice')}@example.com", password="!")
    user.save()
    Membership.objects.create(organization=organization, user=user, role=Role.OWNER)
    from billing.actions.wallets import do_open_wallet

    do_open_wallet(organization.pk)
    return Alice(ledger, organization.pk, user.email)


@pytest.fixture
def alice(sqlite_ledger: LedgerDatabase, valkey_url: str) -> Alice:
    """Alice's organization, on SQLite."""
    return new_alice(sqlite_ledger)


@pytest.fixture
def ready(alice: Alice, fake_stripe: FakeStripe) -> Alice:
    """Alice with a saved card, $6.00 and automatic top-up below $5.00."""
    alice.card()
    alice.top_up(600)
    switch_on(alice)
    return alice


def payment_of(order: TopUpOrder) -> str:
    """The PaymentIntent that pays an order in these tests."""
    return f"pi_{order.pk}"


def session_of(order: TopUpOrder, **changes: Any) -> Object:
    """The Checkout session of an order, paid."""
    amount = order.credit_cents + order.fee_cents
    return {
        "id": f"cs_{order.pk}",
        "object": "checkout.session",
        "payment_intent": payment_of(order),
        "customer": order.customer_id,
        "client_reference_id": str(order.wallet_id),
        "amount_subtotal": amount,
        "amount_total": amount,
        "total_details": {"amount_tax": 0, "amount_discount": 0},
        "currency": "usd",
        "livemode": False,
        "payment_status": "paid",
        "metadata": {"order_id": order.pk},
        **changes,
    }


def intent_of(order: TopUpOrder, **changes: Any) -> Object:
    """The PaymentIntent of an order, succeeded."""
    amount = order.credit_cents + order.fee_cents
    return {
        "id": payment_of(order),
        "object": "payment_intent",
        "customer": order.customer_id,
        "amount": amount,
        "amount_received": amount,
        "currency": "usd",
        "livemode": False,
        "status": "succeeded",
        "latest_charge": f"ch_{order.pk}",
        "payment_method": "pm_1",
        "metadata": {"order_id": order.pk},
        **changes,
    }


def refund_of(payment: str, cents: int, status: str = "succeeded", **changes: Any) -> Object:
    """A refund as Stripe tells of it."""
    return {
        "id": f"re_{payment}",
        "payment_intent": payment,
        "amount": cents,
        "currency": "usd",
        "status": status,
        "metadata": {},
        **changes,
    }


def dispute_of(payment: str, cents: int, status: str = "needs_response", **changes: Any) -> Object:
    """A dispute as Stripe tells of it."""
    return {
        "id": f"dp_{payment}",
        "payment_intent": payment,
        "amount": cents,
        "currency": "usd",
        "status": status,
        "evidence_details": {"due_by": 1_900_000_000},
        **changes,
    }


def event(kind: str, found: Mapping[str, Any], **changes: Any) -> Object:
    """An event of Stripe's; each call makes another one."""
    number = next(_numbers)
    return {
        "id": f"evt_{number}",
        "object": "event",
        "type": kind,
        "livemode": False,
        "data": {"object": dict(found)},
        **changes,
    }


def session_event(order: TopUpOrder, kind: str = "completed", **changes: Any) -> Object:
    """`checkout.session.KIND` of an order."""
    return event(f"checkout.session.{kind}", session_of(order, **changes))


def intent_event(order: TopUpOrder, kind: str = "succeeded", **changes: Any) -> Object:
    """`payment_intent.KIND` of an order."""
    return event(f"payment_intent.{kind}", intent_of(order, **changes))


def deliver(body: Object | str, secret: str = SECRET, timestamp: int | None = None) -> int:
    """The webhook's answer to a signed event."""
    text = body if isinstance(body, str) else json.dumps(body)
    return post(text, stripe.WebhookSignature.generate_signature_header(text, secret, timestamp))


def post(text: str | bytes, signature: str) -> int:
    """The webhook's answer to a body with that signature."""
    headers = {"Stripe-Signature": signature}
    answer = Client().post("/webhooks/stripe", data=text, content_type="application/json", headers=headers)
    return answer.status_code


class Alarms(logging.Handler):
    """The `alarm` of every error that is logged, in `names`."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "alarm"):
            self.names.append(record.alarm)


@pytest.fixture
def alarms() -> Iterator[Alarms]:
    """What the operator would be woken for."""
    handler = Alarms()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)
