"""Only a verified event that fits the order credits it; everything else credits nothing and is logged."""

import json
from typing import Any

import pytest
import stripe
from django.test import Client, RequestFactory

from accounts.actions.organizations import do_change_tier
from accounts.models import AuditEntry
from billing.actions import credits as credits_module
from billing.actions.corrections import Correction, CorrectionKind, do_correct
from billing.api.stripe_webhook import stripe_webhook
from billing.errors import StoreUnavailable
from billing.ledger.verify import differences
from billing.models import Payment, PaymentEvent, TopUpOrder
from billing.tasks import sweep_payments
from komilion.common.clock import unix_s
from komilion.common.metrics import _counters
from tests.billing.payments.conftest import (
    CUSTOMER,
    SECRET,
    Alarms,
    Alice,
    deliver,
    event,
    intent_event,
    payment_of,
    post,
    session_event,
    session_of,
)
from tests.fakes.stripe import FakeStripe

pytestmark = pytest.mark.usefixtures("fake_stripe")


def test_a_paid_session_credits_its_order_and_writes_down_what_was_paid(alice: Alice):
    order = alice.order(1_000, fee_cents=30)
    assert deliver(session_event(order, amount_total=1_236, total_details={"amount_tax": 206})) == 200
    order.refresh_from_db()
    assert alice.balance() == (1_000, 0)
    assert (order.state, order.payment_intent_id) == ("paid", payment_of(order))
    payment = Payment.objects.get()
    assert (payment.pk, payment.order_id, payment.wallet_id) == (payment_of(order), order.pk, alice.id)
    figures = (payment.credit_cents, payment.fee_cents, payment.tax_cents, payment.total_cents)
    assert figures == (1_000, 30, 206, 1_236)
    assert (payment.currency, payment.livemode) == ("usd", False)
    assert PaymentEvent.objects.get().type == "checkout.session.completed"
    assert list(differences()) == []


def test_the_first_payment_ends_the_trial_and_later_ones_leave_the_tier_alone(alice: Alice):
    assert (alice.organization.tier, alice.organization.limits) == ("free", {"parallel": 2})
    epoch = alice.organization.auth_epoch
    alice.top_up()
    assert (alice.organization.tier, alice.organization.limits) == ("standard", {})
    assert alice.organization.auth_epoch > epoch
    epoch = alice.organization.auth_epoch
    alice.top_up()
    assert alice.organization.auth_epoch == epoch


def test_a_tier_that_an_operator_chose_stays_and_the_trial_s_limit_goes(alice: Alice):
    do_change_tier(alice.organization, "high", actor="operator")
    alice.top_up()
    assert (alice.organization.tier, alice.organization.limits) == ("high", {})
    assert AuditEntry.objects.filter(action="trial.end", organization_id=alice.id, detail={"tier": "high"}).exists()


@pytest.mark.parametrize(("kind", "expected"), [("topup", ("standard", {})), ("grant", ("free", {"parallel": 2}))])
def test_what_was_paid_elsewhere_ends_the_trial_too(alice: Alice, kind: CorrectionKind, expected: tuple[str, Any]):
    do_correct(Correction("operator-1", kind, alice.id, 10_000_000, "by bank transfer"), actor="operator")
    assert (alice.organization.tier, alice.organization.limits) == expected


def test_limits_that_an_operator_set_stay(alice: Alice):
    organization = alice.organization
    organization.limits = {"parallel": 5, "requests_per_minute": 7}
    organization.save()
    alice.top_up()
    assert alice.organization.limits == {"parallel": 5, "requests_per_minute": 7}


def test_ten_deliveries_of_one_event_are_one_credit(alice: Alice):
    told = session_event(alice.order())
    assert {deliver(told) for _ in range(10)} == {200}
    assert alice.entries() == [("topup", 1_000)]
    assert PaymentEvent.objects.count() == 1


def test_two_different_events_of_one_payment_are_one_credit(alice: Alice):
    order = alice.order()
    told = [session_event(order), session_event(order, "async_payment_succeeded"), intent_event(order)]
    assert [deliver(one) for one in told] == [200, 200, 200]
    assert alice.entries() == [("topup", 1_000)]
    assert PaymentEvent.objects.count() == 3


