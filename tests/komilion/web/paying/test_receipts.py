"""Receipts say what was paid and what went back; refunds give back what is unspent, and say why not more."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from billing.actions.refunds import do_sweep_refunds
from billing.errors import StoreBusy, StoreUnavailable
from billing.models import Dispute, Refund
from billing.payments.queries import refunds_of
from komilion.common.clock import utc_now
from komilion.common.money import NANO_PER_USD
from tests.komilion.web.paying.wallets import (
    WALLET,
    few_queries,
    move,
    new_payment,
    pay_with_test_money,
    text_of,
    wallet_of,
)
from tests.people import Person


def test_a_receipt_names_every_part_of_the_sum(alice: Person, bob: Callable[[str], Person], settings: Settings) -> None:
    settings.SELLER = "Example Ltd, 1 High Street"
    payment = new_payment(alice)
    common = {"payment": payment, "wallet_id": alice.organization_id}
    Refund.objects.create(id=f"ref-{payment.pk}", credit_cents=1_000, refund_cents=1_225, state="succeeded", **common)
    Dispute.objects.create(id=f"dp-{payment.pk}", amount_cents=3_064, credit_cents=2_500, state="lost", **common)
    viewer = bob("viewer")
    with few_queries():
        answer = viewer.browser.get(f"{WALLET}/receipts/{payment.pk}")
    said = text_of(answer)
    for part in (
        f"Number {payment.pk}",
        f"Order {payment.order_id}",
        f"Paid {payment.created_at:%b} {payment.created_at.day} {payment.created_at:%Y, %H:%M} UTC",
        "Sold by Example Ltd, 1 High Street",
        f"Ordered by {alice.email}",
        "Paid with Stripe Checkout",
        "Credit $25.00 Card fee $0.75 Tax $4.89 Total $30.64",
        "paid back $10.00 $12.25",
        "lost $30.64",
    ):
        assert part in said
    assert "test money" not in said


@pytest.mark.parametrize(("kind", "said"), [("recharge", "the saved card, automatically"), ("test", "test money")])
def test_a_receipt_says_how_it_was_paid(alice: Person, kind: str, said: str) -> None:
    payment = new_payment(alice, kind=kind, livemode=kind != "test")
    page = text_of(alice.browser.get(f"{WALLET}/receipts/{payment.pk}"))
    assert f"Paid with {said}" in page
    assert ("nothing was paid" in page) == (kind == "test")


def test_strangers_get_404(alice: Person, charlie: Person, test_money: None) -> None:
    payment = pay_with_test_money(alice)
    assert charlie.browser.get(f"{WALLET}/receipts/{payment.pk}").status_code == 404
    refund = f"{WALLET}/payments/{payment.pk}/refund"
    assert charlie.browser.get(refund).status_code == 404
    assert charlie.browser.post(refund).status_code == 404
    assert wallet_of(alice).paid_nano == 25 * NANO_PER_USD


@pytest.mark.parametrize("role", ["developer", "viewer"])
def test_only_those_who_may_pay_refund(
    alice: Person, bob: Callable[[str], Person], test_money: None, role: str
) -> None:
    payment = pay_with_test_money(alice)
    person = bob(role)
    assert person.browser.get(f"{WALLET}/receipts/{payment.pk}").status_code == 200
    assert person.browser.get(f"{WALLET}/payments/{payment.pk}/refund").status_code == 403
    assert person.browser.post(f"{WALLET}/payments/{payment.pk}/refund").status_code == 403
    assert refunds_of(alice.organization_id) == []


@pytest.mark.parametrize("role", ["owner", "billing"])
def test_unspent_credit_goes_back_and_no_more(
    alice: Person, bob: Callable[[str], Person], test_money: None, role: str
) -> None:
    payment = pay_with_test_money(alice)
    move(alice, "adjust", 10 * NANO_PER_USD + 1)  # as if spent
    move(alice, "grant", 5 * NANO_PER_USD)
    person = alice if role == "owner" else bob(role)
    with few_queries():
        shown = text_of(person.browser.get(f"{WALLET}/payments/{payment.pk}/refund"))
    assert "What can be refunded now: $14.99" in shown  # whole cents
    assert "Credit of this payment $25.00 Refunded before $0.00 Paid credit in the wallet $14.99" in shown
    answer = person.browser.post(f"{WALLET}/payments/{payment.pk}/refund", follow=True)
    said = text_of(answer)
    assert "$14.99 of credit is taken off the wallet, $14.99 of test money is given back." in said
    assert "paid back $14.99 $14.99" in said
    wallet = wallet_of(alice)
    assert (wallet.paid_nano, wallet.promo_nano) == (NANO_PER_USD // 100 - 1, 5 * NANO_PER_USD)
    (refund,) = refunds_of(alice.organization_id)
    assert (refund.credit_cents, refund.created_by) == (1_499, person.email)


def test_nothing_is_refunded_twice(alice: Person, test_money: None) -> None:
    payment = pay_with_test_money(alice)
    url = f"{WALLET}/payments/{payment.pk}/refund"
    assert alice.browser.post(url).status_code == 302
    again = alice.browser.post(url)
    assert again.status_code == 409
    assert "Not refunded Nothing of this payment can be refunded now" in text_of(again)
    assert "Nothing of it can be refunded now." in text_of(alice.browser.get(url))
    assert len(refunds_of(alice.organization_id)) == 1
    assert wallet_of(alice).paid_nano == 0


def test_a_disputed_payment_is_not_refunded(alice: Person, test_money: None) -> None:
    payment = pay_with_test_money(alice)
    common = {"payment": payment, "wallet_id": alice.organization_id}
    Dispute.objects.create(
        id=f"dp-{payment.pk}", amount_cents=2_500, credit_cents=2_500, state="needs_response", **common
    )
    url = f"{WALLET}/payments/{payment.pk}/refund"
    assert "This payment is disputed at the bank" in text_of(alice.browser.get(url))
    assert alice.browser.post(url).status_code == 409


@pytest.mark.parametrize("trouble", [StoreUnavailable, StoreBusy])
def test_where_the_ledger_does_not_answer_a_refund_says_so_and_goes_on_by_itself(
    alice: Person, test_money: None, monkeypatch: pytest.MonkeyPatch, trouble: type[Exception]
) -> None:
    payment = pay_with_test_money(alice)

    def gone(_: object) -> None:
        raise trouble("postgres://secret@host")

    with monkeypatch.context() as patch:
        patch.setattr("billing.actions.refunds.do_move", gone)
        answer = alice.browser.post(f"{WALLET}/payments/{payment.pk}/refund")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "look whether it happened before you try again" in text_of(answer)
    assert "secret" not in text_of(answer)
    refunds = Refund.objects.filter(payment=payment)
    refunds.update(created_at=utc_now() - timedelta(minutes=2))
    do_sweep_refunds()
    assert [refund.state for refund in refunds] == ["succeeded"]
    assert wallet_of(alice).paid_nano == 0


def test_where_paying_is_off_nothing_is_refunded(alice: Person, test_money: None, settings: Any) -> None:
    payment = pay_with_test_money(alice)
    settings.TEST_PAYMENTS = False
    url = f"{WALLET}/payments/{payment.pk}/refund"
    assert "Paying is off" in text_of(alice.browser.get(url))
    assert alice.browser.post(url).status_code == 503
    assert wallet_of(alice).paid_nano == 25 * NANO_PER_USD


@pytest.mark.parametrize(
    ("state", "said"),
    [("open", "is on its way to the card"), ("failed", "The payment provider refused the refund.")],
)
def test_a_refund_that_is_not_done_says_so(
    alice: Person, test_money: None, monkeypatch: pytest.MonkeyPatch, state: str, said: str
) -> None:
    payment = pay_with_test_money(alice)
    made = Refund(id="ref-1", payment=payment, credit_cents=100, refund_cents=100, state=state)
    monkeypatch.setattr("komilion.web.paying.receipts.do_refund", lambda *_, **__: made)
    answer = alice.browser.post(f"{WALLET}/payments/{payment.pk}/refund", follow=True)
    assert said in text_of(answer)
