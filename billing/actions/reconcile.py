"""What webhooks missed: once a night, and by hand, everything of the last days is read from Stripe and applied.

The same functions as for events, so what was applied before changes nothing.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta

from billing.actions.disputes import do_apply_dispute
from billing.actions.known_payments import do_credit_from_stripe
from billing.actions.refunds import do_apply_refund
from billing.errors import MovementRefused
from billing.models import Payment, TopUpOrder
from billing.payments import client
from billing.payments.mode import payment_mode
from billing.payments.objects import read_dispute, read_refund, text_of
from komilion.common.clock import unix_s, utc_now

log = logging.getLogger(__name__)

DAYS = 4  # longer than Stripe tries to deliver an event
SESSION_HOURS = 25  # a Checkout session ends after 24
State = TopUpOrder.State


def do_reconcile() -> int:
    """Credit, refund and charge back what is missing; how many payments had been missed."""
    _expire_orders()
    if payment_mode() not in {"live", "stripe_test"}:
        return 0
    since = unix_s() - DAYS * 86_400
    before = Payment.objects.count()
    _each("payment_intents", client.intents_since(since), _credit)
    missed = Payment.objects.count() - before
    _each("refunds", client.refunds_since(since), _refund)
    _each("disputes", client.disputes_since(since), _dispute)
    return missed


def _each(what: str, found: Iterator[client.Object], apply: Callable[[client.Object], None]) -> None:
    """One that cannot be applied takes no other with it; a list that ends early is done tomorrow."""
    try:
        for row in found:
            try:
                apply(row)
            except MovementRefused as error:
                log.error("not reconciled", extra={"alarm": "reconcile", "object": row.get("id"), "error": str(error)})
    except (client.StripeRefused, client.StripeUnavailable) as error:
        log.error("nothing to reconcile with", extra={"alarm": "reconcile", "what": what, "error": str(error)})


def _credit(intent: client.Object) -> None:
    payment_id = text_of(intent, "id")
    if not Payment.objects.filter(pk=payment_id).exists() and do_credit_from_stripe(intent):
        log.error("no event of a payment", extra={"alarm": "webhook_missed", "payment": payment_id})


def _refund(refund: client.Object) -> None:
    news = read_refund(refund)
    if Payment.objects.filter(pk=news.payment_id).exists():  # the account may serve others than us
        do_apply_refund(news)


def _dispute(dispute: client.Object) -> None:
    news = read_dispute(dispute)
    if Payment.objects.filter(pk=news.payment_id).exists():
        do_apply_dispute(news)


def _expire_orders() -> None:
    """Orders whose page has ended and whose event never came. Were one paid all the same, it would be credited."""
    since = utc_now() - timedelta(hours=SESSION_HOURS)
    waiting = TopUpOrder.objects.filter(state=State.OPEN, created_at__lt=since)
    waiting.exclude(kind=TopUpOrder.Kind.RECHARGE).update(
        state=State.EXPIRED, failure="nobody paid", ended_at=utc_now()
    )