def test_a_session_that_completes_before_its_money_comes_credits_when_it_comes(alice: Alice):
    order = alice.order()
    assert deliver(session_event(order, payment_status="unpaid")) == 200
    assert alice.balance() == (0, 0)
    assert deliver(session_event(order, "async_payment_succeeded")) == 200
    assert alice.balance() == (1_000, 0)


@pytest.mark.parametrize(("kind", "state"), [("expired", "expired"), ("async_payment_failed", "failed")])
def test_an_order_that_ended_is_still_credited_when_it_turns_out_to_be_paid_and_stays_paid(
    alice: Alice, kind: str, state: str
):
    order = alice.order()
    assert deliver(session_event(order, kind, payment_status="unpaid")) == 200
    order.refresh_from_db()
    assert order.state == state
    assert deliver(session_event(order)) == 200
    assert deliver(session_event(order, kind, payment_status="unpaid")) == 200
    order.refresh_from_db()
    assert (order.state, alice.balance()) == ("paid", (1_000, 0))


# what is not credited


def test_a_forged_signature_credits_nothing_and_is_logged(alice: Alice, alarms: Alarms):
    assert deliver(session_event(alice.order()), secret="whsec_of_somebody_else_0123456789") == 400
    assert alice.balance() == (0, 0)
    assert alarms.names == [], "whoever finds the address could raise it"


def test_what_becomes_of_events_is_counted(alice: Alice, alarms: Alarms):
    def counted() -> dict[str, int]:
        return {outcome: _counters["komilion_webhook_events", (outcome,)] for outcome in ("applied", "refused")}

    before = counted()
    assert deliver(session_event(alice.order())) == 200
    assert deliver(session_event(alice.order()), secret="whsec_of_somebody_else_0123456789") == 400
    assert counted() == {outcome: number + 1 for outcome, number in before.items()}
    assert alarms.names == []


@pytest.mark.parametrize("header", ["", "t=1", "nonsense", "t=x,v1=00"])
def test_without_a_proper_signature_nothing_is_credited(alice: Alice, alarms: Alarms, header: str):
    assert post(json.dumps(session_event(alice.order())), header) == 400
    assert alice.balance() == (0, 0)
    assert alarms.names == []


def test_a_body_that_was_changed_after_signing_is_refused(alice: Alice):
    told = json.dumps(session_event(alice.order()))
    signature = stripe.WebhookSignature.generate_signature_header(told, SECRET)
    assert post(told.replace("1000", "9000"), signature) == 400
    assert post(b"\xff" + told.encode(), signature) == 400
    assert alice.balance() == (0, 0)


@pytest.mark.parametrize("off_s", [-301, 400])
def test_an_event_that_is_played_back_later_or_comes_from_the_future_is_refused(alice: Alice, off_s: int):
    assert deliver(session_event(alice.order()), timestamp=unix_s() + off_s) == 400
    assert alice.balance() == (0, 0)


@pytest.mark.parametrize("secrets", [["whsec_new_0123456789", SECRET], [SECRET, "whsec_new_0123456789"]])
def test_while_a_secret_is_replaced_both_hold(alice: Alice, settings: Any, secrets: list[str]):
    settings.STRIPE_WEBHOOK_SECRETS = secrets
    alice.top_up()
    assert alice.balance() == (1_000, 0)


def test_without_a_secret_nothing_is_believed(alice: Alice, alarms: Alarms, settings: Any):
    settings.STRIPE_WEBHOOK_SECRETS = []
    order = alice.order()
    assert deliver(session_event(order), secret="x") == 503
    told = json.dumps(session_event(order))
    assert post(told, stripe.WebhookSignature.generate_signature_header(told, "")) == 503
    assert alice.balance() == (0, 0)
    assert alarms.names == ["webhook_secret_missing"] * 2
    settings.STRIPE_SECRET_KEY = ""
    assert deliver(session_event(order), secret="x") == 503
    assert len(alarms.names) == 2, "who has nothing to do with Stripe is not woken by strangers"


