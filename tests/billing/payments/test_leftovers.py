"""Test money before payments become real: what is left of it is found, keeps the start away, and can be taken."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditEntry
from billing.actions import remove_test_credit as module
from billing.actions.checkout import do_start_checkout
from billing.actions.pretended_checkout import do_pay_test_order
from billing.actions.refunds import do_refund
from billing.errors import MovementRefused
from billing.ledger.items import Movement, Void
from billing.ledger.verify import differences
from billing.models import Payment, TopUpOrder
from billing.payments.checks import check_test_money
from billing.payments.leftovers import credit_left, refusal_of_real_money
from komilion.supervisor import prepare
from tests.billing.ledger_database import Tenant, new_name, place
from tests.billing.payments.conftest import Alice, deliver, dispute_of, event, new_alice, payment_of
from tests.fakes.stripe import FakeStripe

CENT = 10_000_000
LIVE = "sk_live_0123456789"


def left(alice: Alice) -> int:
    """Cents of test money that Alice still has."""
    return credit_left().get(alice.id, 0) // CENT


def move(alice: Alice, kind: Any, cents: int) -> None:
    alice.ledger.commit(Movement(new_name(kind), kind, alice.id, cents * CENT))


def pay_really(alice: Alice, cents: int) -> None:
    """A payment of real money."""
    order = alice.order(cents, livemode=True)
    figures = {"credit_cents": cents, "fee_cents": 0, "tax_cents": 0, "total_cents": cents, "currency": "usd"}
    row = {"id": f"pi_{order.pk}", "order_id": order.pk, "wallet_id": alice.id, "livemode": True, "charge_id": ""}
    alice.ledger.commit(Movement(f"pi_{order.pk}", "topup", alice.id, cents * CENT, payment={**row, **figures}))


def remove(capsys: pytest.CaptureFixture[str]) -> str:
    call_command("wallet", "remove-test-credit")
    return capsys.readouterr().out


@pytest.fixture
def played(alice: Alice, fake_stripe: FakeStripe) -> Alice:
    """Alice with $10.00 of Stripe's test mode."""
    alice.top_up(1_000)
    return alice


@pytest.mark.usefixtures("test_money")
def test_credit_of_our_own_test_page_is_found_too(alice: Alice):
    do_start_checkout(alice.id, 600, saves_card=False, actor=alice.email, return_url="/")
    do_pay_test_order(alice.id, TopUpOrder.objects.get().pk, actor=alice.email)
    assert left(alice) == 600


@pytest.mark.parametrize(
    ("happens", "expected"),
    [
        (lambda alice: alice.spend(300), 700),
        (lambda alice: alice.spend(1_000), 0),
        (lambda alice: move(alice, "topup", 500), 1_000),  # paid elsewhere
        (lambda alice: move(alice, "recredit", 500), 1_000),
        (lambda alice: move(alice, "grant", 500), 1_000),
        (lambda alice: (pay_really(alice, 500), alice.spend(700)), 300),  # test money is spent first
        (lambda alice: (pay_really(alice, 500), alice.spend(1_200)), 0),
        (lambda alice: (alice.spend(1_000), pay_really(alice, 500)), 0),
        (lambda alice: (pay_really(alice, 500), move(alice, "chargeback", 500)), 1_000),
        (lambda alice: do_refund(alice.id, Payment.objects.get().pk, actor="x"), 0),
    ],
)
def test_what_is_left_is_what_was_neither_spent_nor_really_paid(
    played: Alice, happens: Callable[[Alice], Any], expected: int
):
    happens(played)
    assert left(played) == expected


def test_a_disputed_test_payment_is_not_counted_as_real_money(played: Alice):
    played.spend(1_000)
    paid = payment_of(TopUpOrder.objects.get())
    assert deliver(event("charge.dispute.created", dispute_of(paid, 1_000))) == 200
    move(played, "topup", 1_500)
    assert (played.balance(), left(played)) == ((500, 0), 0)


def test_it_is_taken_with_a_posting_and_an_audit_entry_and_once(played: Alice, capsys: pytest.CaptureFixture[str]):
    played.spend(300)
    pay_really(played, 500)
    other = new_alice(played.ledger)
    other.customer(customer_id="cus_other")
    pay_really(other, 500)
    assert remove(capsys) == f"wallet {played.id}: 7.00 US dollars taken\nno test money is left\n"
    assert (played.balance(), other.balance(), credit_left()) == ((500, 0), (500, 0), {})
    assert played.entries()[-1] == ("adjust", 700)
    assert AuditEntry.objects.get(organization_id=played.id, action="wallet.adjust").actor == "manage.py"
    assert remove(capsys) == "no test money is left\n"
    pay_really(played, 500)
    assert (played.balance(), credit_left()) == ((1_000, 0), {})
    assert list(differences()) == []


def test_two_who_take_it_at_once_take_it_once(played: Alice):
    pay_really(played, 500)
    first, second = module._correction(played.id), module._correction(played.id)
    assert first == second
    assert [module.do_correct(each, actor="x").changed for each in (first, second)] == [True, False]
    assert module._correction(played.id).amount_nano == 0
    assert played.balance() == (500, 0)


def test_what_calls_hold_is_taken_when_they_have_ended(played: Alice, capsys: pytest.CaptureFixture[str]):
    epoch = played.organization.auth_epoch
    hold = place(Tenant(played.id, 0), 900 * CENT, key_id=None, organization_epoch=epoch)
    played.ledger.commit(hold)
    with pytest.raises(CommandError, match=r"9\.00 US dollars are held by calls"):
        remove(capsys)
    with pytest.raises(CommandError, match="held by calls"):
        remove(capsys)
    played.ledger.commit(Void(hold.request_id, played.id))
    assert "no test money is left" in remove(capsys)
    assert played.balance() == (0, 0)


def test_a_ledger_that_refuses_is_told(
    played: Alice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise MovementRefused("spent meanwhile")

    monkeypatch.setattr(module, "do_correct", refuse)
    with pytest.raises(CommandError, match="run it again: spent meanwhile"):
        remove(capsys)


@pytest.mark.parametrize("arguments", [["show"], ["remove-test-credit", "alice@example.com"]])
def test_the_command_takes_an_address_only_where_it_needs_one(arguments: list[str]):
    with pytest.raises(CommandError, match="show takes the address"):
        call_command("wallet", *arguments)


# the start


def test_a_start_with_a_live_key_is_refused_while_test_money_is_left(
    played: Alice, settings: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(prepare.django, "setup", lambda: None)
    monkeypatch.setattr(prepare, "call_command", lambda *_, **__: None)
    assert refusal_of_real_money(settings.STRIPE_SECRET_KEY) == ""
    assert check_test_money(None, ["default"]) == []
    settings.STRIPE_SECRET_KEY = LIVE
    refusal = prepare.prepare().refusal
    assert "$10.00 of test money can still be spent from 1 wallet(s)" in refusal
    assert "manage.py wallet remove-test-credit" in refusal
    (error,) = check_test_money(None, ["default"])
    assert (error.id, refusal in error.msg) == ("billing.E004", True)
    remove(capsys)
    assert (refusal_of_real_money(LIVE), check_test_money(None, ["default"])) == ("", [])
