"""The wallet's page: who sees what, who may change what, and what is said about money that is not there."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.test import Client

from billing.models import AutoRecharge, Dispute, PayingCustomer, Refund
from billing.wallet_queries import wallet_overview
from komilion.common.money import NANO_PER_USD
from tests.komilion.web.paying.wallets import (
    ROLES,
    WALLET,
    few_queries,
    move,
    new_payment,
    pay_with_test_money,
    text_of,
    wallet_of,
)
from tests.people import Person

TERMS = {"threshold": "5", "credit": "25.00", "daily_cap": "$100", "agrees": "on"}
POSTS = ["top-up", "auto-recharge", "auto-recharge/stop", "alert"]


def terms_of(person: Person) -> Any:
    """Automatic top-up as it is set up; None where it never was."""
    return wallet_overview(person.organization_id).auto_recharge


def test_who_is_not_logged_in_is_asked_to(client: Client) -> None:
    answer = client.get(WALLET)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/auth/login/?next=/dashboard/wallet")


@pytest.mark.parametrize("role", ["owner", *ROLES])
def test_everybody_sees_the_balance_and_only_those_who_may_pay_the_forms(
    alice: Person, bob: Callable[[str], Person], test_money: None, role: str
) -> None:
    move(alice, "topup", 20 * NANO_PER_USD)
    person = alice if role == "owner" else bob(role)
    with few_queries():
        answer = person.browser.get(WALLET)
    assert answer.status_code == 200
    assert "Available $20.00" in text_of(answer)
    may_pay = role in {"owner", "billing"}
    assert ('action="/dashboard/wallet/top-up"' in answer.content.decode()) == may_pay
    assert ('action="/dashboard/wallet/alert"' in answer.content.decode()) == may_pay


@pytest.mark.parametrize("trouble", [OperationalError, InterfaceError])
def test_without_the_database_a_page_says_503(alice: Person, trouble: type[Exception]) -> None:
    def gone(*_: object) -> None:
        raise trouble("no connection to postgres://secret@host")

    with connection.execute_wrapper(gone):
        answer = alice.browser.get(WALLET)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "look whether it happened before you try again" in text_of(answer)
    assert "secret" not in text_of(answer)
    assert alice.browser.get(WALLET).status_code == 200


@pytest.mark.parametrize("role", ["developer", "viewer"])
@pytest.mark.parametrize("path", POSTS)
def test_others_change_nothing(
    alice: Person, bob: Callable[[str], Person], test_money: None, role: str, path: str
) -> None:
    answer = bob(role).browser.post(f"{WALLET}/{path}", {"amount": "2500", "threshold": "9", **TERMS})
    assert answer.status_code == 403
    assert f"Your role ({role}) may not do that" in text_of(answer)
    assert terms_of(alice) is None
    assert wallet_overview(alice.organization_id).alert is None


def test_one_sees_the_own_wallet_only(alice: Person, charlie: Person) -> None:
    move(alice, "topup", 20 * NANO_PER_USD)
    new_payment(alice)
    said = text_of(charlie.browser.get(WALLET))
    assert "Available $0.00" in said
    assert "No payment yet" in said


def test_promo_credit_is_listed_with_its_ends(alice: Person) -> None:
    move(alice, "grant", 5 * NANO_PER_USD, expires_at="2031-02-03 00:00:00.000000")
    move(alice, "grant", 2 * NANO_PER_USD)
    said = text_of(alice.browser.get(WALLET))
    assert "Promo credit $7.00" in said
    assert "Feb 3 2031" in said
    assert said.index("Feb 3 2031") < said.index("never")


def test_debt_is_explained(alice: Person) -> None:
    move(alice, "chargeback", 3 * NANO_PER_USD)
    assert wallet_of(alice).debt_nano == 3 * NANO_PER_USD
    said = text_of(alice.browser.get(WALLET))
    assert "The wallet is in debt" in said
    assert "or money was taken back whose credit was spent" in said
    assert "Debt $3.00" in said


def test_without_a_payment_provider_the_page_says_so_and_paying_is_503(alice: Person) -> None:
    answer = alice.browser.get(WALLET)
    assert "Paying is off" in text_of(answer)
    assert 'action="/dashboard/wallet/top-up"' not in answer.content.decode()
    refused = alice.browser.post(f"{WALLET}/top-up", {"amount": "2500"})
    assert refused.status_code == 503
    assert "Paying is not possible right now." in text_of(refused)
    assert alice.browser.get(f"{WALLET}/portal").status_code == 503


def test_test_money_is_marked(alice: Person, test_money: None) -> None:
    said = text_of(alice.browser.get(WALLET))
    assert "Test money This installation pays with test money" in said
    assert "Pay with test money" in said


def test_stripes_test_mode_is_marked_too(alice: Person, stripe_keys: None) -> None:
    said = text_of(alice.browser.get(WALLET))
    assert "Stripe runs in test mode here" in said
    assert "Go to payment" in said


def test_the_card_fee_is_shown_before_paying(alice: Person, test_money: None, settings: Any) -> None:
    settings.TOPUP_FEE_BASIS_POINTS = 290
    assert "$0.29 on $10.00, $0.73 on $25.00" in text_of(alice.browser.get(WALLET))
    settings.TOPUP_FEE_BASIS_POINTS = 0
    assert "No fee is added for paying by card." in text_of(alice.browser.get(WALLET))


@pytest.mark.parametrize("role", ["owner", "billing"])
def test_automatic_top_up_is_set_up_changed_and_stopped(
    alice: Person, bob: Callable[[str], Person], test_money: None, role: str
) -> None:
    pay_with_test_money(alice, saves_card="on")
    person = alice if role == "owner" else bob(role)
    page = text_of(person.browser.get(WALLET))
    assert "test card •••• 0000" in page
    assert "I authorise this service to charge the saved card" in page
    answer = person.browser.post(f"{WALLET}/auto-recharge", TERMS, REMOTE_ADDR="192.0.2.7", follow=True)
    assert "Automatic top-up is on." in text_of(answer)
    terms = terms_of(alice)
    assert (terms.threshold_nano, terms.credit_cents, terms.daily_cap_cents) == (5 * NANO_PER_USD, 2_500, 10_000)
    assert (terms.agreed_by, terms.agreed_from) == (person.email, "192.0.2.7")
    assert terms.agreed_version in text_of(answer)
    person.browser.post(f"{WALLET}/auto-recharge", {**TERMS, "threshold": "7.50"})
    assert terms_of(alice).threshold_nano == 7_500_000_000
    answer = person.browser.post(f"{WALLET}/auto-recharge/stop", follow=True)
    assert "Automatic top-up is off." in text_of(answer)
    assert not terms_of(alice).is_on


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agrees": ""}, "Without this nothing can be charged."),
        ({"threshold": "0.50"}, "The least is $1.00."),
        ({"threshold": "5.001"}, "Whole cents only"),
        ({"credit": "4.99"}, "The least is $5.00."),
        ({"credit": "lots"}, "Write an amount in US dollars"),
        ({"daily_cap": "20"}, "Less than one top-up of $25.00."),
        ({"daily_cap": ""}, "This field is required."),
    ],
)
def test_errors_stand_beside_the_fields(alice: Person, test_money: None, changes: dict[str, str], said: str) -> None:
    pay_with_test_money(alice, saves_card="on")
    answer = alice.browser.post(f"{WALLET}/auto-recharge", {**TERMS, **changes})
    assert answer.status_code == 422
    (name,) = changes
    field = answer.content.decode().split(f'id="recharge_{name}"')[1].split('<div class="field">')[0]
    assert said in field
    assert terms_of(alice) is None


def test_automatic_top_up_needs_a_card(alice: Person, test_money: None) -> None:
    assert "It needs a saved card" in text_of(alice.browser.get(WALLET))
    answer = alice.browser.post(f"{WALLET}/auto-recharge", TERMS)
    assert answer.status_code == 422
    assert terms_of(alice) is None


def test_where_tax_is_added_automatic_top_up_is_not_offered_and_refused(
    alice: Person, stripe_keys: None, settings: Any
) -> None:
    assert "topped up by itself" in text_of(alice.browser.get("/pricing"))
    settings.STRIPE_TAX = True
    assert "topped up by itself" not in text_of(alice.browser.get("/pricing"))
    card = {"payment_method_id": "pm_1", "card_last4": "4242", "customer_id": f"cus_{alice.organization_id}"}
    PayingCustomer.objects.create(wallet_id=alice.organization_id, livemode=False, **card)
    page = alice.browser.get(WALLET)
    assert "Not possible here: tax is added to top-ups" in text_of(page)
    assert 'action="/dashboard/wallet/auto-recharge"' not in page.content.decode()
    answer = alice.browser.post(f"{WALLET}/auto-recharge", TERMS)
    assert answer.status_code == 422
    assert "automatic top-up is not possible" in text_of(answer)
    assert terms_of(alice) is None


def test_why_it_switched_itself_off_is_said(alice: Person, test_money: None) -> None:
    pay_with_test_money(alice, saves_card="on")
    alice.browser.post(f"{WALLET}/auto-recharge", TERMS)
    AutoRecharge.objects.filter(wallet_id=alice.organization_id).update(
        is_on=False, off_reason="The card was declined twice."
    )
    assert "It switched itself off The card was declined twice." in text_of(alice.browser.get(WALLET))


def test_a_card_of_another_stripe_account_is_not_shown(alice: Person, stripe_keys: None) -> None:
    card = {"payment_method_id": "pm_1", "card_last4": "4242", "customer_id": f"cus_{alice.organization_id}"}
    PayingCustomer.objects.create(wallet_id=alice.organization_id, livemode=True, **card)
    assert "4242" not in text_of(alice.browser.get(WALLET))
    PayingCustomer.objects.filter(wallet_id=alice.organization_id).update(livemode=False)
    said = text_of(alice.browser.get(WALLET))
    assert "•••• 4242" in said
    assert "Cards and invoices at Stripe" in said


def test_the_low_balance_e_mail_is_set_and_dropped(alice: Person, bob: Callable[[str], Person]) -> None:
    answer = alice.browser.post(f"{WALLET}/alert", {"threshold": "2.50"}, follow=True)
    assert "An e-mail will be sent below $2.50." in text_of(answer)
    assert wallet_overview(alice.organization_id).alert.threshold_nano == 2_500_000_000
    assert "Sent when the balance falls below $2.50" in text_of(bob("viewer").browser.get(WALLET))
    refused = alice.browser.post(f"{WALLET}/alert", {"threshold": "-1"})
    assert refused.status_code == 422
    assert "Write an amount in US dollars" in text_of(refused)
    answer = alice.browser.post(f"{WALLET}/alert", {"threshold": ""}, follow=True)
    assert "No e-mail will be sent." in text_of(answer)
    assert wallet_overview(alice.organization_id).alert is None


def test_payments_refunds_and_disputes_are_listed(alice: Person, bob: Callable[[str], Person]) -> None:
    payment = new_payment(alice)
    common = {"payment": payment, "wallet_id": alice.organization_id}
    amounts = {"credit_cents": 100, "refund_cents": 122}
    for state in ("open", "succeeded", "failed"):
        Refund.objects.create(id=f"ref-{payment.pk}-{state}", state=state, **amounts, **common)
    dispute = Dispute.objects.create(
        id=f"dp-{payment.pk}", amount_cents=3_064, credit_cents=2_500, state="needs_response", **common
    )
    viewer = bob("viewer")
    with few_queries():
        said = text_of(viewer.browser.get(WALLET))
    assert "$30.64" in said
    for word in ("on its way", "paid back", "failed, credit returned", "needs response", "A payment is disputed"):
        assert word in said
    dispute.state = "won"
    dispute.save()
    assert "A payment is disputed" not in text_of(alice.browser.get(WALLET))


def test_what_went_back_whole_is_not_offered_for_a_refund(alice: Person) -> None:
    payment = new_payment(alice)
    common = {"payment": payment, "wallet_id": alice.organization_id, "refund_cents": 1_000}
    Refund.objects.create(id=f"ref-{payment.pk}-1", state="succeeded", credit_cents=2_000, **common)
    Refund.objects.create(id=f"ref-{payment.pk}-2", state="failed", credit_cents=500, **common)
    link = f'href="{WALLET}/payments/{payment.pk}/refund"'
    pages = (WALLET, f"{WALLET}/receipts/{payment.pk}")
    assert all(link in alice.browser.get(page).content.decode() for page in pages)
    Refund.objects.create(id=f"ref-{payment.pk}-3", state="open", credit_cents=500, **common)
    assert not any(link in alice.browser.get(page).content.decode() for page in pages)


def test_a_suspended_organization_is_told_so(alice: Person) -> None:
    from accounts.actions.organizations import do_suspend
    from accounts.models import Organization

    do_suspend(Organization.objects.get(pk=alice.organization_id), actor="test")
    assert "This organization is suspended" in text_of(alice.browser.get(WALLET))


def test_forms_without_the_token_of_the_page_are_refused(alice: Person, test_money: None) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.cookies = alice.browser.cookies
    for path in POSTS:
        assert browser.post(f"{WALLET}/{path}", TERMS).status_code == 403


@pytest.mark.parametrize("path", ["", "/statement"])
def test_an_organization_without_a_wallet_has_no_such_pages(alice: Person, path: str) -> None:
    wallet_of(alice).delete()
    assert alice.browser.get(f"{WALLET}{path}").status_code == 404
