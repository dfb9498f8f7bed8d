"""Giving paid credit back as money. The wallet is debited first: what is on its way back cannot be spent.

    refund row   open, under the payment's lock: never more than the payment brought
    wallet       debited by the ledger, or the refund fails: the credit was spent meanwhile
    Stripe       asked with the refund's own idempotency key
    outcome      succeeded · failed: the wallet is credited again · unknown: looked up, then asked again

Each step can be done again, so a refund that was left open by a crash goes on from wherever it stood.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from accounts.actions.audit import do_audit
from accounts.actions.upgrade import do_end_trial, do_resume_trial
from billing.actions.known_payments import do_find_payment, is_of_others
from billing.actions.wallets import do_move
from billing.errors import MovementRefused, NotRefundable
from billing.ledger.items import Movement
from billing.models import Dispute, Payment, Refund, Wallet
from billing.payments import client
from billing.payments.mode import is_livemode, is_test_money, payment_mode
from billing.payments.objects import WON, RefundNews, read_refund
from billing.payments.queries import keeps_credit, payment_of
from billing.payments.signature import Event
from komilion.common.clock import utc_now
from komilion.common.errors import PaymentsOff
from komilion.common.ids import new_id
from komilion.common.money import NANO_PER_CENT, format_usd

log = logging.getLogger(__name__)

State = Refund.State
OUR_PREFIX = "ref-"
SWEEP_AFTER_S = 60
OFTEN_MINUTES = 60
OVER = frozenset({"failed", "canceled"})


def refundable_cents(organization_id: int, payment_id: str) -> int:
    """How much credit of the payment can be given back now: unspent, not given back before, not disputed.

    Raises `NotFound`.
    """
    return _refundable(payment_of(organization_id, payment_id))


def _refundable(payment: Payment) -> int:
    if Dispute.objects.filter(payment=payment).exclude(state__in=WON).exists() or not _is_reachable(payment):
        return 0
    wallet = Wallet.objects.get(pk=payment.wallet_id)
    unspent: int = min(wallet.paid_nano, wallet.available_nano) // NANO_PER_CENT
    return max(0, min(unspent, payment.credit_cents - _given_back(payment)[0]))


def _is_reachable(payment: Payment) -> bool:
    """Whether it was made with the Stripe account, or the test money, that is set up now."""
    if is_test_money(payment.pk):
        return payment_mode() == "test"
    return bool(settings.STRIPE_SECRET_KEY) and payment.livemode == is_livemode()


def _given_back(payment: Payment) -> tuple[int, int]:
    """Credit, and money with fee and tax, of refunds that did not fail."""
    sums = payment.refunds.exclude(state=State.FAILED).aggregate(credit=Sum("credit_cents"), money=Sum("refund_cents"))
    return sums["credit"] or 0, sums["money"] or 0


def do_refund(organization_id: int, payment_id: str, *, actor: str) -> Refund:
    """Give back whatever can be given back of a payment, with fee and tax in proportion.

    Raises `NotFound`, `NotRefundable`, `PaymentsOff`. The refund may still be open afterwards.
    """
    if payment_mode() == "off":
        raise PaymentsOff
    payment_of(organization_id, payment_id)
    with transaction.atomic():
        payment = Payment.objects.select_for_update().get(pk=payment_id)
        credit = _refundable(payment)
        if not credit:
            raise NotRefundable("Nothing of this payment can be refunded now: it is spent, refunded or disputed.")
        before, money_before = _given_back(payment)
        money = payment.total_cents * (before + credit) // payment.credit_cents
        money -= payment.total_cents * before // payment.credit_cents
        refund = Refund.objects.create(
            id=new_id("ref"),
            payment=payment,
            wallet_id=organization_id,
            credit_cents=credit,
            refund_cents=min(money, payment.total_cents - money_before),
            created_by=actor,
        )
        _note(refund, "refund.order")
    if not _take_from_wallet(refund):
        raise NotRefundable("The credit was spent while the refund was made.")
    _advance(refund)
    refund.refresh_from_db()
    return refund


def do_sweep_refunds() -> int:
    """Go on with refunds that a crash or Stripe's silence left open; how many. A Stripe that is away is asked once."""
    now = utc_now()
    since = now - timedelta(seconds=SWEEP_AFTER_S)
    waiting = Refund.objects.filter(state=State.OPEN, created_at__lt=since, pk__startswith=OUR_PREFIX)
    due = [refund for refund in waiting.select_related("payment") if _is_due(refund, now)]
    refunds = [refund for refund in due if _is_reachable(refund.payment)]
    for number, refund in enumerate(refunds, start=1):
        if _take_from_wallet(refund) and not _advance(refund):
            return number
    return len(refunds)


def _is_due(refund: Refund, now: datetime) -> bool:
    """Each minute in the first hour, then once an hour: some banks take days, and the event tells of the end."""
    minutes = (now - refund.created_at) // timedelta(minutes=1)
    return minutes < OFTEN_MINUTES or minutes % OFTEN_MINUTES == 0


def _take_from_wallet(refund: Refund) -> bool:
    """Once, however often it is called. Where the credit is gone the refund has failed, and nothing was taken."""
    try:
        do_move(_movement(refund, "refund"))
    except MovementRefused as error:
        log.info("refund not possible", extra={"refund": refund.pk, "error": str(error)})
        _end(refund, State.FAILED, "the credit was spent")
        return False
    _follow_trial(refund)
    return True


def _follow_trial(refund: Refund) -> None:
    """Who has nothing paid for any more is on trial again: else a payment given back at once would lift its limits."""
    wallet = Wallet.objects.get(pk=refund.wallet_id)
    if Payment.objects.filter(keeps_credit(), wallet_id=wallet.pk).exists() or wallet.paid_nano >= NANO_PER_CENT:
        do_end_trial(refund.wallet_id, actor=refund.created_by)
    else:
        do_resume_trial(refund.wallet_id, actor=refund.created_by)


