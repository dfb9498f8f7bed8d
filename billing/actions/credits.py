"""Credit for what was paid: the one place where money from outside enters a wallet."""

import logging
from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from accounts.actions.audit import do_audit
from accounts.actions.upgrade import do_end_trial, on_trial
from billing.actions.customers import do_keep_card_of_payment, do_keep_pretended_card
from billing.actions.wallets import do_move
from billing.ledger.items import Movement
from billing.models import AutoRecharge, PayingCustomer, Payment, TopUpOrder
from billing.payments.mode import is_livemode, is_test_money
from billing.payments.objects import Paid
from billing.payments.queries import keeps_credit
from billing.payments.signature import Event
from komilion.common.clock import utc_now
from komilion.common.money import NANO_PER_CENT, format_usd

log = logging.getLogger(__name__)

REPAIR_DAYS = 1
OUR_ORDERS = "top-"
State = TopUpOrder.State


def do_credit(paid: Paid, event: Event | None = None) -> bool:
    """Credit the order that was paid, once for its payment; whether the payment is credited now or was before.

    False, an error in the log and no credit where anything differs from the order that we made; for what names nothing
    of ours (the account may serve others too) a line in the log and no more. The event's and the payment's rows are
    written in the ledger's transaction. Raises `MovementRefused`, `StoreUnavailable`, `StoreBusy`.
    """
    order = TopUpOrder.objects.filter(pk=paid.order_id).first()
    if order is None:
        if _names_us(paid):
            _alarm("payment_not_ours", "a payment for no order of ours", paid)
        else:
            log.info("a payment of others", extra={"payment": paid.payment_id})
        return False
    if wrong := differences(order, paid):
        _alarm("payment_mismatch", "a payment that differs from its order", paid, differs=wrong)
        return False
    if Payment.objects.filter(order=order).exclude(pk=paid.payment_id).exists():
        _alarm("order_paid_twice", "an order was paid twice; refund the second payment at Stripe", paid)
        return False
    done = do_move(
        Movement(
            reference=paid.payment_id,
            kind="topup",
            wallet_id=order.wallet_id,
            amount=order.credit_cents * NANO_PER_CENT,
            memo=f"top-up {order.pk}",
            payment=_row(order, paid),
            event_id=event.id if event else "",
            event_type=event.type if event else "",
        )
    )
    if done.changed:
        amount = f"${format_usd(order.credit_cents * NANO_PER_CENT)}"
        detail = {"order": order.pk, "payment": paid.payment_id}
        do_audit(order.wallet_id, actor=order.created_by, action="topup.paid", subject=amount, detail=detail)
    _follow_up(order, paid.payment_id, keeps_card=done.changed and order.saves_card)
    return True


def _names_us(paid: Paid) -> bool:
    """Whether somebody says that it is ours: by an order, or by a customer of ours."""
    is_claimed = paid.order_id.startswith(OUR_ORDERS)
    return is_claimed or PayingCustomer.objects.filter(customer_id=paid.customer_id).exists()


def differences(order: TopUpOrder, paid: Paid) -> list[str]:
    """The names of what is not as in our order."""
    is_test_order = order.kind == TopUpOrder.Kind.TEST or is_test_money(order.customer_id)
    is_checkout = order.kind != TopUpOrder.Kind.RECHARGE
    agreed = {
        "payment": bool(paid.payment_id) and is_test_money(paid.payment_id) == is_test_order,
        "kind": is_checkout == bool(paid.session_id),
        "session": not is_checkout or order.checkout_session_id in {"", paid.session_id},
        "organization": not is_checkout or paid.organization == str(order.wallet_id),
        "amount": paid.net_cents == order.credit_cents + order.fee_cents,
        "total": paid.tax_cents >= 0 and paid.total_cents == paid.net_cents + paid.tax_cents,
        "currency": paid.currency == order.currency,
        "customer": bool(order.customer_id) and paid.customer_id == order.customer_id,
        "livemode": paid.livemode == order.livemode == is_livemode(),
    }
    return [name for name, is_right in agreed.items() if not is_right]


def _row(order: TopUpOrder, paid: Paid) -> dict[str, object]:
    return {
        "id": paid.payment_id,
        "order_id": order.pk,
        "wallet_id": order.wallet_id,
        "credit_cents": order.credit_cents,
        "fee_cents": order.fee_cents,
        "tax_cents": paid.tax_cents,
        "total_cents": paid.total_cents,
        "currency": paid.currency,
        "livemode": paid.livemode,
        "charge_id": paid.charge_id,
    }


def _follow_up(order: TopUpOrder, payment_id: str, *, keeps_card: bool) -> None:
    """What a payment brings besides credit. A crash on the way is made good by the next delivery, or by the sweep."""
    with transaction.atomic():
        is_news = (
            TopUpOrder.objects.filter(pk=order.pk)
            .exclude(state=State.PAID)
            .update(state=State.PAID, payment_intent_id=payment_id, ended_at=utc_now(), failure="")
        )
        if is_news and order.kind == TopUpOrder.Kind.RECHARGE:  # an old success says nothing of the card as it is now
            AutoRecharge.objects.filter(wallet_id=order.wallet_id).update(declines=0)
    do_end_trial(order.wallet_id, actor=order.created_by)
    if not keeps_card:
        return
    if is_test_money(payment_id):
        do_keep_pretended_card(order.wallet_id)
    else:
        do_keep_card_of_payment(order.wallet_id, payment_id)


def do_repair_follow_ups() -> int:
    """What a crash or Stripe's silence left undone after a credit, of the last day; for how many payments."""
    lately = Q(created_at__gte=utc_now() - timedelta(days=REPAIR_DAYS))
    without_card = PayingCustomer.objects.filter(payment_method_id="").values("pk")
    undone = (on_trial("wallet__organization__") & keeps_credit()) | ~Q(order__state=State.PAID)
    undone |= Q(order__saves_card=True, wallet_id__in=without_card)
    payments = list(Payment.objects.filter(lately & undone).select_related("order"))
    for payment in payments:
        _follow_up(payment.order, payment.pk, keeps_card=payment.order.saves_card)
    return len(payments)


def _alarm(alarm: str, message: str, paid: Paid, **more: object) -> None:
    extra = {"alarm": alarm, "payment": paid.payment_id, "order": paid.order_id, "session": paid.session_id, **more}
    log.error("nothing credited: %s", message, extra=extra)
