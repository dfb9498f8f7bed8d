"""Automatic top-up whose outcome is unknown: asked for again by its key, then looked up, never charged twice."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.actions.recharge import do_start_recharges, do_stop_auto_recharge
from billing.actions.recharge_attempts import do_attempt_recharges
from billing.models import AutoRecharge, TopUpOrder
from billing.tasks import recharge
from tests.billing.payments.conftest import (
    CUSTOMER,
    Alarms,
    Alice,
    deliver,
    intent_event,
    intent_of,
)
from tests.billing.payments.recharging import INTENTS, low, make_due, order, state, switch_on
from tests.fakes.stripe import FakeStripe


@pytest.mark.parametrize("status", [409, 429, 500])
def test_an_unknown_outcome_is_asked_for_again_with_the_same_key_and_the_same_card(
    ready: Alice, fake_stripe: FakeStripe, status: int
):
    fake_stripe.answer("POST", INTENTS, status)
    assert low(ready).state == "unknown"
    recharge()  # not due yet
    assert len(fake_stripe.sent(INTENTS)) == 1
    ready.customer(payment_method_id="pm_2")
    make_due()
    recharge()
    first, second = fake_stripe.sent(INTENTS)
    assert (first.key, first.form) == (second.key, second.form)
    assert order().payment_intent_id


def test_a_charge_that_happened_unseen_is_found_by_its_key_and_not_repeated(ready: Alice, fake_stripe: FakeStripe):
    fake_stripe.swallows.add(("POST", INTENTS))
    assert low(ready).payment_intent_id == ""
    make_due()
    recharge()
    assert len([path for path in fake_stripe.objects if path.startswith(INTENTS)]) == 1
    assert order().payment_intent_id


def test_after_23_hours_it_is_looked_up_and_never_sent_again(ready: Alice, fake_stripe: FakeStripe):
    fake_stripe.swallows.add(("POST", INTENTS))
    low(ready)
    fake_stripe.put(INTENTS, id="pi_other_1", customer=CUSTOMER)
    fake_stripe.put(INTENTS, id="pi_other_2", customer=CUSTOMER)
    fake_stripe.objects = dict(sorted(fake_stripe.objects.items(), reverse=True))  # it is on the second page
    make_due(first_attempt_at=timezone.now() - timedelta(hours=23, minutes=1))
    recharge()
    assert len(fake_stripe.sent(INTENTS)) == 1
    assert (order().state, bool(order().payment_intent_id)) == ("unknown", True)


def test_one_that_stripe_never_had_has_failed_and_the_card_is_not_to_blame(ready: Alice, fake_stripe: FakeStripe):
    fake_stripe.answer("POST", INTENTS, 500)
    low(ready)
    make_due(first_attempt_at=timezone.now() - timedelta(hours=24))
    recharge()
    assert (order().state, order().failure) == ("failed", "the payment provider never had it")
    assert (state().is_on, state().declines) == (True, 0)


def test_a_payment_whose_event_never_comes_is_looked_up_and_credited(
    ready: Alice, fake_stripe: FakeStripe, alarms: Alarms
):
    waiting = low(ready)
    intent = fake_stripe.objects[f"{INTENTS}/{waiting.payment_intent_id}"]
    intent.update(intent_of(waiting, id=waiting.payment_intent_id, status="processing"))
    make_due()
    recharge()
    assert order().state == "unknown"
    intent["status"] = "succeeded"
    make_due()
    recharge()
    assert (order().state, ready.balance()) == ("paid", (1_000, 0))
    assert alarms.names == ["webhook_missed"]


def test_the_event_may_be_faster_than_the_answer(ready: Alice, fake_stripe: FakeStripe):
    from billing.actions import recharge_attempts as module

    charge = module.client.charge_saved_card

    def told_meanwhile(row: TopUpOrder) -> dict[str, Any]:
        answer = charge(row)
        assert deliver(intent_event(row, id=answer["id"])) == 200
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.client, "charge_saved_card", told_meanwhile)
        assert low(ready).state == "paid"
    assert ready.balance() == (1_000, 0)


def test_a_refusal_that_its_event_overtook_counts_once(ready: Alice, fake_stripe: FakeStripe):
    from billing.actions import recharge_attempts as module

    def refused_and_told(row: TopUpOrder) -> dict[str, Any]:
        assert deliver(intent_event(row, "payment_failed", status="requires_payment_method")) == 200
        raise module.client.StripeRefused("no")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.client, "charge_saved_card", refused_and_told)
        assert low(ready).state == "failed"
    assert (state().is_on, state().declines) == (True, 1)


def test_an_order_that_another_sweep_took_is_left_to_it(
    ready: Alice, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
):
    from billing.actions import recharge_attempts as module
    from tests.billing.payments.conftest import new_alice

    other = new_alice(ready.ledger)
    other.customer(customer_id="cus_other", payment_method_id="pm_2")
    switch_on(other)
    ready.spend(200)
    attempt = module._attempt

    def sweep_again(row: TopUpOrder, now: Any) -> bool:
        do_attempt_recharges()
        return attempt(row, now)

    monkeypatch.setattr(module, "_attempt", sweep_again)
    recharge()
    assert len(fake_stripe.sent(INTENTS)) == 2
    assert TopUpOrder.objects.filter(kind="recharge", attempts=1).count() == 2


def test_two_sweeps_at_once_make_one_attempt(ready: Alice, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch):
    from billing.actions import recharge_attempts as module

    attempt = module._attempt
    swept: list[int] = []

    def sweep_again(row: TopUpOrder, now: Any) -> bool:
        swept.append(do_attempt_recharges())
        return attempt(row, now)

    monkeypatch.setattr(module, "_attempt", sweep_again)
    low(ready)
    assert (swept, len(fake_stripe.sent(INTENTS))) == ([0], 1)


def test_a_claim_that_comes_second_is_no_claim(ready: Alice):
    from billing.actions.recharge_attempts import _claim

    ready.spend(200)
    do_start_recharges()
    first, second = order(), order()
    assert _claim(first, timezone.now())
    assert not _claim(second, timezone.now())


def test_a_stripe_that_is_away_is_asked_once_in_a_sweep(ready: Alice, fake_stripe: FakeStripe):
    from tests.billing.payments.conftest import new_alice

    other = new_alice(ready.ledger)
    other.customer(customer_id="cus_other", payment_method_id="pm_2")
    switch_on(other)
    ready.spend(200)
    fake_stripe.answer("POST", INTENTS, 500)
    recharge()
    assert len(fake_stripe.sent(INTENTS)) == 1
    recharge()
    assert len(fake_stripe.sent(INTENTS)) == 2


def test_an_order_of_another_stripe_account_is_not_charged(ready: Alice, fake_stripe: FakeStripe, settings: Any):
    ready.spend(200)
    do_start_recharges()
    settings.STRIPE_SECRET_KEY = "sk_live_0123456789"
    assert do_attempt_recharges() == 1
    assert (order().state, order().failure) == ("failed", "made for another Stripe account")
    assert fake_stripe.sent(INTENTS) == []


@pytest.mark.usefixtures("test_money")
def test_with_test_money_the_test_card_is_charged(alice: Alice):
    from billing.actions.checkout import do_start_checkout
    from billing.actions.pretended_checkout import do_pay_test_order

    do_start_checkout(alice.id, 600, saves_card=True, actor=alice.email, return_url="/")
    do_pay_test_order(alice.id, TopUpOrder.objects.get().pk, actor=alice.email)
    switch_on(alice)
    alice.spend(200)
    recharge()
    assert (order().state, alice.balance()) == ("paid", (1_400, 0))
    alice.spend(1_000)
    do_start_recharges()
    do_stop_auto_recharge(alice.id, actor=alice.email)
    recharge()
    assert (order().state, alice.balance()) == ("failed", (400, 0))


def test_a_decline_of_somebody_who_has_no_automatic_top_up_any_more_ends_the_order(
    ready: Alice, fake_stripe: FakeStripe
):
    fake_stripe.swallows.add(("POST", INTENTS))
    waiting = low(ready)
    AutoRecharge.objects.all().delete()
    assert deliver(intent_event(waiting, "payment_failed", status="requires_payment_method")) == 200
    assert order().state == "failed"
