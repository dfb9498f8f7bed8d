"""Against a Stripe that nobody here wrote: cards, automatic top-up, declines, 3-D Secure, refunds, signed webhooks."""

from dataclasses import dataclass
from typing import Any

import pytest

from accounts.queries import organization_of_email
from billing.actions.customers import do_ensure_customer
from billing.actions.recharge import do_set_auto_recharge
from billing.actions.refunds import do_refund, refundable_cents
from billing.ledger.verify import differences
from billing.models import AutoRecharge, PayingCustomer, PaymentEvent, TopUpOrder
from billing.payments.queries import payments_of
from billing.tasks import recharge
from billing.wallet_queries import wallet_overview
from komilion.common.clock import utc_now
from tests.services.localstripe import CARD_WITH_3DS, DECLINED_CARD, GOOD_CARD, KEY, LocalStripe
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SECRET = "whsec_localstripe_0123456789"
CENT = 10_000_000
DELIVERY_DEADLINE_S = 20  # localstripe waits a second before it delivers


@dataclass
class Payer:
    """A tenant who pays at localstripe, whose events come to the live gateway."""

    gateway: Gateway
    stripe: LocalStripe
    tenant: Tenant
    id: int

    def save_card(self, number: str) -> PayingCustomer:
        """Choose a card at Stripe; its event has us keep it."""
        customer = do_ensure_customer(self.id, self.tenant.email)
        method = self.stripe.add_card(customer.customer_id, number)

        def kept() -> PayingCustomer | None:
            found = wallet_overview(self.id).customer
            return found if found is not None and found.payment_method_id == method else None

        return wait_until(kept, DELIVERY_DEADLINE_S, "the card")

    def recharge_below(self, threshold_cents: int) -> None:
        do_set_auto_recharge(
            self.id,
            threshold_nano=threshold_cents * CENT,
            credit_cents=1_000,
            daily_cap_cents=5_000,
            actor=self.tenant.email,
            ip="192.0.2.7",
        )

    def spend(self) -> None:
        """A call that costs a little; the credit is just above the threshold before it."""
        model = self.gateway.add_model("ok")
        assert self.gateway.chat(self.tenant, model, messages=[{"role": "user", "content": "Hi"}]).status == 200

    def wallet(self) -> dict[str, str]:
        return self.gateway.wallet(self.tenant.email)

    def order(self) -> TopUpOrder:
        return TopUpOrder.objects.filter(wallet_id=self.id).latest("created_at")

    def state(self) -> AutoRecharge:
        found = wallet_overview(self.id).auto_recharge
        assert found is not None
        return found

    def wait_for_order(self, state: str) -> TopUpOrder:
        wait_until(lambda: self.order().state == state, DELIVERY_DEADLINE_S, f"the order to be {state}")
        return self.order()


@pytest.fixture
def payer(gateway: Gateway, localstripe: LocalStripe, settings: Any) -> Payer:
    settings.STRIPE_SECRET_KEY = KEY
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]
    settings.STRIPE_API_BASE = localstripe.url
    localstripe.send_events_to(f"{gateway.url}/webhooks/stripe", SECRET)
    tenant = gateway.tenant(credit="5.00")
    organization = organization_of_email(tenant.email)
    assert organization is not None
    return Payer(gateway, localstripe, tenant, organization.pk)


def test_spending_charges_the_saved_card_the_signed_event_credits_it_and_it_can_be_refunded(payer: Payer):
    customer = payer.save_card(GOOD_CARD)
    assert (customer.card_brand, customer.card_last4, customer.card_expires) == ("visa", "4242", "2031-01")
    payer.recharge_below(500)
    recharge()
    assert not TopUpOrder.objects.filter(wallet_id=payer.id).exists()
    payer.spend()
    before = payer.wallet()
    recharge()
    assert payer.order().state == "unknown"
    assert payer.wallet() == before  # the answer alone credits nothing
    order = payer.wait_for_order("paid")
    (payment,) = payments_of(payer.id)
    assert (payment.pk, payment.credit_cents, payment.livemode) == (order.payment_intent_id, 1_000, False)
    assert payment.charge_id.startswith("ch_")
    assert PaymentEvent.objects.filter(type="payment_intent.succeeded").exists()
    recharge()
    assert TopUpOrder.objects.filter(wallet_id=payer.id).count() == 1

    assert refundable_cents(payer.id, payment.pk) == 1_000
    refund = do_refund(payer.id, payment.pk, actor=payer.tenant.email)
    assert (refund.state, refund.refund_cents) == ("succeeded", 1_000)
    (told,) = payer.stripe.ask("GET", f"refunds?payment_intent={payment.pk}")["data"]
    assert (told["id"], told["amount"], told["metadata"]) == (refund.stripe_refund_id, 1_000, {"refund_id": refund.pk})
    assert payer.wallet() == before
    assert list(differences()) == []


def test_a_declined_card_is_not_credited_and_the_second_decline_switches_off(payer: Payer):
    payer.save_card(DECLINED_CARD)
    payer.recharge_below(600)
    before = payer.wallet()
    recharge()
    assert (payer.wait_for_order("failed").failure, payer.state().declines) == ("card_declined", 1)
    payer.recharge_below(600)  # somebody insists; the count begins anew
    recharge()
    assert (payer.state().is_on, payer.state().declines) == (True, 1)
    AutoRecharge.objects.filter(pk=payer.id).update(declines=1)
    TopUpOrder.objects.filter(wallet_id=payer.id).delete()
    recharge()
    assert (payer.state().is_on, payer.state().declines) == (False, 2)
    assert payer.wallet() == before


def test_a_card_that_wants_3d_secure_switches_automatic_top_up_off(payer: Payer):
    payer.save_card(CARD_WITH_3DS)
    payer.recharge_below(600)
    recharge()
    order = payer.wait_for_order("failed")
    assert order.failure == "requires_action"
    assert payer.stripe.ask("GET", f"payment_intents/{order.payment_intent_id}")["status"] == "requires_action"
    assert not payer.state().is_on
    assert "confirm the payment" in payer.state().off_reason
    assert payer.wallet()["paid"] == "5.00"


def test_a_payment_whose_events_are_refused_is_credited_when_it_is_looked_up(payer: Payer, settings: Any):
    payer.save_card(GOOD_CARD)
    payer.recharge_below(600)
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_another_0123456789"]
    events = PaymentEvent.objects.count()
    recharge()
    payment = payer.order().payment_intent_id
    assert payer.stripe.ask("GET", f"payment_intents/{payment}")["status"] == "succeeded"
    recharge()
    assert (payer.order().state, payer.wallet()["paid"]) == ("unknown", "5.00")
    TopUpOrder.objects.filter(wallet_id=payer.id).update(next_attempt_at=utc_now())
    recharge()
    assert (payer.order().state, payer.wallet()["paid"]) == ("paid", "15.00")
    assert [row.pk for row in payments_of(payer.id)] == [payment]
    assert PaymentEvent.objects.count() == events
