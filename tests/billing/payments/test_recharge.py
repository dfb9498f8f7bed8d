"""Automatic top-up: charged when credit runs low, once, within the cap, and off where it should be."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.actions.organizations import do_suspend, do_unsuspend
from accounts.models import AuditEntry
from billing.actions.recharge import do_start_recharges, do_stop_auto_recharge
from billing.actions.recharge_attempts import do_attempt_recharges
from billing.errors import InvalidRecharge
from billing.ledger.items import Movement
from billing.models import AutoRecharge, PayingCustomer, TopUpOrder
from billing.payments.mandate import MANDATE_VERSION
from billing.tasks import recharge
from tests.billing.ledger_database import new_name
from tests.billing.payments.conftest import (
    CUSTOMER,
    Alarms,
    Alice,
    deliver,
    dispute_of,
    event,
    intent_event,
    payment_of,
)
from tests.billing.payments.recharging import CENT, INTENTS, low, make_due, order, state, switch_on
from tests.fakes.stripe import FakeStripe


def test_spending_below_the_threshold_charges_the_saved_card_and_the_event_credits_it(
    ready: Alice, fake_stripe: FakeStripe
):
    recharge()
    assert fake_stripe.sent(INTENTS) == []
    ready.spend(100)
    recharge()
    assert fake_stripe.sent(INTENTS) == []  # $5.00 is not below
    ready.spend(1)
    recharge()
    (sent,) = fake_stripe.sent(INTENTS)
    form = sent.form
    assert (sent.key, form["metadata[order_id]"]) == (order().pk, order().pk)
    assert (form["amount"], form["currency"], form["customer"]) == ("1000", "usd", CUSTOMER)
    assert (form["payment_method"], form["confirm"], form["off_session"]) == ("pm_1", "true", "true")
    assert (order().state, ready.balance()) == ("unknown", (499, 0))  # the answer alone credits nothing
    recharge()
    assert len(fake_stripe.sent(INTENTS)) == 1
    assert deliver(intent_event(order(), id=order().payment_intent_id)) == 200
    assert (order().state, ready.balance()) == ("paid", (1_499, 0))
    recharge()
    assert TopUpOrder.objects.filter(kind="recharge").count() == 1


def test_promo_credit_counts_and_so_does_what_running_calls_hold(ready: Alice):
    ready.ledger.commit(Movement(new_name("grant"), "grant", ready.id, 500 * CENT))
    ready.spend(600)
    assert do_start_recharges() == []


def test_the_day_s_cap_holds_until_the_next_day(ready: Alice, fake_stripe: FakeStripe):
    for paid in (1_099, 1_599, 99):
        ready.spend(ready.balance()[0] - 99)
        recharge()
        if paid != 99:
            assert deliver(intent_event(order(), id=order().payment_intent_id)) == 200
    assert len(fake_stripe.sent(INTENTS)) == 2
    TopUpOrder.objects.filter(kind="recharge").update(created_at=timezone.now() - timedelta(days=1))
    assert len(do_start_recharges()) == 1


def test_a_wallet_has_one_open_recharge_at_most(ready: Alice):
    ready.spend(200)
    assert len(do_start_recharges()) == 1
    assert do_start_recharges() == []
    AutoRecharge.objects.update(is_on=False)
    AutoRecharge.objects.update(is_on=True)
    assert do_start_recharges() == []


def test_a_recharge_that_was_credited_while_the_sweep_looked_starts_no_other(
    ready: Alice, monkeypatch: pytest.MonkeyPatch
):
    from billing.actions import recharge as module

    ready.spend(200)

    def credited_meanwhile(_: PayingCustomer) -> bool:
        ready.ledger.commit(Movement(new_name("topup"), "topup", ready.id, 1_000 * CENT))
        return True

    monkeypatch.setattr(module, "is_current", credited_meanwhile)
    assert do_start_recharges() == []
    assert not TopUpOrder.objects.filter(kind="recharge").exists()


def test_a_suspended_organization_and_one_without_a_card_are_not_charged(ready: Alice, fake_stripe: FakeStripe):
    ready.spend(200)
    PayingCustomer.objects.update(payment_method_id="")
    assert do_start_recharges() == []
    PayingCustomer.objects.all().delete()
    assert do_start_recharges() == []
    ready.card()
    do_suspend(ready.organization, actor="test")
    assert do_start_recharges() == []


def test_where_paying_is_off_nothing_starts_and_nothing_is_sent(ready: Alice, fake_stripe: FakeStripe, settings: Any):
    ready.spend(200)
    do_start_recharges()
    settings.STRIPE_WEBHOOK_SECRETS = []
    recharge()
    assert fake_stripe.sent(INTENTS) == []


def test_debt_switches_it_off(ready: Alice, mailoutbox: list[Any]):
    ready.ledger.commit(Movement(new_name("chargeback"), "chargeback", ready.id, 601 * CENT))
    assert do_start_recharges() == []
    assert (state().is_on, state().off_reason) == (False, "The wallet is in debt.")
    assert [mail.subject for mail in mailoutbox] == ["Automatic top-up is off"]
    assert f"Automatic top-up of {ready.organization.name} is off" in mailoutbox[0].body
    with pytest.raises(InvalidRecharge, match="in debt"):
        switch_on(ready)


def test_where_tax_is_added_nothing_is_charged_and_it_goes_off(
    ready: Alice, fake_stripe: FakeStripe, settings: Any, mailoutbox: list[Any]
):
    settings.STRIPE_TAX = True
    ready.spend(200)
    recharge()
    assert fake_stripe.sent(INTENTS) == []
    assert not state().is_on
    assert "Tax is added to top-ups" in state().off_reason
    assert [mail.subject for mail in mailoutbox] == ["Automatic top-up is off"]
    with pytest.raises(InvalidRecharge, match="Tax is added"):
        switch_on(ready)


def test_a_dispute_switches_it_off(ready: Alice):
    paid = TopUpOrder.objects.get(kind="checkout")
    assert deliver(event("charge.dispute.created", dispute_of(payment_of(paid), 600))) == 200
    assert (state().is_on, state().off_reason) == (False, "A payment is disputed.")
    with pytest.raises(InvalidRecharge, match="disputed"):
        switch_on(ready)


def test_an_inquiry_leaves_it_on(ready: Alice, fake_stripe: FakeStripe):
    paid = TopUpOrder.objects.get(kind="checkout")
    assert deliver(event("charge.dispute.created", dispute_of(payment_of(paid), 600, "warning_needs_response"))) == 200
    switch_on(ready)
    assert low(ready).payment_intent_id
    assert len(fake_stripe.sent(INTENTS)) == 1


# an unknown outcome when nobody agrees any more


def stop(alice: Alice) -> None:
    do_stop_auto_recharge(alice.id, actor=alice.email)


def suspend(alice: Alice) -> None:
    do_suspend(alice.organization, actor="operator")


def dispute(alice: Alice) -> None:
    """And nothing else: as if a crash had kept the rest from being done."""
    paid = TopUpOrder.objects.get(kind="checkout")
    assert deliver(event("charge.dispute.created", dispute_of(payment_of(paid), 600))) == 200
    do_unsuspend(alice.organization, actor="operator")
    AutoRecharge.objects.update(is_on=True)
    alice.ledger.commit(Movement(new_name("topup"), "topup", alice.id, 600 * CENT))


def agree_anew(alice: Alice) -> None:
    switch_on(alice, credit_cents=500)


ENDS = pytest.mark.parametrize("end", [stop, suspend, dispute, agree_anew])


@ENDS
def test_what_nobody_agrees_to_any_more_is_not_sent_again(
    ready: Alice, fake_stripe: FakeStripe, end: Callable[[Alice], None]
):
    fake_stripe.answer("POST", INTENTS, 500)
    waiting = low(ready)
    assert waiting.state == "unknown"
    end(ready)
    make_due()
    do_attempt_recharges()
    waiting.refresh_from_db()
    assert (waiting.state, waiting.failure) == ("failed", "the payment provider never had it")
    assert len(fake_stripe.sent(INTENTS)) == 1


@ENDS
def test_what_the_bank_took_before_nobody_agreed_any_more_is_found_and_credited(
    ready: Alice, fake_stripe: FakeStripe, end: Callable[[Alice], None]
):
    fake_stripe.swallows.add(("POST", INTENTS))
    waiting = low(ready)
    end(ready)
    make_due()
    do_attempt_recharges()
    waiting.refresh_from_db()
    assert (waiting.state, bool(waiting.payment_intent_id)) == ("unknown", True)
    paid, debt = ready.balance()
    assert deliver(intent_event(waiting, id=waiting.payment_intent_id)) == 200
    waiting.refresh_from_db()
    assert (waiting.state, ready.balance()) == ("paid", (paid + 1_000, debt))
    assert len(fake_stripe.sent(INTENTS)) == 1


def test_a_charge_that_arrives_after_it_was_looked_for_is_credited_by_its_event(ready: Alice, fake_stripe: FakeStripe):
    fake_stripe.answer("POST", INTENTS, 500)
    waiting = low(ready)
    stop(ready)
    make_due()
    recharge()
    assert order().state == "failed"
    assert deliver(intent_event(waiting)) == 200
    assert (order().state, ready.balance()) == ("paid", (1_000, 0))


# the mandate


def test_the_mandate_is_kept_and_audited(ready: Alice):
    kept = state()
    assert (kept.agreed_by, kept.agreed_from, kept.agreed_version) == (ready.email, "192.0.2.7", MANDATE_VERSION)
    assert kept.agreed_at is not None
    do_stop_auto_recharge(ready.id, actor=ready.email)
    do_stop_auto_recharge(ready.id, actor=ready.email)
    assert not state().is_on
    actions = AuditEntry.objects.filter(organization_id=ready.id, action__startswith="recharge").order_by("pk")
    assert list(actions.values_list("action", flat=True)) == ["recharge.on", "recharge.off"]


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"threshold_nano": 0}, "threshold"),
        ({"threshold_nano": 2**63}, "threshold"),
        ({"credit_cents": 499}, "between"),
        ({"daily_cap_cents": 999}, "daily cap"),
    ],
)
def test_terms_that_make_no_sense_are_refused(ready: Alice, terms: dict[str, int], message: str):
    with pytest.raises(InvalidRecharge, match=message):
        switch_on(ready, **terms)


def test_without_a_saved_card_it_cannot_be_switched_on(alice: Alice, fake_stripe: FakeStripe):
    with pytest.raises(InvalidRecharge, match="card"):
        switch_on(alice)


# declines


def test_two_declines_in_a_row_switch_it_off_and_the_card_rests_between_them(
    ready: Alice, fake_stripe: FakeStripe, mailoutbox: list[Any]
):
    fake_stripe.decline("card_declined", "insufficient_funds")
    first = low(ready)
    assert (first.state, first.failure, first.payment_intent_id) == ("failed", "insufficient_funds", "pi_declined")
    assert (state().is_on, state().declines) == (True, 1)
    recharge()
    assert len(fake_stripe.sent(INTENTS)) == 1
    TopUpOrder.objects.filter(pk=first.pk).update(ended_at=timezone.now() - timedelta(hours=2))
    AutoRecharge.objects.update(agreed_at=timezone.now() - timedelta(days=1))
    fake_stripe.decline("card_declined")
    recharge()
    assert (state().is_on, state().declines) == (False, 2)
    assert "declined 2 times in a row" in state().off_reason
    (mail,) = mailoutbox
    assert mail.to == [ready.email]
    assert state().off_reason in mail.body
    assert "/dashboard/wallet" in mail.body
    assert mail.alternatives


def test_a_success_between_two_declines_starts_the_count_anew(ready: Alice, fake_stripe: FakeStripe):
    fake_stripe.decline("card_declined")
    low(ready)
    switch_on(ready)  # somebody looked at it: no rest
    recharge()
    assert deliver(intent_event(order(), id=order().payment_intent_id)) == 200
    assert state().declines == 0


def test_an_old_success_that_is_told_again_says_nothing_of_the_card(ready: Alice, fake_stripe: FakeStripe):
    credited = low(ready)
    success = intent_event(credited, id=credited.payment_intent_id)
    assert deliver(success) == 200
    fake_stripe.decline("card_declined")
    low(ready)
    assert deliver(success) == 200
    assert deliver(intent_event(credited, id=credited.payment_intent_id)) == 200  # and by another event
    assert state().declines == 1


@pytest.mark.parametrize("code", ["lost_card", "stolen_card", "expired_card"])
def test_a_hard_decline_switches_it_off_at_once(ready: Alice, fake_stripe: FakeStripe, code: str):
    fake_stripe.decline("card_declined", code)
    low(ready)
    assert not state().is_on
    assert code in state().off_reason


def test_a_bank_that_wants_the_card_holder_switches_it_off_with_a_link_to_pay(
    ready: Alice, fake_stripe: FakeStripe, mailoutbox: list[Any]
):
    fake_stripe.decline("authentication_required")
    failed = low(ready)
    assert (failed.state, state().is_on) == ("failed", False)
    assert "confirm the payment" in state().off_reason
    assert "/dashboard/wallet" in mailoutbox[0].body
    assert deliver(intent_event(failed)) == 200  # it was paid in the end
    failed.refresh_from_db()
    assert (failed.state, ready.balance()) == ("paid", (1_000, 0))


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({"status": "requires_action"}, "requires_action"),
        ({"status": "requires_payment_method", "last_payment_error": {"code": "card_declined"}}, "card_declined"),
        ({"status": "canceled"}, "canceled"),
    ],
)
def test_an_answer_without_success_is_a_decline_too(
    ready: Alice, fake_stripe: FakeStripe, fields: dict[str, Any], failure: str
):
    fake_stripe.answer("POST", INTENTS, 200, {"id": "pi_7", **fields})
    assert (low(ready).state, order().failure, order().payment_intent_id) == ("failed", failure, "pi_7")
    assert state().declines == 1


def test_the_news_of_a_decline_may_come_by_answer_and_event_and_counts_once(ready: Alice, fake_stripe: FakeStripe):
    fake_stripe.decline("card_declined")
    failed = low(ready)
    for kind in ("payment_failed", "canceled"):
        assert deliver(intent_event(failed, kind, status="requires_payment_method")) == 200
    assert state().declines == 1


def test_an_event_alone_ends_a_recharge_whose_outcome_was_unknown(ready: Alice, fake_stripe: FakeStripe):
    fake_stripe.swallows.add(("POST", INTENTS))
    waiting = low(ready)
    assert waiting.state == "unknown"
    foreign = intent_event(waiting, "payment_failed", customer="cus_charlie")
    assert deliver(foreign) == 200
    assert order().state == "unknown"
    assert deliver(intent_event(waiting, "requires_action")) == 200
    assert (order().state, order().failure, state().is_on) == ("failed", "requires_action", False)
    assert deliver(intent_event(ready.order(), "payment_failed")) == 200  # of Checkout: people try again


def test_a_refusal_for_another_reason_switches_it_off(ready: Alice, fake_stripe: FakeStripe, alarms: Alarms):
    fake_stripe.answer("POST", INTENTS, 400, {"error": {"message": "No such payment method"}})
    assert (low(ready).state, order().failure) == ("failed", "No such payment method")
    assert (state().is_on, alarms.names) == (False, ["recharge_refused"])
