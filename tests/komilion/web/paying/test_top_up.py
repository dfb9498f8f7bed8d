"""From an amount to credit: the form, the page to pay on, the page one comes back to. None of them credits."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from billing.models import Payment, TopUpOrder
from komilion.common.money import NANO_PER_USD
from komilion.web.paying import wallet as wallet_views
from tests.komilion.web.paying.wallets import WALLET, few_queries, pay_with_test_money, text_of, wallet_of
from tests.people import Person

STRIPE_URL = "https://checkout.stripe.com/c/pay/cs_test_1"


def order_at(person: Person, amount: str = "2500", **fields: str) -> str:
    """The address of the page to pay a new order on."""
    answer = person.browser.post(f"{WALLET}/top-up", {"amount": amount, **fields})
    assert answer.status_code == 302
    return answer["Location"]


def orders_of(person: Person) -> list[TopUpOrder]:
    return list(TopUpOrder.objects.filter(wallet_id=person.organization_id))


@pytest.mark.parametrize("role", ["owner", "billing"])
def test_test_money_becomes_credit_once(
    alice: Person, bob: Callable[[str], Person], test_money: None, role: str
) -> None:
    person = alice if role == "owner" else bob(role)
    page = order_at(person, "own", own_amount="12.34")
    with few_queries():
        shown = text_of(person.browser.get(page))
    assert "No real money" in shown
    assert "Total, in test money $12.34" in shown
    assert wallet_of(alice).paid_nano == 0
    for _ in range(3):
        answer = person.browser.post(page, {"outcome": "pay"}, follow=True)
        assert "Paid The credit is in the wallet." in text_of(answer)
    assert wallet_of(alice).paid_nano == 12_340_000_000
    assert person.browser.get(page).status_code == 302  # an order that has ended is not paid again


def test_a_declined_payment_brings_nothing(alice: Person, test_money: None) -> None:
    page = order_at(alice)
    answer = alice.browser.post(page, {"outcome": "decline"}, follow=True)
    said = text_of(answer)
    assert "Not paid The payment did not go through, and nothing was credited." in said
    assert "The test card was declined" in said
    assert "Try again" in said
    alice.browser.post(page, {"outcome": "pay"})
    assert wallet_of(alice).paid_nano == 0


def test_an_order_says_what_it_comes_to_and_waits_on_the_wallet(alice: Person, test_money: None, settings: Any) -> None:
    settings.TOPUP_FEE_BASIS_POINTS = 290
    page = order_at(alice, "1000")
    order = f"{WALLET}/orders/{page.rpartition('/')[2]}"
    assert "Credit $10.00 Card fee $0.29 Total before tax $10.29" in text_of(alice.browser.get(order))
    wallet = alice.browser.get(WALLET)
    assert "Not paid yet" in text_of(wallet)
    assert f'href="{order}"' in wallet.content.decode()
    paid = text_of(alice.browser.post(page, {"outcome": "pay"}, follow=True))
    assert "Card fee $0.29 Tax $0.00 Total $10.29" in paid
    assert "Not paid yet" not in text_of(alice.browser.get(WALLET))


def test_an_unknown_button_decides_nothing(alice: Person, test_money: None) -> None:
    page = order_at(alice)
    assert alice.browser.post(page, {"outcome": "maybe"}).status_code == 200
    assert orders_of(alice)[0].state == "open"


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"amount": "own"}, "own_amount", "Write how much."),
        ({"amount": "own", "own_amount": "4.99"}, "own_amount", "The least is $5.00."),
        ({"amount": "own", "own_amount": "10000.01"}, "own_amount", "The most is $10,000.00."),
        ({"amount": "own", "own_amount": "999999999999999999"}, "own_amount", "The most is $10,000.00."),
        ({"amount": "own", "own_amount": "7.001"}, "own_amount", "Whole cents only"),
        ({"amount": "own", "own_amount": "1e3"}, "own_amount", "Write an amount in US dollars"),
        ({"amount": "own", "own_amount": "-10"}, "own_amount", "Write an amount in US dollars"),
        ({"amount": "2500", "own_amount": "80"}, "own_amount", "Choose “Another amount” above"),
        ({"amount": "1"}, "amount", "Select a valid choice."),
        ({}, "amount", "This field is required."),
    ],
)
def test_a_wrong_amount_is_said_beside_its_field(
    alice: Person, test_money: None, fields: dict[str, str], field: str, said: str
) -> None:
    answer = alice.browser.post(f"{WALLET}/top-up", fields)
    assert answer.status_code == 422
    assert said in "".join(answer.context["top_up_form"].errors[field])
    assert said in text_of(answer)
    assert orders_of(alice) == []


@pytest.mark.parametrize(
    ("typed", "cents"), [("$7", 700), ("7.5", 750), (" 10000.00 ", 1_000_000), ("$1,250.00", 125_000), ("5", 500)]
)
def test_an_own_amount_may_be_written_in_several_ways(alice: Person, test_money: None, typed: str, cents: int) -> None:
    order_at(alice, "own", own_amount=typed)
    assert orders_of(alice)[0].credit_cents == cents


def test_an_offered_amount_may_be_typed_as_well(alice: Person, test_money: None) -> None:
    order_at(alice, "2500", own_amount="25")
    assert orders_of(alice)[0].credit_cents == 2_500


def test_the_card_fee_stands_apart_and_is_no_credit(alice: Person, test_money: None, settings: Any) -> None:
    settings.TOPUP_FEE_BASIS_POINTS = 290
    page = order_at(alice, "1000")
    assert "Credit $10.00 Card fee $0.29 Tax $0.00 Total, in test money $10.29" in text_of(alice.browser.get(page))
    alice.browser.post(page, {"outcome": "pay"})
    assert wallet_of(alice).paid_nano == 10 * NANO_PER_USD


def test_the_test_page_exists_with_test_payments_only(alice: Person, test_money: None, settings: Any) -> None:
    page = order_at(alice)
    settings.TEST_PAYMENTS = False
    assert alice.browser.get(page).status_code == 404
    assert alice.browser.post(page, {"outcome": "pay"}).status_code == 404
    assert wallet_of(alice).paid_nano == 0


def test_an_order_that_real_money_pays_has_no_test_page(alice: Person, test_money: None) -> None:
    order_at(alice)
    TopUpOrder.objects.filter(wallet_id=alice.organization_id).update(kind="checkout")
    page = f"{WALLET}/test-checkout/{orders_of(alice)[0].pk}"
    assert alice.browser.post(page, {"outcome": "pay"}).status_code == 404


@pytest.mark.parametrize("role", ["developer", "viewer"])
def test_others_can_look_at_an_order_but_not_pay_it(
    alice: Person, bob: Callable[[str], Person], test_money: None, role: str
) -> None:
    page = order_at(alice)
    order = orders_of(alice)[0]
    assert bob(role).browser.get(page).status_code == 403
    assert bob(role).browser.post(page, {"outcome": "pay"}).status_code == 403
    assert "Waiting for the payment" in text_of(bob(role).browser.get(f"{WALLET}/orders/{order.pk}"))


def test_strangers_get_404(alice: Person, charlie: Person, client: Client, test_money: None) -> None:
    page = order_at(alice)
    order = orders_of(alice)[0]
    for path in (page, f"{WALLET}/orders/{order.pk}", f"{WALLET}/orders?order={order.pk}"):
        assert charlie.browser.get(path).status_code == 404
        assert client.get(path).status_code == 302
    assert charlie.browser.post(page, {"outcome": "pay"}).status_code == 404
    assert wallet_of(charlie).paid_nano == 0


def test_the_page_one_comes_back_to_waits_and_then_says_it(alice: Person, test_money: None) -> None:
    page = order_at(alice)
    order = orders_of(alice)[0]
    back = alice.browser.get(f"{WALLET}/orders?order={order.pk}")
    assert back["Location"] == f"{WALLET}/orders/{order.pk}"
    with few_queries():
        waiting = alice.browser.get(back["Location"])
    assert f'hx-get="{WALLET}/orders/{order.pk}"' in waiting.content.decode()
    assert "Look again" in text_of(waiting)
    assert wallet_of(alice).paid_nano == 0  # looking credits nothing
    part = alice.browser.get(back["Location"], headers={"HX-Request": "true"})
    assert "<html" not in part.content.decode()
    assert "hx-trigger" in part.content.decode()
    alice.browser.post(page, {"outcome": "pay"})
    part = alice.browser.get(back["Location"], headers={"HX-Request": "true"}).content.decode()
    assert "The credit is in the wallet." in part
    assert "hx-trigger" not in part
    payment = Payment.objects.get(order=order)
    assert f"{WALLET}/receipts/{payment.pk}" in part


@pytest.mark.parametrize(
    ("state", "said"), [("expired", "Nobody paid this order in time."), ("unknown", "Waiting for the payment")]
)
def test_every_end_of_an_order_is_explained(alice: Person, test_money: None, state: str, said: str) -> None:
    order_at(alice)
    TopUpOrder.objects.filter(wallet_id=alice.organization_id).update(state=state)
    assert said in text_of(alice.browser.get(f"{WALLET}/orders/{orders_of(alice)[0].pk}"))


def test_without_an_order_there_is_nothing_to_come_back_to(alice: Person) -> None:
    assert alice.browser.get(f"{WALLET}/orders").status_code == 404
    assert alice.browser.get(f"{WALLET}/orders/top-nothing").status_code == 404


def test_stripes_page_is_reached_by_a_link_of_ours(
    alice: Person, charlie: Person, stripe_keys: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TOPUP_FEE_BASIS_POINTS = 300
    asked: list[Any] = []

    def start(*arguments: Any, **options: Any) -> str:
        asked.append((arguments, options))
        return STRIPE_URL

    monkeypatch.setattr(wallet_views, "do_start_checkout", start)
    answer = alice.browser.post(f"{WALLET}/top-up", {"amount": "5000", "saves_card": "on"})
    assert answer["Location"] == f"{WALLET}/checkout"  # a redirect to Stripe would break form-action 'self'
    options = {"saves_card": True, "actor": alice.email, "return_url": f"{WALLET}/orders"}
    assert asked == [((alice.organization_id, 5_000), options)]
    with few_queries():
        page = alice.browser.get(answer["Location"])
    assert f'href="{STRIPE_URL}"' in page.content.decode()
    said = text_of(page)
    assert "Credit $50.00 Card fee $1.50 Tax as due at your address" in said
    assert "Total before tax $51.50 Card kept for automatic top-ups" in said
    assert charlie.browser.get(f"{WALLET}/checkout")["Location"] == WALLET


def test_what_the_installation_refuses_is_said_above_the_form(alice: Person, test_money: None, settings: Any) -> None:
    settings.TOPUP_MAXIMUM_CENTS = 4_000
    answer = alice.browser.post(f"{WALLET}/top-up", {"amount": "5000"})
    assert answer.status_code == 422
    assert "A top-up is between $5.00 and $40.00." in text_of(answer)
    assert orders_of(alice) == []


def test_a_provider_that_does_not_answer_is_503(alice: Person, stripe_keys: None) -> None:
    answer = alice.browser.post(f"{WALLET}/top-up", {"amount": "5000"})
    assert answer.status_code == 503
    assert "The payment provider does not answer" in text_of(answer)
    assert alice.browser.get(f"{WALLET}/portal").status_code == 503


def test_the_portal_is_for_those_who_may_pay(
    alice: Person, bob: Callable[[str], Person], stripe_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wallet_views, "do_open_portal", lambda *arguments: f"https://billing.stripe.com/{arguments[1]}")
    assert alice.browser.get(f"{WALLET}/portal")["Location"] == f"https://billing.stripe.com/{WALLET}"
    assert bob("developer").browser.get(f"{WALLET}/portal").status_code == 403


def test_a_saved_card_is_offered_for_automatic_top_ups(alice: Person, test_money: None) -> None:
    pay_with_test_money(alice)
    assert "Saved card None." in text_of(alice.browser.get(WALLET))
    pay_with_test_money(alice, saves_card="on")
    assert "Saved card test card •••• 0000" in text_of(alice.browser.get(WALLET))
