"""A top-up from the order to the saved card: what Stripe is asked for, and what becomes of the answers."""

from typing import Any

import pytest
from django.conf import settings as django_settings

from accounts.models import AuditEntry
from billing.actions.checkout import do_start_checkout, fee_on
from billing.actions.customers import do_ensure_customer, do_open_portal, do_remember_customer
from billing.actions.pretended_checkout import do_pay_test_order
from billing.actions.recharge import do_set_auto_recharge
from billing.errors import InvalidTopUp
from billing.ledger.verify import differences
from billing.models import PayingCustomer, Payment, TopUpOrder
from billing.payments import queries
from billing.payments.mode import payment_mode
from billing.tasks import sweep_payments
from billing.wallet_queries import wallet_overview
from komilion.common.errors import NotFound, PaymentsOff
from tests.billing.payments.conftest import (
    CUSTOMER,
    Alice,
    deliver,
    event,
    intent_of,
    payment_of,
    session_event,
)
from tests.fakes.stripe import FakeStripe

BACK = "/dashboard/wallet"


def start(alice: Alice, credit_cents: int = 1_000, *, saves_card: bool = False, back: str = BACK) -> str:
    return do_start_checkout(alice.id, credit_cents, saves_card=saves_card, actor=alice.email, return_url=back)


def set_recharge(alice: Alice) -> None:
    do_set_auto_recharge(
        alice.id, threshold_nano=1, credit_cents=1_000, daily_cap_cents=1_000, actor=alice.email, ip="192.0.2.7"
    )


# the order


def test_a_checkout_is_an_order_of_ours_and_a_session_that_names_it(alice: Alice, fake_stripe: FakeStripe):
    url = start(alice, 2_500)
    order = TopUpOrder.objects.get()
    (customer,) = fake_stripe.sent("customers")
    (session,) = fake_stripe.sent("checkout/sessions")
    assert url == "https://stripe.example/checkout/sessions"
    assert order.pk.startswith("top-")
    assert (order.wallet_id, order.credit_cents, order.state, order.kind) == (alice.id, 2_500, "open", "checkout")
    assert order.customer_id == PayingCustomer.objects.get().customer_id == session.form["customer"]
    assert order.checkout_session_id
    assert (customer.form["email"], customer.form["metadata[organization_id]"]) == (alice.email, str(alice.id))
    assert session.key == order.pk
    assert session.form["metadata[order_id]"] == session.form["payment_intent_data[metadata][order_id]"] == order.pk
    assert session.form["client_reference_id"] == str(alice.id)
    assert session.form["line_items[0][price_data][unit_amount]"] == "2500"
    assert session.form["success_url"] == f"{django_settings.PUBLIC_URL}{BACK}?order={order.pk}"
    assert "line_items[1][price_data][unit_amount]" not in session.form
    assert "payment_intent_data[setup_future_usage]" not in session.form
    assert "automatic_tax[enabled]" not in session.form
    assert AuditEntry.objects.filter(organization_id=alice.id, action="topup.order", actor=alice.email).exists()


def test_the_fee_is_a_line_of_its_own_and_tax_is_left_to_stripe(alice: Alice, fake_stripe: FakeStripe, settings: Any):
    settings.TOPUP_FEE_BASIS_POINTS = 290
    settings.STRIPE_TAX = True
    start(alice, 1_001, saves_card=True, back="https://gateway.example/wallet?tab=pay")
    (session,) = fake_stripe.sent("checkout/sessions")
    order = TopUpOrder.objects.get()
    assert order.fee_cents == fee_on(1_001) == 30  # 29.029, rounded up
    assert session.form["line_items[1][price_data][unit_amount]"] == "30"
    assert session.form["line_items[1][price_data][product_data][name]"] == "Card processing fee"
    assert session.form["line_items[0][price_data][tax_behavior]"] == "exclusive"
    assert session.form["automatic_tax[enabled]"] == "true"
    assert session.form["payment_intent_data[setup_future_usage]"] == "off_session"
    assert session.form["success_url"] == f"https://gateway.example/wallet?tab=pay&order={order.pk}"


def test_the_second_checkout_is_of_the_same_customer(alice: Alice, fake_stripe: FakeStripe):
    start(alice)
    start(alice)
    assert len(fake_stripe.sent("customers")) == 1
    assert TopUpOrder.objects.values_list("customer_id").distinct().count() == 1


@pytest.mark.parametrize("cents", [-1, 0, 499, 1_000_001])
def test_too_little_and_too_much_make_no_order(alice: Alice, fake_stripe: FakeStripe, cents: int):
    with pytest.raises(InvalidTopUp, match=r"between \$5.00 and \$10000.00"):
        start(alice, cents)
    assert (TopUpOrder.objects.count(), fake_stripe.requests) == (0, [])


@pytest.mark.parametrize("status", [400, 500])
def test_when_stripe_makes_no_session_the_order_has_failed_and_paying_is_off(
    alice: Alice, fake_stripe: FakeStripe, status: int
):
    fake_stripe.answer("POST", "checkout/sessions", status)
    with pytest.raises(PaymentsOff) as caught:
        start(alice)
    assert (caught.value.status, caught.value.reason) == (503, "payments_unavailable")
    assert TopUpOrder.objects.get().state == "failed"


