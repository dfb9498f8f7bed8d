"""Low balance and receipts by e-mail: once each, and again only for a reason."""

import smtplib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.mail.message import EmailMessage
from django.utils import timezone

from accounts.models import Membership, Role, User
from billing.actions.alerts import do_send_alerts, do_send_receipts, do_set_alert
from billing.errors import PaymentError
from billing.ledger.items import Movement
from billing.models import BalanceAlert, Payment, TopUpOrder
from billing.tasks import write_letters
from billing.wallet_queries import wallet_overview
from tests.billing.ledger_database import LedgerDatabase, new_name
from tests.billing.payments.conftest import Alice, deliver, new_alice, payment_of, session_event

pytestmark = pytest.mark.usefixtures("fake_stripe")

CENT = 10_000_000


@pytest.fixture
def outbox(mailoutbox: list[Any]) -> list[Any]:
    return mailoutbox


@pytest.fixture
def mail_server_is_gone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def fail(*_: object, **__: object) -> int:
        raise OSError("gone")

    monkeypatch.setattr(EmailMessage, "send", fail)
    return monkeypatch


def join(alice: Alice, role: Role, *, is_active: bool = True) -> str:
    """Another member."""
    user = User(email=f"{new_name('bob')}@example.com", password="!", is_active=is_active)
    user.save()
    Membership.objects.create(organization_id=alice.id, user=user, role=role)
    return user.email


def test_low_balance_is_told_once_for_each_fall_to_those_who_may_pay(alice: Alice, outbox: list[Any]):
    bob = join(alice, Role.BILLING)
    join(alice, Role.DEVELOPER)
    join(alice, Role.OWNER, is_active=False)
    alice.top_up(1_000)
    do_set_alert(alice.id, 500 * CENT)
    assert do_send_alerts() == 0
    alice.spend(501)
    assert do_send_alerts() == 1
    assert do_send_alerts() == 0
    assert [mail.to for mail in outbox] == [[alice.email], [bob]]
    assert outbox[0].subject == "Your credit runs low"
    assert "$5.00" in outbox[0].body
    assert "$4.99" in outbox[0].body
    assert "/dashboard/wallet" in outbox[0].body
    alice.ledger.commit(Movement(new_name("grant"), "grant", alice.id, CENT))
    assert do_send_alerts() == 0  # risen to the threshold: armed again
    alice.spend(1)
    assert do_send_alerts() == 1


def test_a_letter_names_the_organization_and_leads_to_its_wallet(alice: Alice, outbox: list[Any]):
    alice.top_up(1_000)
    do_set_alert(alice.id, 2_000 * CENT)
    assert (do_send_alerts(), do_send_receipts()) == (1, 1)
    alert, receipt = outbox
    assert f"the credit of {alice.organization.name} falls below" in alert.body
    assert f"/dashboard/wallet?organization={alice.id}" in alert.body
    assert f"The top-up of {alice.organization.name} is paid" in receipt.body
    html, _ = receipt.alternatives[0]
    assert "The top-up of Alice" in html


def test_a_receipt_says_that_a_top_up_was_automatic(alice: Alice, outbox: list[Any]):
    TopUpOrder.objects.filter(pk=alice.top_up().pk).update(kind="recharge")
    assert do_send_receipts() == 1
    assert f"An automatic top-up of {alice.organization.name} is paid" in outbox[0].body


def test_debt_counts_against_the_balance(alice: Alice, outbox: list[Any]):
    alice.ledger.commit(
        Movement(new_name("grant"), "grant", alice.id, 600 * CENT),
        Movement(new_name("chargeback"), "chargeback", alice.id, 101 * CENT),
    )
    do_set_alert(alice.id, 500 * CENT)
    assert do_send_alerts() == 1
    assert "$4.99" in outbox[0].body


def test_an_alert_is_changed_and_taken_away(alice: Alice):
    do_set_alert(alice.id, 500 * CENT, actor=alice.email)
    assert do_send_alerts() == 1
    do_set_alert(alice.id, 400 * CENT)
    alert = wallet_overview(alice.id).alert
    assert alert is not None
    assert (alert.threshold_nano, alert.told_at) == (400 * CENT, None)
    do_set_alert(alice.id, None)
    assert wallet_overview(alice.id).alert is None
    for wrong in (0, 2**63):
        with pytest.raises(PaymentError):
            do_set_alert(alice.id, wrong)


def test_what_could_not_be_sent_is_sent_by_the_next_sweep(
    alice: Alice, mail_server_is_gone: pytest.MonkeyPatch, outbox: list[Any]
):
    alice.top_up(600)
    do_set_alert(alice.id, 2_000 * CENT)
    write_letters()
    assert outbox == []
    mail_server_is_gone.undo()
    write_letters()
    assert sorted(mail.subject for mail in outbox) == ["Receipt for your top-up of $6.00", "Your credit runs low"]


