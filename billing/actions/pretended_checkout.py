"""Our own page in place of Stripe's, for test money: the same order, the same event, the same ledger."""

from accounts.actions.audit import do_audit
from billing.actions.payment_events import do_apply_event
from billing.models import TopUpOrder
from billing.payments.mode import payment_mode
from billing.payments.pretend import session_event
from billing.payments.queries import order_of
from komilion.common.clock import utc_now
from komilion.common.errors import NotFound

State = TopUpOrder.State


def do_pay_test_order(organization_id: int, order_id: str, *, actor: str, outcome: str = "paid") -> TopUpOrder:
    """Pay an order with test money, or (`outcome="declined"`) have it declined; an order that has ended stays as it is.

    Returns the order as it is then. Raises `NotFound` for another organization's, for one that is paid with money, and
    everywhere but where test money is all there is. Raises what the ledger raises.
    """
    order = order_of(organization_id, order_id)
    if payment_mode() != "test" or order.kind != TopUpOrder.Kind.TEST:
        raise NotFound
    if order.state == State.OPEN:
        if outcome == "paid":
            do_apply_event(session_event(order, is_paid=True))
        else:
            _decline(order)
        do_audit(organization_id, actor=actor, action="topup.test", subject=order.pk, detail={"outcome": outcome})
        order.refresh_from_db()
    return order


def _decline(order: TopUpOrder) -> None:
    TopUpOrder.objects.filter(pk=order.pk, state=State.OPEN).update(
        state=State.FAILED, failure="The test card was declined.", ended_at=utc_now()
    )
