"""Money that a payment provider reports: movement, payment and event are written together, once."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from msgspec.structs import replace

from billing.ledger.items import Done, Failure, Movement, Refused
from billing.ledger.verify import differences
from billing.models import LedgerEntry, Payment, PaymentEvent, Posting
from tests.billing.ledger_database import LedgerDatabase, Tenant, payment_row, place, settle

CREDIT = 500


@pytest.fixture
def alice(ledger: LedgerDatabase) -> Tenant:
    return ledger.open_wallet()


def paid(tenant: Tenant, number: int = 1, event: str = "evt_1") -> Movement:
    """What the verified event of a payment asks for."""
    row = payment_row(tenant, number)
    return Movement(
        row["id"],
        "topup",
        tenant.wallet_id,
        CREDIT,
        payment=row,
        event_id=event,
        event_type="payment_intent.succeeded",
    )


def events() -> set[str]:
    return set(PaymentEvent.objects.values_list("pk", flat=True))


def test_a_payment_is_credited_and_recorded_in_one_transaction(ledger, alice):
    assert ledger.commit(paid(alice)) == [Done(True, CREDIT)]
    (payment,) = Payment.objects.values()
    row = payment_row(alice, 1)
    assert {name: payment[name] for name in row} == row
    assert PaymentEvent.objects.get().type == "payment_intent.succeeded"
    assert list(differences()) == []


def test_the_same_event_again_changes_nothing(ledger, alice):
    assert ledger.commit(paid(alice), paid(alice)) == [Done(True, CREDIT), Done(False, CREDIT)]
    assert ledger.commit(paid(alice)) == [Done(False, CREDIT)]
    assert (Payment.objects.count(), PaymentEvent.objects.count()) == (1, 1)


def test_another_event_about_the_same_payment_is_recorded_and_credits_nothing(ledger, alice):
    ledger.commit(paid(alice))
    assert ledger.commit(paid(alice, event="evt_2")) == [Done(False, CREDIT)]
    assert events() == {"evt_1", "evt_2"}


def test_a_payment_is_credited_once_by_whatever_reference(ledger, alice):
    ledger.commit(paid(alice))
    again = replace(paid(alice, event="evt_2"), reference="top-other")
    assert ledger.commit(again) == [Done(False, CREDIT)]
    assert events() == {"evt_1", "evt_2"}
    assert Payment.objects.count() == 1


def test_one_event_may_bring_two_movements(ledger, alice):
    ledger.commit(paid(alice))
    back = Movement("dp_1", "chargeback", alice.wallet_id, 200, event_id="evt_2", event_type="dispute")
    fee = Movement("dp_1-fee", "adjust", alice.wallet_id, 100, event_id="evt_2", event_type="dispute")
    assert ledger.commit(back, fee) == [Done(True, 300), Done(True, 200)]
    assert events() == {"evt_1", "evt_2"}


def test_what_is_refused_records_no_event(ledger, alice):
    refund = Movement("ref-1", "refund", alice.wallet_id, 5, event_id="evt_1", event_type="refund")
    assert ledger.commit(refund) == [Refused(0, 5)]
    assert events() == set()


def test_a_second_payment_for_one_order_is_a_failure_that_credits_nothing(ledger, alice):
    ledger.commit(paid(alice))
    other = paid(alice, 2, "evt_2")
    assert other.payment is not None
    other.payment["order_id"] = payment_row(alice, 1)["order_id"]
    (outcome,) = ledger.commit(other)
    assert isinstance(outcome, Failure)
    assert ledger.wallet(alice.wallet_id)["paid"] == CREDIT
    assert events() == {"evt_1"}


def test_a_hundred_deliveries_of_ten_events_are_ten_credits(ledger, alice):
    bob = ledger.open_wallet()
    deliveries = [paid(alice if n % 2 else bob, n, f"evt_{n}") for n in range(10) for _ in range(10)]
    random.Random(1).shuffle(deliveries)

    def deliver(movement: Movement) -> bool:
        try:
            (outcome,) = ledger.commit(movement)
        finally:
            connection.close()
        assert isinstance(outcome, Done)
        return outcome.changed

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(deliver, deliveries)) == 10
    assert ledger.wallet(alice.wallet_id)["paid"] == ledger.wallet(bob.wallet_id)["paid"] == 5 * CREDIT
    assert (Payment.objects.count(), len(events())) == (10, 10)
    assert list(differences()) == []


# charge-backs


def postings(reference: str) -> dict[tuple[str, str], int]:
    rows = Posting.objects.filter(entry__reference=reference).values_list("source", "target", "amount_nano")
    return {(source, target): amount for source, target, amount in rows}


def test_a_charge_back_takes_what_is_there(ledger, alice):
    ledger.commit(paid(alice))
    assert ledger.commit(Movement("dp_1", "chargeback", alice.wallet_id, 300)) == [Done(True, 200)]
    assert postings("dp_1") == {("paid", "payment_clearing"): 300}


def test_what_a_charge_back_does_not_find_becomes_debt(ledger, alice):
    ledger.commit(paid(alice), Movement("gift", "grant", alice.wallet_id, 50))
    hold = place(alice, 350)
    ledger.commit(hold)
    taken = Movement("dp_1", "chargeback", alice.wallet_id, 500)
    assert ledger.commit(taken) == [Done(True, 0, debt=300)]
    assert ledger.commit(taken) == [Done(False, 0, debt=300)]
    assert postings("dp_1") == {("paid", "payment_clearing"): 200, ("debt", "payment_clearing"): 300}
    assert LedgerEntry.objects.get(reference="dp_1").amount_nano == 500
    assert list(differences()) == []
    ledger.commit(settle(alice, hold.request_id, ledger.price(), 40))
    assert ledger.wallet(alice.wallet_id) == {"available": 0, "held": 0, "paid": 0, "promo": 0, "debt": 0}
    assert list(differences()) == []


def test_a_charge_back_that_is_won_pays_its_debt_first(ledger, alice):
    ledger.commit(Movement("dp_1", "chargeback", alice.wallet_id, 500))
    assert ledger.wallet(alice.wallet_id)["debt"] == 500
    won = Movement("dp_1", "chargeback_reversed", alice.wallet_id, 500, event_id="evt_9", event_type="won")
    assert ledger.commit(won) == [Done(True, 0, debt=0)]
    assert postings("dp_1")[("payment_clearing", "paid")] == 500
    assert postings("dp_1")[("paid", "debt")] == 500
    assert events() == {"evt_9"}
    assert list(differences()) == []
