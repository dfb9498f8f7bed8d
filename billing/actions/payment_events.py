"""What each event of Stripe's brings about. Any order, any number of times: the outcome is the same.

An event is done with when its function has returned. What it raises makes Stripe send it again; what is none of ours
or does not fit is logged and done with.
"""

import logging
from collections.abc import Callable, Mapping

from billing.actions import customers
from billing.actions.credits import do_credit
from billing.actions.disputes import on_dispute
from billing.actions.known_payments import do_find_payment, is_of_others
from billing.actions.recharge_attempts import on_intent_failed
from billing.actions.refunds import on_refund
from billing.models import PaymentEvent, TopUpOrder
from billing.payments.client import order_id_of
from billing.payments.mode import is_livemode
from billing.payments.objects import id_of, read_intent, read_session, text_of
from billing.payments.signature import Event
from komilion.common.clock import utc_now

log = logging.getLogger(__name__)

State = TopUpOrder.State


def do_apply_event(event: Event) -> None:
    """Do what the event says. Raises what the ledger, the database and Stripe raise; then it must come again."""
    if event.livemode != is_livemode():
        log.error("event of the other mode", extra={"alarm": "payment_livemode", "event": event.id, "type": event.type})
        return
    handler = HANDLERS.get(event.type)
    if handler is None:
        log.debug("event of no interest", extra={"event": event.id, "type": event.type})
        return
    handler(event)
    PaymentEvent.objects.get_or_create(id=event.id, defaults={"type": event.type})


def on_session_paid(event: Event) -> None:
    """`checkout.session.completed`, which may come before the money does, and `.async_payment_succeeded`."""
    if text_of(event.object, "payment_status") != "paid":
        log.info("session completed, not paid yet", extra={"order": order_id_of(event.object)})
        return
    do_credit(read_session(event.object), event)


def on_session_over(event: Event) -> None:
    """`checkout.session.expired` and `.async_payment_failed`; an order that was paid stays paid."""
    state = State.EXPIRED if event.type.endswith("expired") else State.FAILED
    _end(order_id_of(event.object), state, event.type)


def on_intent_paid(event: Event) -> None:
    """`payment_intent.succeeded`. That of a Checkout session says nothing of tax: the session's own event credits."""
    order = TopUpOrder.objects.filter(pk=order_id_of(event.object)).first()
    if order is not None and order.kind == TopUpOrder.Kind.CHECKOUT:
        log.info("credited by its session", extra={"order": order.pk, "payment": id_of(event.object)})
        return
    do_credit(read_intent(event.object), event)


def on_fraud_warning(event: Event) -> None:
    """`radar.early_fraud_warning.created`: a refund now may avoid a dispute; that is for a person to decide."""
    payment = id_of(event.object.get("payment_intent"))
    if do_find_payment(payment) is None and is_of_others(payment):
        log.info("an early fraud warning for others", extra={"payment": payment, "event": event.id})
        return
    log.error("early fraud warning", extra={"alarm": "early_fraud_warning", "payment": payment, "event": event.id})


def _end(order_id: str, state: str, why: str) -> None:
    waiting = TopUpOrder.objects.filter(pk=order_id, state__in=TopUpOrder.WAITING)
    waiting.exclude(kind=TopUpOrder.Kind.RECHARGE).update(state=state, failure=why, ended_at=utc_now())


HANDLERS: Mapping[str, Callable[[Event], None]] = {
    "checkout.session.completed": on_session_paid,
    "checkout.session.async_payment_succeeded": on_session_paid,
    "checkout.session.async_payment_failed": on_session_over,
    "checkout.session.expired": on_session_over,
    "payment_intent.succeeded": on_intent_paid,
    "payment_intent.payment_failed": on_intent_failed,
    "payment_intent.requires_action": on_intent_failed,
    "payment_intent.canceled": on_intent_failed,
    "refund.created": on_refund,
    "refund.updated": on_refund,
    "refund.failed": on_refund,
    "charge.refund.updated": on_refund,
    "charge.dispute.created": on_dispute,
    "charge.dispute.updated": on_dispute,
    "charge.dispute.closed": on_dispute,
    "charge.dispute.funds_withdrawn": on_dispute,
    "charge.dispute.funds_reinstated": on_dispute,
    "radar.early_fraud_warning.created": on_fraud_warning,
    "payment_method.attached": customers.on_card,
    "payment_method.updated": customers.on_card,
    "payment_method.automatically_updated": customers.on_card,
    "payment_method.detached": customers.on_card_detached,
    "customer.updated": customers.on_customer_updated,
    "customer.deleted": customers.on_customer_deleted,
}
