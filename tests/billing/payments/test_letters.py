"""Low balance and receipts by e-mail: once each, and again only for a reason."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.mail.message import EmailMessage
from django.utils import timezone

from accounts.models import Membership, Role, User
from billing.actions.alerts import do_send_alerts, do_send_receipts, do_set_alert
from billing.errors import PaymentError
from billing.ledger.items import Movement
from billing.models import BalanceAlert, Payment
from billing.payments.queries import alert_of
from billing.tasks import write_letters
from tests.billing.ledger_database import new_name
from tests.billing.payments.conftest import Alice, deliver, payment_of, session_event

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
    alert = alert_of(alice.id)
    assert alert is not None
    assert (alert.threshold_nano, alert.told_at) == (400 * CENT, None)
    do_set_alert(alice.id, None)
    assert alert_of(alice.id) is None
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
