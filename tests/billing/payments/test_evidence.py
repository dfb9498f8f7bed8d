"""What names a person in payments: kept as evidence while a dispute may come, forgotten once she and that are gone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.actions.account import do_delete_account
from accounts.models import User
from billing.models import AutoRecharge, Payment, Refund, TopUpOrder
from billing.tasks import forget_payers
from tests.billing.payments.conftest import Alice

DAYS = 540


@pytest.fixture
def paid(alice: Alice, fake_stripe: object) -> Alice:
    """Alice bought, got something back, and agreed to automatic top-up; all of it long ago."""
    alice.top_up(600)
    Refund.objects.create(
        id="ref-1",
        payment=Payment.objects.get(),
        wallet_id=alice.id,
        credit_cents=100,
        refund_cents=100,
        created_by=alice.email,
    )
    AutoRecharge.objects.create(
        wallet_id=alice.id,
        threshold_nano=1,
        credit_cents=1_000,
        daily_cap_cents=1_000,
        agreed_by=alice.email,
        agreed_at=timezone.now(),
        agreed_from="192.0.2.7",
    )
    age(DAYS + 1)
    return alice


def age(days: int) -> None:
    """As if everything had happened so long ago."""
    then = timezone.now() - timedelta(days=days)
    TopUpOrder.objects.update(created_at=then)
    Refund.objects.update(created_at=then)
    AutoRecharge.objects.update(agreed_at=then)


def names() -> set[str | None]:
    """Whoever is named."""
    recharge = AutoRecharge.objects.get()
    orders, refunds = (model.objects.values_list("created_by", flat=True) for model in (TopUpOrder, Refund))
    return {*orders, *refunds, recharge.agreed_by, recharge.agreed_from}


def leave(alice: Alice) -> None:
    do_delete_account(User.objects.get(email=alice.email).pk)


def test_of_a_deleted_account_nothing_is_named_once_no_dispute_can_come(paid: Alice):
    leave(paid)
    forget_payers()
    assert names() == {"a deleted account", None}
    forget_payers()
    assert names() == {"a deleted account", None}


def test_evidence_stays_while_a_dispute_can_come(paid: Alice):
    leave(paid)
    age(DAYS - 1)
    forget_payers()
    assert names() == {paid.email, "192.0.2.7"}


def test_who_is_still_there_stays_named(paid: Alice):
    forget_payers()
    assert names() == {paid.email, "192.0.2.7"}


@pytest.mark.parametrize("is_charged_lately", [True, False])
def test_a_mandate_stays_while_something_is_charged_by_it(paid: Alice, *, is_charged_lately: bool):
    User.objects.filter(email=paid.email).update(email="alice-deleted@example.com")  # the organization goes on
    if is_charged_lately:
        paid.order(kind="recharge", state="paid", created_by="automatic")
    else:
        AutoRecharge.objects.update(is_on=True)
    forget_payers()
    recharge = AutoRecharge.objects.get()
    assert (recharge.agreed_by, recharge.agreed_from) == (paid.email, "192.0.2.7")
    assert Refund.objects.get().created_by == "a deleted account"