WRONG = {
    "amount": {"amount_subtotal": 900, "amount_total": 900},
    "more": {"amount_subtotal": 1_100, "amount_total": 1_100},
    "total": {"amount_total": 900},
    "no amount": {"amount_subtotal": None},
    "an amount that is a text": {"amount_subtotal": "1000"},
    "currency": {"currency": "eur"},
    "no currency": {"currency": None},
    "customer": {"customer": "cus_charlie"},
    "no customer": {"customer": None},
    "livemode": {"livemode": True},
    "organization": {"client_reference_id": "0"},
    "no payment": {"payment_intent": None},
    "payment of test money": {"payment_intent": "test-1"},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_what_differs_from_the_order_credits_nothing_and_is_logged(
    alice: Alice, alarms: Alarms, changes: dict[str, Any]
):
    order = alice.order()
    assert deliver(session_event(order, **changes)) == 200
    assert alice.balance() == (0, 0)
    assert alarms.names == ["payment_mismatch"]
    order.refresh_from_db()
    assert order.state == "open"


def test_another_session_than_the_order_s_credits_nothing(alice: Alice, alarms: Alarms):
    order = alice.order(checkout_session_id="cs_other")
    assert deliver(session_event(order)) == 200
    assert (alice.balance(), alarms.names) == ((0, 0), ["payment_mismatch"])


@pytest.mark.parametrize("metadata", [{"order_id": "top-of-somebody-else"}, {}, None])
def test_an_order_that_is_not_ours_credits_nothing_and_is_logged(alice: Alice, alarms: Alarms, metadata: Any):
    alice.customer()
    assert deliver(session_event(alice.order(), metadata=metadata)) == 200
    assert (alice.balance(), alarms.names) == ((0, 0), ["payment_not_ours"])


def test_who_names_an_order_as_ours_are_called_is_an_alarm_whoever_the_customer_is(alice: Alice, alarms: Alarms):
    forged = {"order_id": "top-of-nobody"}
    assert deliver(session_event(alice.order(), metadata=forged, customer="cus_of_others")) == 200
    assert (alice.balance(), alarms.names) == ((0, 0), ["payment_not_ours"])


@pytest.mark.parametrize("metadata", [{"order_id": "1001"}, {}, None])
@pytest.mark.parametrize(
    "kind",
    [
        "checkout.session.completed",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "refund.created",
        "charge.dispute.created",
        "radar.early_fraud_warning.created",
    ],
)
def test_what_the_account_takes_for_others_is_no_alarm(
    alice: Alice, fake_stripe: FakeStripe, alarms: Alarms, kind: str, metadata: Any
):
    alice.customer()
    intent = {"id": "pi_others", "status": "succeeded", "customer": "cus_others", "metadata": metadata}
    fake_stripe.put("payment_intents", **intent)
    told = {**intent, "id": "x_others", "payment_intent": "pi_others", "payment_status": "paid", "amount": 500}
    if kind.startswith("payment_intent"):
        told["id"] = "pi_others"
    assert deliver(event(kind, told)) == 200
    assert (alice.balance(), alarms.names) == ((0, 0), [])


@pytest.mark.parametrize("kind", ["refund.created", "charge.dispute.created", "radar.early_fraud_warning.created"])
def test_what_speaks_of_an_order_s_payment_that_was_never_credited_is_an_alarm(alice: Alice, alarms: Alarms, kind: str):
    alice.order(payment_intent_id="pi_ours")
    assert deliver(event(kind, {"id": "x_1", "payment_intent": "pi_ours", "amount": 500})) == 200
    assert len(alarms.names) == 1


def test_an_event_of_the_other_mode_is_no_event_of_ours(alice: Alice, alarms: Alarms):
    assert deliver({**session_event(alice.order()), "livemode": True}) == 200
    assert (alice.balance(), alarms.names) == ((0, 0), ["payment_livemode"])


def test_a_live_order_is_not_paid_by_an_event_of_the_test_mode(alice: Alice, alarms: Alarms):
    assert deliver(session_event(alice.order(livemode=True))) == 200
    assert (alice.balance(), alarms.names) == ((0, 0), ["payment_mismatch"])


def test_an_order_of_test_money_cannot_be_paid_through_stripe(alice: Alice, alarms: Alarms):
    assert deliver(session_event(alice.order(kind="test"))) == 200
    assert (alice.balance(), alarms.names) == ((0, 0), ["payment_mismatch"])


def test_a_second_payment_of_one_order_is_not_credited_and_somebody_is_told(alice: Alice, alarms: Alarms):
    order = alice.top_up()
    assert deliver(session_event(order, payment_intent="pi_second")) == 200
    assert (alice.balance(), alarms.names) == ((1_000, 0), ["order_paid_twice"])


def test_the_intent_of_a_session_credits_nothing_by_itself(alice: Alice, alarms: Alarms):
    order = alice.order()
    assert deliver(intent_event(order)) == 200
    assert (alice.balance(), alarms.names) == ((0, 0), [])
    alice.customer()
    assert deliver(event("payment_intent.succeeded", {"id": "pi_x", "customer": CUSTOMER, "metadata": {}})) == 200
    assert alarms.names == ["payment_not_ours"]


# the door itself


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"id": "evt_1", "type": "x", "livemode": false, "data": {}}',
        '{"id": "evt_1", "type": "x", "livemode": false, "data": {"object": []}}',
        '{"id": 1, "type": "x", "livemode": false, "data": {"object": {}}}',
        '{"id": "evt_1", "type": "x", "livemode": "no", "data": {"object": {}}}',
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(alice: Alice, body: str):
    assert deliver(body) == 400


