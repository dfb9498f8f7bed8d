"""Once a night: what webhooks missed is repaired, and promo credit that ended is taken back."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.actions import reconcile as reconcile_module
from billing.actions.breakage import do_book_breakage
from billing.actions.reconcile import do_reconcile
from billing.errors import MovementRefused
from billing.ledger.items import Movement
from billing.ledger.verify import differences
from billing.models import Dispute, PromoLot, Refund
from billing.tasks import book_breakage, reconcile_payments
from tests.billing.ledger_database import Tenant, new_name, place
from tests.billing.payments.conftest import (
    Alarms,
    Alice,
    dispute_of,
    intent_of,
    payment_of,
    refund_of,
    session_of,
)
from tests.fakes.stripe import FakeStripe

CENT = 10_000_000


def test_payments_refunds_and_disputes_whose_events_never_came_are_applied(
    alice: Alice, fake_stripe: FakeStripe, alarms: Alarms
):
    checkout, disputed = alice.order(1_000), alice.order(500)
    recharge = alice.order(700, kind="recharge", payment_method_id="pm_1")
    for order in (checkout, disputed):
        fake_stripe.put("payment_intents", **intent_of(order))
        fake_stripe.put("checkout/sessions", **session_of(order))
    fake_stripe.put("payment_intents", **intent_of(recharge))
    fake_stripe.put("payment_intents", id="pi_foreign", status="succeeded", metadata={"shop": "another"})
    fake_stripe.put("payment_intents", **intent_of(alice.order(600), status="requires_payment_method"))
    fake_stripe.put("refunds", **refund_of(payment_of(checkout), 400))
    fake_stripe.put("refunds", **refund_of("pi_foreign", 400))
    fake_stripe.put("disputes", **dispute_of(payment_of(disputed), 500))
    fake_stripe.put("disputes", **dispute_of("pi_foreign", 500))
    assert do_reconcile() == 3
    assert alice.balance() == (1_000 + 700 - 400, 0)
    assert (Refund.objects.count(), Dispute.objects.count()) == (1, 1)
    assert alarms.names.count("webhook_missed") == 3
    reconcile_payments()
    assert alice.balance() == (1_300, 0)
    assert list(differences()) == []


def test_what_cannot_be_read_or_booked_takes_nothing_else_with_it(
    alice: Alice, fake_stripe: FakeStripe, alarms: Alarms, monkeypatch: pytest.MonkeyPatch
):
    paid = payment_of(alice.top_up(1_000))
    fake_stripe.answer("GET", "payment_intents", 500)
    fake_stripe.answer("GET", "disputes", 404)
    fake_stripe.put("refunds", **refund_of(paid, 100, id="re_1"))
    fake_stripe.put("refunds", **refund_of(paid, 200, id="re_2"))
    apply = reconcile_module.do_apply_refund

    def refuse_one(news: object) -> None:
        if getattr(news, "stripe_id", "") == "re_1":
            raise MovementRefused("full")
        apply(news)  # type: ignore[arg-type]

    monkeypatch.setattr(reconcile_module, "do_apply_refund", refuse_one)
    assert do_reconcile() == 0
    assert alice.balance() == (800, 0)
    assert alarms.names == ["reconcile"] * 3


def test_orders_that_nobody_paid_end_after_a_day(alice: Alice, fake_stripe: FakeStripe):
    old, young = alice.order(), alice.order()
    waiting = alice.order(kind="recharge")
    type(old).objects.filter(pk__in=(old.pk, waiting.pk)).update(created_at=timezone.now() - timedelta(hours=26))
    do_reconcile()
    states = {order.pk: type(order).objects.get(pk=order.pk).state for order in (old, young, waiting)}
    assert list(states.values()) == ["expired", "open", "open"]


@pytest.mark.usefixtures("test_money")
def test_with_test_money_there_is_nothing_to_compare_with(alice: Alice):
    assert do_reconcile() == 0


def grant(alice: Alice, cents: int, *, ended: bool) -> PromoLot:
    """A lot of promo credit."""
    reference = new_name("grant")
    alice.ledger.commit(Movement(reference, "grant", alice.id, cents * CENT, expires_at="2026-01-01 00:00:00.000000"))
    if not ended:
        PromoLot.objects.filter(reference=reference).update(expires_at=timezone.now() + timedelta(days=1))
    return PromoLot.objects.get(reference=reference)


def test_promo_credit_that_ended_is_taken_back_but_not_what_calls_may_need(alice: Alice, fake_stripe: FakeStripe):
    grant(alice, 300, ended=True)
    kept = grant(alice, 200, ended=False)
    epoch = alice.organization.auth_epoch
    alice.ledger.commit(place(Tenant(alice.id, 0), 400 * CENT, key_id=None, organization_epoch=epoch))
    assert do_book_breakage() == 1
    assert alice.wallet()["promo"] == 400
    assert do_book_breakage() == 0  # held; once a day
    kept.refresh_from_db()
    assert kept.remaining_nano == 200 * CENT
    assert ("breakage", 100) in alice.entries()


def test_a_lot_that_running_calls_need_whole_is_left_for_another_day(alice: Alice, fake_stripe: FakeStripe):
    grant(alice, 300, ended=True)
    epoch = alice.organization.auth_epoch
    alice.ledger.commit(place(Tenant(alice.id, 0), 300 * CENT, key_id=None, organization_epoch=epoch))
    book_breakage()
    assert alice.wallet()["promo"] == 300