def test_when_stripe_makes_no_customer_there_is_no_order(alice: Alice, fake_stripe: FakeStripe):
    fake_stripe.swallows.add(("POST", "customers"))
    with pytest.raises(PaymentsOff):
        start(alice)
    assert TopUpOrder.objects.count() == 0


@pytest.mark.parametrize("key", ["", "sk_test_0123456789"])
def test_without_keys_and_without_test_money_paying_is_off(alice: Alice, settings: Any, key: str):
    settings.TEST_PAYMENTS = False
    settings.STRIPE_SECRET_KEY = key  # without a webhook secret
    settings.STRIPE_WEBHOOK_SECRETS = []
    assert payment_mode() == "off"
    for ask in (lambda: start(alice), lambda: do_open_portal(alice.id, BACK), lambda: set_recharge(alice)):
        with pytest.raises(PaymentsOff):
            ask()


def test_which_money_is_used_is_read_from_the_key(settings: Any):
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_x"]
    modes = []
    for key in ("sk_live_1", "rk_live_1", "sk_test_1", "rk_test_1"):
        settings.STRIPE_SECRET_KEY = key
        modes.append(payment_mode())
    assert modes == ["live", "live", "stripe_test", "stripe_test"]


# the customer and the card


def test_a_customer_of_another_stripe_account_gives_way(alice: Alice, fake_stripe: FakeStripe):
    alice.customer(livemode=True, payment_method_id="pm_live")
    assert wallet_overview(alice.id).customer is None
    start(alice)
    customer = wallet_overview(alice.id).customer
    assert customer is not None
    assert customer.customer_id == TopUpOrder.objects.get().customer_id != CUSTOMER
    assert customer.payment_method_id == ""


def test_of_two_customers_made_at_once_the_first_stays(alice: Alice, fake_stripe: FakeStripe):
    first = do_ensure_customer(alice.id, alice.email)
    assert do_remember_customer(alice.id, "cus_second", alice.email).customer_id == first.customer_id


def test_the_portal_is_stripe_s_page_for_the_customer(alice: Alice, fake_stripe: FakeStripe):
    alice.customer()
    assert do_open_portal(alice.id, BACK) == "https://stripe.example/billing_portal/sessions"
    assert do_open_portal(alice.id, "https://gateway.example/") == "https://stripe.example/billing_portal/sessions"
    (first, second) = fake_stripe.sent("billing_portal/sessions")
    assert first.form == {"customer": CUSTOMER, "return_url": f"{django_settings.PUBLIC_URL}{BACK}"}
    assert second.form["return_url"] == "https://gateway.example/"
    fake_stripe.answer("POST", "billing_portal/sessions", 500)
    with pytest.raises(PaymentsOff):
        do_open_portal(alice.id, BACK)


def card(fake: FakeStripe, method: str = "pm_1", customer: str | None = CUSTOMER, **changes: Any) -> dict[str, Any]:
    """A card that Stripe knows."""
    facts = {"brand": "visa", "last4": "4242", "exp_year": 2030, "exp_month": 1, **changes}
    return fake.put("payment_methods", id=method, type="card", customer=customer, card=facts)


def kept(alice: Alice) -> tuple[str, str, str, str]:
    customer = PayingCustomer.objects.get(wallet_id=alice.id)
    return customer.payment_method_id, customer.card_brand, customer.card_last4, customer.card_expires


NO_CARD = ("", "", "", "")
VISA = ("pm_1", "visa", "4242", "2030-01")


def test_the_card_is_kept_when_that_was_asked_for(alice: Alice, fake_stripe: FakeStripe):
    alice.customer()
    card(fake_stripe)
    unsaved = alice.order()
    fake_stripe.put("payment_intents", **intent_of(unsaved))
    assert deliver(session_event(unsaved)) == 200
    assert kept(alice) == NO_CARD
    saved = alice.order(saves_card=True)
    fake_stripe.put("payment_intents", **intent_of(saved))
    assert deliver(session_event(saved)) == 200
    assert kept(alice) == VISA


def test_a_card_that_could_not_be_read_is_read_by_the_sweep(alice: Alice, fake_stripe: FakeStripe):
    alice.customer()
    order = alice.order(saves_card=True)
    fake_stripe.answer("GET", f"payment_intents/{payment_of(order)}", 500)
    assert deliver(session_event(order)) == 200
    assert (alice.balance(), kept(alice)) == ((1_000, 0), NO_CARD)
    fake_stripe.put("payment_intents", **intent_of(order))
    card(fake_stripe, customer=None)
    sweep_payments()  # detached meanwhile: not kept
    assert kept(alice) == NO_CARD
    card(fake_stripe)
    sweep_payments()
    assert kept(alice) == VISA


