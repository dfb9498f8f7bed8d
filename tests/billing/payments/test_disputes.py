"""Disputes: the credit goes, or debt comes; the organization is suspended until the dispute is won."""

from typing import Any

import pytest

from accounts.actions.organizations import do_suspend, do_unsuspend
from accounts.models import AuditEntry
from billing.ledger.verify import differences
from billing.models import Dispute
from tests.billing.payments.conftest import Alarms, Alice, deliver, dispute_of, event, payment_of, session_event

pytestmark = pytest.mark.usefixtures("fake_stripe")


@pytest.fixture
def paid(alice: Alice) -> str:
    """A payment of $10.00."""
    return payment_of(alice.top_up(1_000))


def tell(payment: str, kind: str, status: str, cents: int = 1_000, **changes: Any) -> None:
    assert deliver(event(f"charge.dispute.{kind}", dispute_of(payment, cents, status, **changes))) == 200


def is_suspended(alice: Alice) -> bool:
    return alice.organization.suspended_at is not None


def test_a_dispute_takes_the_credit_leaves_debt_where_it_is_spent_and_suspends(
    alice: Alice, paid: str, alarms: Alarms, mailoutbox: list[Any]
):
    alice.spend(700)
    tell(paid, "created", "needs_response")
    assert alice.balance() == (0, 700)
    assert is_suspended(alice)
    dispute = Dispute.objects.get()
    assert (dispute.state, dispute.amount_cents, dispute.credit_cents) == ("needs_response", 1_000, 1_000)
    assert dispute.respond_by is not None
    assert alarms.names == ["dispute_opened"]
    (mail,) = mailoutbox
    assert (mail.subject, mail.to) == ("A payment is disputed", [alice.email])
    assert "$10.00" in mail.body
    assert f"the wallet of {alice.organization.name}, which is suspended" in mail.body
    assert list(differences()) == []


def test_one_that_is_won_brings_credit_and_access_back(alice: Alice, paid: str):
    tell(paid, "created", "needs_response")
    tell(paid, "updated", "under_review")
    assert Dispute.objects.get().state == "under_review"
    tell(paid, "closed", "won")
    tell(paid, "funds_reinstated", "won")
    assert (alice.balance(), is_suspended(alice)) == ((1_000, 0), False)
    assert Dispute.objects.get().ended_at is not None
    assert alice.entries() == [("topup", 1_000), ("chargeback", 1_000), ("chargeback_reversed", 1_000)]
    entries = AuditEntry.objects.filter(organization_id=alice.id, action__startswith="dispute.").order_by("pk")
    assert list(entries.values_list("action", "actor", "subject")) == [
        ("dispute.chargeback", "stripe", "$10.00"),
        ("dispute.chargeback_reversed", "stripe", "$10.00"),
    ]


def test_one_that_is_lost_keeps_both_and_stays_lost(alice: Alice, paid: str):
    tell(paid, "closed", "lost")
    tell(paid, "updated", "under_review")
    assert (Dispute.objects.get().state, alice.balance(), is_suspended(alice)) == ("lost", (0, 0), True)


def test_an_inquiry_takes_nothing_until_it_becomes_a_dispute(alice: Alice, paid: str, mailoutbox: list[Any]):
    tell(paid, "created", "warning_needs_response")
    assert (alice.balance(), is_suspended(alice), mailoutbox) == ((1_000, 0), False, [])
    tell(paid, "updated", "needs_response")
    assert (alice.balance(), is_suspended(alice)) == ((0, 0), True)


def test_an_inquiry_that_is_closed_has_ended_well(alice: Alice, paid: str):
    tell(paid, "created", "warning_needs_response")
    tell(paid, "closed", "warning_closed")
    assert (Dispute.objects.get().state, alice.balance(), is_suspended(alice)) == ("warning_closed", (1_000, 0), False)


def test_a_suspension_stays_while_another_dispute_stands(alice: Alice, paid: str):
    other = payment_of(alice.top_up(500))
    tell(paid, "created", "needs_response")
    tell(other, "created", "needs_response", 500)
    tell(paid, "closed", "won")
    assert is_suspended(alice)
    tell(other, "closed", "won", 500)
    assert (is_suspended(alice), alice.balance()) == (False, (1_500, 0))


def test_a_suspension_by_an_operator_is_not_lifted(alice: Alice, paid: str):
    do_suspend(alice.organization, actor="operator")
    tell(paid, "created", "needs_response")
    tell(paid, "closed", "won")
    assert is_suspended(alice)


def test_an_operator_who_suspends_anew_after_a_dispute_is_not_overruled(alice: Alice, paid: str):
    tell(paid, "created", "needs_response")
    do_unsuspend(alice.organization, actor="operator")
    tell(paid, "updated", "under_review")
    assert not is_suspended(alice)
    do_suspend(alice.organization, actor="operator")
    tell(paid, "closed", "won")
    assert is_suspended(alice)


def test_of_a_part_only_its_share_of_credit_is_taken(alice: Alice):
    order = alice.order(1_000)
    tax = {"amount_total": 1_200, "total_details": {"amount_tax": 200}}
    assert deliver(session_event(order, **tax)) == 200
    tell(payment_of(order), "created", "needs_response", 599)
    assert alice.balance() == (501, 0)


@pytest.mark.parametrize("changes", [{"amount": 1_001}, {"amount": None}, {"currency": "eur"}, {"id": None}])
def test_a_dispute_that_does_not_fit_changes_nothing_and_is_logged(
    alice: Alice, paid: str, alarms: Alarms, changes: dict[str, Any]
):
    tell(paid, "created", "needs_response", **changes)
    assert (Dispute.objects.count(), alice.balance(), alarms.names) == (0, (1_000, 0), ["dispute_not_ours"])


def test_a_dispute_without_a_date_to_answer_by_is_one_too(alice: Alice, paid: str):
    tell(paid, "created", "needs_response", evidence_details=None)
    assert Dispute.objects.get().respond_by is None