type Send = Callable[[EmailMessage], int]


@pytest.fixture
def trouble_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception], list[str]]:
    """Have the mail server say that of mail to an address; whom it was asked about."""
    deliver_mail: Send = EmailMessage.send

    def begin(address: str, error: Exception) -> list[str]:
        asked: list[str] = []

        def send(message: EmailMessage) -> int:
            asked.append(message.to[0])
            if message.to == [address]:
                raise error
            return deliver_mail(message)

        monkeypatch.setattr(EmailMessage, "send", send)
        return asked

    return begin


@pytest.mark.parametrize("error", [OSError("gone"), smtplib.SMTPRecipientsRefused({})])
def test_who_was_told_is_not_told_again_because_another_could_not_be(
    alice: Alice, trouble_with: Callable[[str, Exception], list[str]], error: Exception
):
    bob = join(alice, Role.BILLING)
    asked = trouble_with(bob, error)
    do_set_alert(alice.id, 500 * CENT)
    assert (do_send_alerts(), do_send_alerts()) == (1, 0)
    assert asked == [alice.email, bob]


def test_one_refused_address_keeps_no_other_from_being_told_and_is_tried_again(
    alice: Alice, sqlite_ledger: LedgerDatabase, trouble_with: Callable[[str, Exception], list[str]]
):
    charlie = new_alice(sqlite_ledger)
    asked = trouble_with(alice.email, smtplib.SMTPRecipientsRefused({}))
    for organization in (alice, charlie):
        do_set_alert(organization.id, 500 * CENT)
    write_letters()
    write_letters()
    assert asked == [alice.email, charlie.email, alice.email]


def test_a_mail_server_that_is_away_is_asked_once_in_a_run(
    alice: Alice, sqlite_ledger: LedgerDatabase, trouble_with: Callable[[str, Exception], list[str]]
):
    charlie = new_alice(sqlite_ledger)
    bob = join(alice, Role.BILLING)
    alice.top_up(600)
    for organization in (alice, charlie):
        do_set_alert(organization.id, 2_000 * CENT)
    asked = trouble_with(alice.email, TimeoutError("timed out"))
    write_letters()
    assert asked == [alice.email]
    asked = trouble_with("nobody@example.com", TimeoutError())
    write_letters()
    assert sorted(asked) == sorted([alice.email, bob, charlie.email, alice.email, bob])


def test_where_nobody_may_pay_there_is_nobody_to_tell(alice: Alice, outbox: list[Any]):
    Membership.objects.filter(organization_id=alice.id).update(role=Role.DEVELOPER)
    do_set_alert(alice.id, 500 * CENT)
    assert (do_send_alerts(), do_send_alerts()) == (1, 0)
    assert outbox == []


def test_of_two_sweeps_at_once_one_sends(alice: Alice, outbox: list[Any], monkeypatch: pytest.MonkeyPatch):
    from billing.actions import alerts

    do_set_alert(alice.id, 500 * CENT)
    letter = alerts._alert

    def told_meanwhile(alert: BalanceAlert) -> Any:
        BalanceAlert.objects.update(told_at=timezone.now())
        return letter(alert)

    monkeypatch.setattr(alerts, "_alert", told_meanwhile)
    assert (do_send_alerts(), outbox) == (0, [])


def test_a_receipt_has_every_figure_and_goes_out_once(alice: Alice, outbox: list[Any]):
    order = alice.order(1_000, fee_cents=30)
    assert deliver(session_event(order, amount_total=1_236, total_details={"amount_tax": 206})) == 200
    assert (do_send_receipts(), do_send_receipts()) == (1, 0)
    (mail,) = outbox
    assert mail.subject == "Receipt for your top-up of $10.00"
    for line in ("Credit: $10.00", "Card processing fee: $0.30", "Tax: $2.06", "Paid: $12.36", payment_of(order)):
        assert line in mail.body
    assert f"/dashboard/wallet/receipts/{payment_of(order)}" in mail.body
    html = mail.alternatives[0].content
    assert "$12.36" in html
    assert "Test money" not in mail.body


def test_a_plain_receipt_leaves_out_what_was_not_charged_and_old_ones_are_not_sent(alice: Alice, outbox: list[Any]):
    alice.top_up(600)
    assert do_send_receipts() == 1
    assert "fee" not in outbox[0].body
    assert "Tax" not in outbox[0].body
    alice.top_up(600)
    Payment.objects.update(receipted_at=None, created_at=timezone.now() - timedelta(days=4))
    assert do_send_receipts() == 0
