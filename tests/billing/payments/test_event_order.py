"""Events come in any order, more than once and at the same time; the wallet ends the same."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from billing.ledger.verify import differences
from billing.models import Dispute, PaymentEvent, Refund, TopUpOrder
from tests.billing.ledger_database import LedgerDatabase
from tests.billing.payments.conftest import (
    Alice,
    Object,
    deliver,
    dispute_of,
    event,
    intent_event,
    intent_of,
    new_alice,
    payment_of,
    refund_of,
    session_event,
    session_of,
)
from tests.fakes.stripe import FakeStripe

SAMPLES = 2
MANY_SAMPLES = 25
EVENTS = 10
DELIVERIES = 100
THREADS = 8

type Story = Callable[[TopUpOrder], list[Object]]


def paid(order: TopUpOrder) -> list[Object]:
    """Everything that tells of a payment, and of a page that ran out meanwhile."""
    return [session_event(order), intent_event(order), session_event(order, "expired", payment_status="unpaid")]


def disputed(status: str) -> Story:
    """Paid, then disputed, with this end."""

    def story(order: TopUpOrder) -> list[Object]:
        payment = payment_of(order)
        closed = dispute_of(payment, 1_000, status)
        after = [event("charge.dispute.funds_reinstated", closed)] if status == "won" else []
        opened = dispute_of(payment, 1_000)
        told = [event("charge.dispute.created", opened), event("charge.dispute.funds_withdrawn", opened)]
        return [*paid(order), *told, event("charge.dispute.closed", closed), *after]

    return story


def refunded_at_stripe(*statuses: str) -> Story:
    """Paid, then given back by the operator at Stripe, with these states."""

    def story(order: TopUpOrder) -> list[Object]:
        refunds = [refund_of(payment_of(order), 400, status) for status in statuses]
        kinds = ["refund.failed" if status == "failed" else "refund.updated" for status in statuses]
        told = [event(kind, refund) for kind, refund in zip(kinds, refunds, strict=True)]
        return [*paid(order), event("refund.created", refund_of(payment_of(order), 400, "pending")), *told]

    return story


def refunded_and_disputed(order: TopUpOrder) -> list[Object]:
    """A refund that fails in the end, and a dispute of the rest."""
    payment = payment_of(order)
    dispute = event("charge.dispute.created", dispute_of(payment, 600))
    refund = [
        event("refund.created", refund_of(payment, 400)),
        event("refund.failed", refund_of(payment, 400, "failed")),
    ]
    return [*paid(order), *refund, dispute]


STORIES: dict[str, tuple[Story, tuple[int, int], bool]] = {  # paid and debt in cents, whether suspended
    "paid": (paid, (1_000, 0), False),
    "disputed and lost": (disputed("lost"), (0, 0), True),
    "disputed and won": (disputed("won"), (1_000, 0), False),
    "refunded": (refunded_at_stripe("succeeded"), (600, 0), False),
    "refund failed": (refunded_at_stripe("succeeded", "failed"), (1_000, 0), False),
    "refund failed, rest disputed": (refunded_and_disputed, (400, 0), True),
}


def known_to_stripe(fake: FakeStripe, order: TopUpOrder) -> TopUpOrder:
    """What we read from Stripe when an event overtakes the one that credits."""
    fake.put("payment_intents", **intent_of(order))
    fake.put("checkout/sessions", **session_of(order))
    return order


def check(alice: Alice, balance: tuple[int, int], *, suspended: bool) -> None:
    assert alice.balance() == balance
    assert (alice.organization.suspended_at is not None) == suspended
    assert TopUpOrder.objects.get(wallet_id=alice.id).state == "paid"


def play(ledger: LedgerDatabase, fake: FakeStripe, name: str, samples: int) -> None:
    """The story in so many random orders, one event of each twice, for a new organization each time."""
    story, balance, suspended = STORIES[name]
    for seed in range(samples):
        alice = new_alice(ledger)
        told = story(known_to_stripe(fake, alice.order()))
        chance = random.Random(f"{name} {seed}")
        told.append(chance.choice(told))
        chance.shuffle(told)
        assert {deliver(one) for one in told} == {200}
        check(alice, balance, suspended=suspended)
    assert list(differences()) == []


@pytest.mark.usefixtures("valkey_url")
@pytest.mark.parametrize("name", STORIES)
def test_any_order_of_events_ends_with_the_same_balance(
    sqlite_ledger: LedgerDatabase, fake_stripe: FakeStripe, name: str
):
    play(sqlite_ledger, fake_stripe, name, SAMPLES)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("valkey_url")
@pytest.mark.parametrize("name", STORIES)
def test_many_orders_of_events_end_with_the_same_balance(ledger: LedgerDatabase, fake_stripe: FakeStripe, name: str):
    play(ledger, fake_stripe, name, MANY_SAMPLES)


@pytest.mark.slow
def test_a_hundred_parallel_deliveries_of_ten_events_are_ten_exact_credits(
    ledger: LedgerDatabase, fake_stripe: FakeStripe, valkey_url: str
):
    """Half of the events are second ones of payments that the other half tells of."""
    alice = new_alice(ledger)
    orders = [alice.order(500 + number) for number in range(EVENTS // 2)]
    told = [session_event(order) for order in orders]
    told += [session_event(order, "async_payment_succeeded") for order in orders]
    deliveries = told * (DELIVERIES // EVENTS)
    random.Random(7).shuffle(deliveries)

    def deliver_and_close(one: Object) -> int:
        try:
            return deliver(one)
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        statuses = list(pool.map(deliver_and_close, deliveries))
    assert set(statuses) == {200}
    assert sorted(alice.entries()) == sorted(("topup", order.credit_cents) for order in orders)
    assert alice.balance() == (sum(order.credit_cents for order in orders), 0)
    assert PaymentEvent.objects.count() == EVENTS
    assert list(differences()) == []


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("valkey_url")
@pytest.mark.parametrize("name", STORIES)
def test_events_that_come_at_the_same_time_end_with_the_same_balance(
    ledger: LedgerDatabase, fake_stripe: FakeStripe, name: str
):
    """What is answered with 503 is sent again, as Stripe does."""
    story, balance, suspended = STORIES[name]

    def deliver_until_done(one: Object) -> None:
        try:
            while deliver(one) != 200:
                pass
        finally:
            connection.close()

    for seed in range(SAMPLES):
        alice = new_alice(ledger)
        told = story(known_to_stripe(fake_stripe, alice.order())) * 2
        random.Random(f"{name} {seed}").shuffle(told)
        with ThreadPoolExecutor(THREADS) as pool:
            assert len(list(pool.map(deliver_until_done, told))) == len(told)
        check(alice, balance, suspended=suspended)
    assert list(differences()) == []


def test_a_dispute_that_overtakes_the_credit_waits_for_stripe_when_stripe_is_away(
    alice: Alice, fake_stripe: FakeStripe
):
    order = alice.order()
    told = event("charge.dispute.created", dispute_of(payment_of(order), 1_000))
    fake_stripe.answer("GET", f"payment_intents/{payment_of(order)}", 500)
    assert deliver(told) == 503
    assert PaymentEvent.objects.count() == 0
    known_to_stripe(fake_stripe, order)
    assert deliver(told) == 200
    assert alice.entries() == [("topup", 1_000), ("chargeback", 1_000)]
    assert Dispute.objects.get().state == "needs_response"


@pytest.mark.parametrize("kind", ["refund.created", "charge.dispute.created"])
def test_news_of_payments_that_are_none_of_ours_change_nothing(alice: Alice, fake_stripe: FakeStripe, kind: str):
    found = refund_of("pi_foreign", 100) if kind.startswith("refund") else dispute_of("pi_foreign", 100)
    assert deliver(event(kind, found)) == 200
    fake_stripe.put("payment_intents", id="pi_foreign", status="succeeded")
    assert deliver(event(kind, found)) == 200
    order = alice.order()
    fake_stripe.put("payment_intents", **intent_of(order, status="processing"))
    assert deliver(event(kind, {**found, "payment_intent": payment_of(order)})) == 200
    assert (Refund.objects.count(), Dispute.objects.count(), alice.entries()) == (0, 0, [])


def test_a_payment_whose_session_is_not_paid_credits_nothing(alice: Alice, fake_stripe: FakeStripe):
    order = alice.order()
    fake_stripe.put("payment_intents", **intent_of(order))
    assert deliver(event("charge.dispute.created", dispute_of(payment_of(order), 1_000))) == 200
    fake_stripe.put("checkout/sessions", **session_of(order, payment_status="unpaid"))
    assert deliver(event("charge.dispute.created", dispute_of(payment_of(order), 1_000))) == 200
    assert alice.entries() == []
