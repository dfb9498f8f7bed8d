"""Short words for automatic top-up: switching it on, the newest recharge, having its next attempt due."""

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from billing.actions.recharge import do_set_auto_recharge
from billing.models import AutoRecharge, TopUpOrder
from billing.tasks import recharge

if TYPE_CHECKING:  # whose fixtures use this module
    from tests.billing.payments.conftest import Alice

CENT = 10_000_000
TERMS: dict[str, Any] = {"threshold_nano": 500 * CENT, "credit_cents": 1_000, "daily_cap_cents": 2_000}
INTENTS = "payment_intents"


def switch_on(alice: "Alice", **terms: Any) -> None:
    do_set_auto_recharge(alice.id, **{**TERMS, **terms}, actor=alice.email, ip="192.0.2.7")


def order() -> TopUpOrder:
    """The newest recharge."""
    return TopUpOrder.objects.filter(kind="recharge").latest("created_at")


def state() -> AutoRecharge:
    return AutoRecharge.objects.get()


def make_due(**fields: Any) -> None:
    """As if the next attempt's time had come."""
    TopUpOrder.objects.filter(pk=order().pk).update(next_attempt_at=timezone.now(), **fields)


def low(alice: "Alice") -> TopUpOrder:
    """Spend, and have a recharge tried."""
    alice.spend(alice.balance()[0])
    recharge()
    return order()