def _movement(refund: Refund, kind: str, event: Event | None = None) -> Movement:
    back = kind in {"topup", "chargeback_reversed"}
    return Movement(
        reference=refund.pk,
        kind=kind,  # type: ignore[arg-type] # one of the ledger's, named in this module
        wallet_id=refund.wallet_id,
        amount=refund.credit_cents * NANO_PER_CENT,
        memo=f"refund of {refund.payment_id}{' failed: the credit is back' if back else ''}",
        event_id=event.id if event else "",
        event_type=event.type if event else "",
    )


def _advance(refund: Refund) -> bool:
    """Ask Stripe, or learn what came of having asked; False where it does not answer."""
    if is_test_money(refund.payment_id):
        _end(refund, State.SUCCEEDED)
        return True
    try:
        answer = _ask(refund)
    except client.StripeRefused as error:  # a definite no
        log.error("refund refused", extra={"alarm": "refund_refused", "refund": refund.pk, "error": str(error)})
        do_put_back(refund, str(error))
    except client.StripeUnavailable as error:
        log.warning("refund: outcome unknown", extra={"refund": refund.pk, "error": str(error)})
        return False
    else:
        if answer is None:
            do_put_back(refund, "the payment provider never had it")
        else:
            _learn(refund, read_refund(answer))
    return True


def _ask(refund: Refund) -> client.Object | None:
    """First look, then ask: under the same key while Stripe is sure to know it, never after that."""
    is_first = utc_now() - refund.created_at < timedelta(seconds=SWEEP_AFTER_S)
    found = None if is_first else client.find_refund(refund)
    if found is None and utc_now() - refund.created_at < timedelta(seconds=settings.RECHARGE_RETRY_S):
        return client.refund(refund)
    return found


def _learn(refund: Refund, news: RefundNews, event: Event | None = None) -> None:
    """A refund that succeeded can still fail later; one that failed is over."""
    Refund.objects.filter(pk=refund.pk, stripe_refund_id="").update(stripe_refund_id=news.stripe_id)
    if news.status in OVER:
        do_put_back(refund, news.reason or news.status, event)
    elif news.status == "succeeded":
        _end(refund, State.SUCCEEDED)


def _note(refund: Refund, action: str, **more: str) -> None:
    """In the audit log, as done by who ordered the refund."""
    amount = f"${format_usd(refund.credit_cents * NANO_PER_CENT)}"
    detail = {"payment": refund.payment_id, "refund": refund.pk, **more}
    do_audit(refund.wallet_id, actor=refund.created_by, action=action, subject=amount, detail=detail)


def do_put_back(refund: Refund, why: str, event: Event | None = None) -> None:
    """The money did not leave: the wallet gets its credit back, once. Raises what the ledger raises."""
    do_move(_movement(refund, "topup" if refund.pk.startswith(OUR_PREFIX) else "chargeback_reversed", event))
    _end(refund, State.FAILED, why)
    _follow_trial(refund)


def _end(refund: Refund, state: str, why: str = "") -> None:
    """`failed` is final; `succeeded` is unless it fails."""
    with transaction.atomic():
        waiting = Refund.objects.filter(pk=refund.pk).exclude(state__in=(State.FAILED, state))
        if waiting.update(state=state, failure=why[:200], ended_at=utc_now()):
            _note(refund, f"refund.{state}", why=why)


# events


def on_refund(event: Event) -> None:
    """`refund.created`, `.updated`, `.failed`, `charge.refund.updated`."""
    do_apply_refund(read_refund(event.object), event)


def do_apply_refund(news: RefundNews, event: Event | None = None) -> None:
    """What Stripe says of a refund, ours or one that was made there. Raises what Stripe and the ledger raise."""
    payment = do_find_payment(news.payment_id)
    if payment is None and not news.refund_id.startswith(OUR_PREFIX) and is_of_others(news.payment_id):
        log.info("a refund of others", extra={"refund": news.stripe_id})
        return
    if payment is None:
        log.error("refund of no payment of ours", extra={"alarm": "refund_not_ours", "refund": news.stripe_id})
        return
    refund = _row_of(payment, news)
    if refund is None or (refund.payment_id, refund.refund_cents) != (news.payment_id, news.amount_cents):
        log.error(
            "refund differs", extra={"alarm": "refund_mismatch", "refund": news.stripe_id, "ours": news.refund_id}
        )
        return
    is_made_there = not refund.pk.startswith(OUR_PREFIX)
    if is_made_there and do_move(_movement(refund, "chargeback", event)).changed:
        _note(refund, "refund.at_stripe")
        _follow_trial(refund)
    _learn(refund, news, event)


def _row_of(payment: Payment, news: RefundNews) -> Refund | None:
    """Our refund; for one that was made at Stripe a row that is named after it."""
    if news.refund_id:
        return Refund.objects.filter(pk=news.refund_id).first()
    if not 0 < news.amount_cents <= payment.total_cents or news.currency != payment.currency:
        return None
    refund, _ = Refund.objects.get_or_create(
        id=news.stripe_id,
        defaults={
            "payment": payment,
            "wallet_id": payment.wallet_id,
            "credit_cents": credit_part(payment, news.amount_cents),
            "refund_cents": news.amount_cents,
            "stripe_refund_id": news.stripe_id,
            "created_by": "stripe",
        },
    )
    return refund


def credit_part(payment: Payment, amount_cents: int) -> int:
    """What of an amount with fee and tax is credit, rounded down."""
    return min(payment.credit_cents, amount_cents * payment.credit_cents // payment.total_cents)