def test_events_of_no_interest_are_done_with_at_once(alice: Alice, alarms: Alarms):
    assert deliver(event("product.created", {"id": "prod_1"})) == 200
    assert (PaymentEvent.objects.count(), alarms.names) == (0, [])


def test_only_post_and_only_bodies_of_reasonable_size(alice: Alice, settings: Any):
    assert Client().get("/webhooks/stripe").status_code == 405
    settings.WEBHOOK_BODY_LIMIT_BYTES = 100
    assert deliver(session_event(alice.order())) == 413
    request = RequestFactory().post("/webhooks/stripe", "x" * 101, "application/json")
    del request.META["CONTENT_LENGTH"]  # a body in chunks
    assert stripe_webhook(request).status_code == 413
    assert alice.balance() == (0, 0)


def test_when_the_ledger_is_away_stripe_is_asked_to_come_again(
    alice: Alice, alarms: Alarms, monkeypatch: pytest.MonkeyPatch
):
    told = session_event(alice.order())

    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(credits_module, "do_move", away)
        assert deliver(told) == 503
    assert alarms.names == ["webhook_failed"]
    assert PaymentEvent.objects.count() == 0
    assert deliver(told) == 200
    assert alice.balance() == (1_000, 0)


def test_an_early_fraud_warning_is_for_a_person(alice: Alice, alarms: Alarms):
    order = alice.top_up()
    assert deliver(event("radar.early_fraud_warning.created", {"payment_intent": payment_of(order)})) == 200
    assert alarms.names == ["early_fraud_warning"]


def test_a_crash_between_credit_and_what_follows_is_repaired_by_the_sweep(alice: Alice):
    order = alice.order()
    with pytest.MonkeyPatch.context() as patch:

        def crash(*_: object, **__: object) -> None:
            raise RuntimeError("killed")

        patch.setattr(credits_module, "_follow_up", crash)
        with pytest.raises(RuntimeError):
            deliver(session_event(order))
    assert alice.balance() == (1_000, 0)
    assert alice.organization.tier == "free"
    sweep_payments()
    order.refresh_from_db()
    assert (order.state, alice.organization.tier, alice.organization.limits) == ("paid", "standard", {})
    sweep_payments()
    assert TopUpOrder.objects.get().ended_at == order.ended_at


@pytest.mark.parametrize(("before", "after"), [("free", "standard"), ("high", "high")])
def test_a_crash_before_the_trial_ended_is_repaired_too(
    alice: Alice, monkeypatch: pytest.MonkeyPatch, before: str, after: str
):
    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    do_change_tier(alice.organization, before, actor="operator")
    with monkeypatch.context() as patch:
        patch.setattr(credits_module, "do_end_trial", crash)
        with pytest.raises(RuntimeError):
            deliver(session_event(alice.order()))
    assert (TopUpOrder.objects.get().state, alice.organization.limits) == ("paid", {"parallel": 2})
    sweep_payments()
    assert (alice.organization.tier, alice.organization.limits) == (after, {})


def test_session_objects_may_carry_their_parts_whole(alice: Alice):
    order = alice.order()
    whole = session_of(order, payment_intent={"id": payment_of(order)}, customer={"id": order.customer_id})
    assert deliver(event("checkout.session.completed", whole | {"total_details": None})) == 200
    assert alice.balance() == (1_000, 0)
