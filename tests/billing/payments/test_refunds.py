"""Refunds: only unspent credit, debited before the money leaves, back when it does not."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEntry, Organization, TrialGrant
from billing.actions import refunds as refunds_module
from billing.actions.refunds import do_refund, refundable_cents
from billing.errors import MovementRefused, NotRefundable
from billing.ledger.items import Movement
from billing.ledger.verify import differences
from billing.models import Payment, Refund, TopUpOrder
from billing.tasks import sweep_payments
from komilion.common.errors import NotFound, PaymentsOff
from tests.billing.ledger_database import new_name
from tests.billing.payments.conftest import Alarms, Alice, deliver, dispute_of, event, payment_of, refund_of
from tests.fakes.stripe import FakeStripe


@pytest.fixture
def paid(alice: Alice, fake_stripe: FakeStripe) -> Iterator[str]:
    """A payment of $10.00; the books are right afterwards."""
    yield payment_of(alice.top_up(1_000))
    assert list(differences()) == []


def give_back(alice: Alice, payment: str) -> Refund:
    return do_refund(alice.id, payment, actor=alice.email)


def told(refund: Refund, status: str, kind: str = "updated", **changes: Any) -> dict[str, Any]:
    """An event about a refund of ours."""
    found = refund_of(refund.payment_id, refund.refund_cents, status, id="re_ours", **changes)
    return event(f"refund.{kind}", {**found, "metadata": {"refund_id": refund.pk}})


def audited(alice: Alice) -> list[tuple[str, str, str]]:
    """What the audit log says of refunds: action, actor, subject."""
    rows = AuditEntry.objects.filter(organization_id=alice.id, action__startswith="refund.").order_by("pk")
    return list(rows.values_list("action", "actor", "subject"))


def make_old(**age: int) -> None:
    Refund.objects.update(created_at=timezone.now() - timedelta(**age))


def test_what_is_unspent_is_given_back_with_our_own_key(alice: Alice, fake_stripe: FakeStripe, paid: str):
    alice.spend(300)
    assert refundable_cents(alice.id, paid) == 700
    refund = give_back(alice, paid)
    assert (refund.state, refund.credit_cents, refund.refund_cents) == ("succeeded", 700, 700)
    assert refund.stripe_refund_id
    assert alice.balance() == (0, 0)
    (sent,) = fake_stripe.sent("refunds")
    assert (sent.key, sent.form["amount"], sent.form["payment_intent"]) == (refund.pk, "700", paid)
    assert sent.form["metadata[refund_id]"] == refund.pk
    assert audited(alice) == [("refund.order", alice.email, "$7.00"), ("refund.succeeded", alice.email, "$7.00")]
    with pytest.raises(NotRefundable):
        give_back(alice, paid)


def test_who_gets_all_money_back_is_on_trial_again_until_the_next_payment(
    alice: Alice, fake_stripe: FakeStripe, paid: str
):
    TrialGrant.objects.create(address_hash=b"alice", organization_id=alice.id, amount_nano=5 * 10**9)
    more = payment_of(alice.top_up(500))
    give_back(alice, more)
    assert (alice.organization.tier, alice.organization.limits) == ("standard", {}), "ten dollars are left"
    refund = give_back(alice, paid)
    assert (alice.organization.tier, alice.organization.limits) == ("free", {"parallel": 2})
    sweep_payments()
    assert alice.organization.tier == "free"
    deliver(told(refund, "failed", "failed", failure_reason="expired_or_canceled_card"))
    assert (alice.organization.tier, alice.organization.limits) == ("standard", {})
    give_back(alice, paid)
    alice.top_up(500)
    assert (alice.organization.tier, alice.organization.limits) == ("standard", {})
    actions = AuditEntry.objects.filter(organization_id=alice.id, action__startswith="trial.").order_by("pk")
    assert list(actions.values_list("action", flat=True)) == ["trial.end", "trial.resume"] * 2 + ["trial.end"]


def test_a_tier_that_an_operator_chose_outlives_a_refund(alice: Alice, paid: str):
    Organization.objects.filter(pk=alice.id).update(tier="high")
    give_back(alice, paid)
    assert alice.organization.tier == "high"


def test_without_trial_credit_no_limits_of_a_trial_come_back(alice: Alice, fake_stripe: FakeStripe, paid: str):
    give_back(alice, paid)
    assert (alice.organization.tier, alice.organization.limits) == ("free", {})


def test_parts_of_a_cent_promo_credit_and_what_calls_hold_are_not_given_back(alice: Alice, paid: str):
    from tests.billing.ledger_database import Tenant, place

    alice.ledger.commit(
        Movement(new_name("grant"), "grant", alice.id, 5_000_000_000),
        Movement(new_name("spent"), "adjust", alice.id, 5_000_000),
    )
    assert refundable_cents(alice.id, paid) == 999
    hold = place(Tenant(alice.id, 0), 12_000_000_000, key_id=None, organization_epoch=alice.organization.auth_epoch)
    alice.ledger.commit(hold)
    assert refundable_cents(alice.id, paid) == 299


def test_fee_and_tax_go_back_in_proportion_and_never_more_than_was_paid(alice: Alice, fake_stripe: FakeStripe):
    order = alice.order(1_000, fee_cents=33)
    from tests.billing.payments.conftest import session_event

    tax = {"amount_total": 1_130, "total_details": {"amount_tax": 97}}
    assert deliver(session_event(order, **tax)) == 200
    payment = payment_of(order)
    amounts = []
    for left in (667, 334, 0):  # spend, refund, and bring the rest back for the next
        alice.spend(left)
        amounts.append(give_back(alice, payment).refund_cents)
        if left:
            alice.ledger.commit(Movement(new_name("recredit"), "recredit", alice.id, left * 10_000_000))
    assert amounts == [376, 376, 378]
    assert sum(amounts) == Payment.objects.get().total_cents
    assert sum(Refund.objects.values_list("credit_cents", flat=True)) == 1_000


def test_a_payment_brings_no_more_than_itself_however_full_the_wallet_is(alice: Alice, paid: str):
    alice.top_up(5_000)
    assert refundable_cents(alice.id, paid) == 1_000


def test_a_refund_under_way_is_counted(alice: Alice, fake_stripe: FakeStripe, paid: str):
    fake_stripe.answer("POST", "refunds", 500)
    alice.top_up(1_000)
    assert give_back(alice, paid).state == "open"
    assert refundable_cents(alice.id, paid) == 0


def test_other_organizations_and_unknown_payments_are_not_found(alice: Alice, paid: str):
    for organization, payment in ((alice.id + 1, paid), (alice.id, "pi_nobody")):
        with pytest.raises(NotFound):
            refundable_cents(organization, payment)
        with pytest.raises(NotFound):
            do_refund(organization, payment, actor="charlie@example.com")


def test_a_disputed_payment_is_not_refunded(alice: Alice, paid: str):
    assert deliver(event("charge.dispute.created", dispute_of(paid, 1_000, "warning_needs_response"))) == 200
    assert refundable_cents(alice.id, paid) == 0


def test_without_stripe_there_is_no_refund(alice: Alice, paid: str, settings: Any):
    settings.STRIPE_SECRET_KEY = "sk_live_0123456789"
    assert refundable_cents(alice.id, paid) == 0  # it was paid in the test mode
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(PaymentsOff):
        give_back(alice, paid)
    settings.TEST_PAYMENTS = True
    assert refundable_cents(alice.id, paid) == 0


def test_credit_that_is_spent_at_the_last_moment_stays_spent(
    alice: Alice, fake_stripe: FakeStripe, paid: str, monkeypatch: pytest.MonkeyPatch
):
    move = refunds_module.do_move

    def spent_first(movement: Movement) -> Any:
        alice.spend(1)
        return move(movement)

    monkeypatch.setattr(refunds_module, "do_move", spent_first)
    with pytest.raises(NotRefundable, match="spent while"):
        give_back(alice, paid)
    assert (Refund.objects.get().state, alice.balance(), fake_stripe.sent("refunds")) == ("failed", (999, 0), [])


def test_a_refund_that_stripe_refuses_puts_the_credit_back(
    alice: Alice, fake_stripe: FakeStripe, paid: str, alarms: Alarms
):
    fake_stripe.answer("POST", "refunds", 400, {"error": {"message": "Charge is too old"}})
    refund = give_back(alice, paid)
    assert (refund.state, refund.failure, alice.balance()) == ("failed", "Charge is too old", (1_000, 0))
    assert alarms.names == ["refund_refused"]
    assert refundable_cents(alice.id, paid) == 1_000


@pytest.mark.parametrize("status", ["pending", "requires_action"])
def test_a_refund_that_takes_time_ends_by_its_event(alice: Alice, fake_stripe: FakeStripe, paid: str, status: str):
    fake_stripe.answer("POST", "refunds", 200, refund_of(paid, 1_000, status, id="re_ours"))
    refund = give_back(alice, paid)
    assert (refund.state, refund.stripe_refund_id) == ("open", "re_ours")
    assert deliver(told(refund, "succeeded")) == 200
    refund.refresh_from_db()
    assert (refund.state, alice.balance()) == ("succeeded", (0, 0))


def test_a_refund_that_fails_after_it_succeeded_puts_the_credit_back_once(alice: Alice, paid: str):
    refund = give_back(alice, paid)
    for _ in range(2):
        assert deliver(told(refund, "failed", "failed", failure_reason="lost_or_stolen_card")) == 200
        assert deliver(told(refund, "succeeded")) == 200
    refund.refresh_from_db()
    assert (refund.state, refund.failure, alice.balance()) == ("failed", "lost_or_stolen_card", (1_000, 0))
    assert alice.entries() == [("topup", 1_000), ("refund", 1_000), ("topup", 1_000)]
    assert [row[0] for row in audited(alice)] == ["refund.order", "refund.succeeded", "refund.failed"]
    assert AuditEntry.objects.get(action="refund.failed").detail["why"] == "lost_or_stolen_card"


# unknown outcomes


def test_a_refund_whose_outcome_is_unknown_is_looked_up_before_it_is_asked_for_again(
    alice: Alice, fake_stripe: FakeStripe, paid: str
):
    fake_stripe.swallows.add(("POST", "refunds"))
    refund = give_back(alice, paid)
    assert (refund.state, alice.balance()) == ("open", (0, 0))
    sweep_payments()  # too young
    assert Refund.objects.get().state == "open"
    make_old(minutes=2)
    sweep_payments()
    assert Refund.objects.get().state == "succeeded"
    assert len(fake_stripe.sent("refunds")) == 1


def test_one_that_never_reached_stripe_is_asked_for_again_for_23_hours_and_then_put_back(
    alice: Alice, fake_stripe: FakeStripe, paid: str
):
    fake_stripe.answer("POST", "refunds", 500)
    fake_stripe.answer("POST", "refunds", 500)
    give_back(alice, paid)
    make_old(minutes=2)
    sweep_payments()
    first, second = fake_stripe.sent("refunds")
    assert (first.key, first.form, Refund.objects.get().state) == (second.key, second.form, "open")
    make_old(hours=24)
    sweep_payments()
    refund = Refund.objects.get()
    assert (refund.state, refund.failure) == ("failed", "the payment provider never had it")
    assert (alice.balance(), len(fake_stripe.sent("refunds"))) == ((1_000, 0), 2)


def test_one_that_takes_days_is_looked_up_every_minute_at_first_and_then_every_hour(
    alice: Alice, fake_stripe: FakeStripe, paid: str
):
    fake_stripe.answer("POST", "refunds", 200, refund_of(paid, 1_000, "pending", id="re_ours"))
    refund = give_back(alice, paid)
    metadata = {"metadata": {"refund_id": refund.pk}}
    fake_stripe.put("refunds", **refund_of(paid, 1_000, "pending", id="re_ours", **metadata))
    looked = []
    for minutes in (2, 3, 59, 60, 61, 119, 120, 121, 60 * 48):
        make_old(minutes=minutes)
        before = len(fake_stripe.requests)
        sweep_payments()
        looked.append(len(fake_stripe.requests) - before)
    assert looked == [1, 1, 1, 1, 0, 0, 1, 0, 1]
    assert Refund.objects.get().state == "open"


def test_a_crash_before_the_wallet_was_debited_is_gone_on_with(
    alice: Alice, fake_stripe: FakeStripe, paid: str, monkeypatch: pytest.MonkeyPatch
):
    def crash(_: Refund) -> bool:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(refunds_module, "_take_from_wallet", crash)
        with pytest.raises(RuntimeError):
            give_back(alice, paid)
    make_old(minutes=2)
    sweep_payments()
    assert (Refund.objects.get().state, alice.balance()) == ("succeeded", (0, 0))


def test_a_swept_refund_whose_credit_is_gone_has_failed(alice: Alice, fake_stripe: FakeStripe, paid: str):
    Refund.objects.create(
        id="ref-old", payment_id=paid, wallet_id=alice.id, credit_cents=1_000, refund_cents=1_000, created_by="x"
    )
    make_old(minutes=2)
    alice.spend(1)
    sweep_payments()
    assert (Refund.objects.get().state, alice.balance(), fake_stripe.sent("refunds")) == ("failed", (999, 0), [])


def test_a_stripe_that_is_away_is_asked_once_in_a_sweep(alice: Alice, fake_stripe: FakeStripe, paid: str):
    other = payment_of(alice.top_up(1_000))
    for payment in (paid, other):
        fake_stripe.answer("POST", "refunds", 500)
        give_back(alice, payment)
    make_old(minutes=2)
    fake_stripe.answer("GET", "refunds", 500)
    sweep_payments()
    assert Refund.objects.filter(state="open").count() == 2
    sweep_payments()
    assert Refund.objects.filter(state="succeeded").count() == 2


@pytest.mark.usefixtures("test_money")
def test_test_money_goes_back_at_once(alice: Alice):
    from billing.actions.checkout import do_start_checkout
    from billing.actions.pretended_checkout import do_pay_test_order

    do_start_checkout(alice.id, 600, saves_card=False, actor=alice.email, return_url="/")
    order = do_pay_test_order(alice.id, TopUpOrder.objects.get().pk, actor=alice.email)
    refund = give_back(alice, Payment.objects.get(order=order).pk)
    assert (refund.state, alice.balance()) == ("succeeded", (0, 0))


# what somebody does at Stripe, and what does not fit


def test_a_refund_that_the_operator_made_at_stripe_takes_the_credit_or_leaves_debt(alice: Alice, paid: str):
    alice.spend(900)
    found = refund_of(paid, 500)
    assert deliver(event("refund.created", found)) == 200
    assert deliver(event("charge.refund.updated", found)) == 200
    assert alice.balance() == (0, 400)
    refund = Refund.objects.get()
    assert (refund.pk, refund.credit_cents, refund.created_by, refund.state) == (
        found["id"],
        500,
        "stripe",
        "succeeded",
    )
    assert deliver(event("refund.failed", refund_of(paid, 500, "failed"))) == 200
    assert alice.balance() == (100, 0)
    assert [row[:2] for row in audited(alice)] == [
        ("refund.at_stripe", "stripe"),
        ("refund.succeeded", "stripe"),
        ("refund.failed", "stripe"),
    ]


@pytest.mark.parametrize(
    "changes",
    [{"amount": 1_001}, {"amount": 0}, {"amount": None}, {"currency": "eur"}, {"metadata": {"refund_id": "x"}}],
)
def test_a_refund_that_does_not_fit_changes_nothing_and_is_logged(
    alice: Alice, paid: str, alarms: Alarms, changes: dict[str, Any]
):
    assert deliver(event("refund.created", {**refund_of(paid, 500), **changes})) == 200
    assert (Refund.objects.count(), alice.balance(), alarms.names) == (0, (1_000, 0), ["refund_mismatch"])


def test_an_event_that_speaks_of_another_amount_than_our_refund_is_logged(
    alice: Alice, fake_stripe: FakeStripe, paid: str, alarms: Alarms
):
    refund = give_back(alice, paid)
    assert deliver(told(refund, "failed", amount=1)) == 200
    refund.refresh_from_db()
    assert (refund.state, alarms.names) == ("succeeded", ["refund_mismatch"])


def test_when_the_ledger_refuses_to_put_back_the_event_comes_again(
    alice: Alice, paid: str, monkeypatch: pytest.MonkeyPatch
):
    refund = give_back(alice, paid)

    def refuse(movement: Movement) -> None:
        raise MovementRefused("full")

    failed = told(refund, "failed", "failed")
    with monkeypatch.context() as patch:
        patch.setattr(refunds_module, "do_move", refuse)
        assert deliver(failed) == 503
    assert deliver(failed) == 200
    assert alice.balance() == (1_000, 0)