def test_cards_follow_what_happens_at_stripe(alice: Alice, fake_stripe: FakeStripe):
    alice.customer()
    first = card(fake_stripe)
    assert deliver(event("payment_method.attached", first)) == 200
    assert kept(alice) == VISA
    card(fake_stripe, exp_year=2031, last4="1111")
    assert deliver(event("payment_method.automatically_updated", first)) == 200
    assert kept(alice) == ("pm_1", "visa", "1111", "2031-01")
    other = card(fake_stripe, "pm_2", brand="amex", exp_month=13)
    assert deliver(event("payment_method.attached", other)) == 200  # there is one already
    assert kept(alice)[0] == "pm_1"
    default = {"id": CUSTOMER, "invoice_settings": {"default_payment_method": "pm_2"}}
    assert deliver(event("customer.updated", default)) == 200
    assert kept(alice) == ("pm_2", "amex", "4242", "")
    set_recharge(alice)
    assert deliver(event("payment_method.detached", {"id": "pm_2", "customer": None})) == 200
    assert kept(alice) == NO_CARD
    recharge = wallet_overview(alice.id).auto_recharge
    assert recharge is not None
    assert (recharge.is_on, recharge.off_reason) == (False, "The saved card was removed.")


def test_news_of_cards_and_customers_that_are_none_of_ours_change_nothing(alice: Alice, fake_stripe: FakeStripe):
    alice.card()
    gone = {"id": CUSTOMER, "invoice_settings": {"default_payment_method": "pm_gone"}}
    for kind, found in [
        ("payment_method.attached", {"id": "pm_9", "customer": "cus_charlie"}),
        ("payment_method.detached", {"id": "pm_9"}),
        ("payment_method.detached", {}),
        ("payment_method.updated", {"id": "pm_1", "customer": CUSTOMER}),  # not at Stripe any more
        ("customer.updated", {"id": "cus_charlie"}),
        ("customer.updated", {"id": CUSTOMER}),
        ("customer.updated", gone),
        ("customer.deleted", {"id": "cus_charlie"}),
    ]:
        assert deliver(event(kind, found)) == 200
    assert kept(alice) == VISA


def test_a_customer_who_was_deleted_at_stripe_is_made_anew(alice: Alice, fake_stripe: FakeStripe):
    alice.card()
    set_recharge(alice)
    assert deliver(event("customer.deleted", {"id": CUSTOMER})) == 200
    assert wallet_overview(alice.id).customer is None
    recharge = wallet_overview(alice.id).auto_recharge
    assert recharge is not None
    assert not recharge.is_on
    start(alice)
    assert wallet_overview(alice.id).customer is not None


# test money


@pytest.mark.usefixtures("test_money")
def test_test_money_takes_the_same_way_as_real_money(alice: Alice):
    url = start(alice, saves_card=True)
    order = TopUpOrder.objects.get()
    assert url == f"/dashboard/wallet/test-checkout/{order.pk}"
    paid = do_pay_test_order(alice.id, order.pk, actor=alice.email)
    assert (paid.state, alice.balance()) == ("paid", (1_000, 0))
    assert do_pay_test_order(alice.id, order.pk, actor=alice.email).state == "paid"
    assert alice.entries() == [("topup", 1_000)]
    assert Payment.objects.get().livemode is False
    assert alice.organization.tier == "standard"
    customer = wallet_overview(alice.id).customer
    assert customer is not None
    assert (customer.card_brand, customer.card_last4) == ("test card", "0000")
    assert list(differences()) == []


@pytest.mark.usefixtures("test_money")
def test_a_declined_test_order_is_not_paid_later(alice: Alice):
    start(alice)
    order = TopUpOrder.objects.get()
    assert do_pay_test_order(alice.id, order.pk, actor=alice.email, outcome="declined").state == "failed"
    assert do_pay_test_order(alice.id, order.pk, actor=alice.email).state == "failed"
    assert alice.balance() == (0, 0)


def test_test_orders_are_paid_by_their_own_organization_and_only_where_test_money_is(
    alice: Alice, fake_stripe: FakeStripe, settings: Any
):
    order = alice.order(kind="test", customer_id=f"test-{alice.id}")
    real = alice.order()
    with pytest.raises(NotFound):
        do_pay_test_order(alice.id, order.pk, actor="x")
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(NotFound):
        do_pay_test_order(alice.id, order.pk, actor="x")
    settings.TEST_PAYMENTS = True
    with pytest.raises(NotFound):
        do_pay_test_order(alice.id + 1, order.pk, actor="x")
    with pytest.raises(NotFound):
        do_pay_test_order(alice.id, real.pk, actor="x")
    assert alice.balance() == (0, 0)


def test_reads_are_of_one_organization(alice: Alice, fake_stripe: FakeStripe):
    order = alice.top_up()
    charlie = alice.id + 1
    assert [row.order.pk for row in queries.payments_of(alice.id)] == [order.pk]
    assert queries.order_of(alice.id, order.pk) == order
    assert queries.payment_of(alice.id, payment_of(order)).order == order
    for read in (queries.payments_of, queries.refunds_of, queries.disputes_of):
        assert read(charlie) == []
    with pytest.raises(NotFound):
        queries.order_of(charlie, order.pk)
    with pytest.raises(NotFound):
        queries.payment_of(charlie, payment_of(order))
    with pytest.raises(NotFound):
        wallet_overview(charlie)
