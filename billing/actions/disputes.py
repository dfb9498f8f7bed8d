"""Charge-backs. Stripe takes the money when a dispute opens, so the wallet loses the credit then, or goes into debt.

The organization is suspended and automatic top-up is off, until the dispute is won. An inquiry (`warning_...`) takes no
money and changes nothing. Every event is applied whole, so their order does not matter.
"""

import logging
from typing import Literal

from django.db import transaction

from accounts.actions.audit import do_audit
from accounts.actions.organizations import do_suspend, do_unsuspend
from accounts.models import Organization
from billing.actions.known_payments import do_find_payment, is_of_others
from billing.actions.recharge_off import do_switch_off
from billing.actions.refunds import credit_part
from billing.actions.wallets import do_move
from billing.ledger.items import Movement
from billing.models import Dispute, Payment
from billing.payments.letters import about, do_tell
from billing.payments.objects import ENDED, WON, DisputeNews, read_dispute
from billing.payments.signature import Event
from komilion.common.clock import utc_now
from komilion.common.money import NANO_PER_CENT, format_usd

log = logging.getLogger(__name__)

ACTOR = "stripe"


def on_dispute(event: Event) -> None:
    """`charge.dispute.created`, `.updated`, `.closed`, `.funds_withdrawn`, `.funds_reinstated`."""
    news = read_dispute(event.object)
    do_apply_dispute(news, event, is_back=event.type.endswith("funds_reinstated"))


def do_apply_dispute(news: DisputeNews, event: Event | None = None, *, is_back: bool = False) -> None:
    """What Stripe says of a dispute. Raises what Stripe and the ledger raise."""
    payment = do_find_payment(news.payment_id)
    if payment is None and is_of_others(news.payment_id):
        log.info("a dispute of others", extra={"dispute": news.id})
        return
    fits = payment is not None and 0 < news.amount_cents <= payment.total_cents and news.currency == payment.currency
    if payment is None or not fits or not news.id:
        log.error("dispute of no payment of ours", extra={"alarm": "dispute_not_ours", "dispute": news.id})
        return
    dispute = _row_of(payment, news)
    is_won = is_back or news.status == "won"
    if news.takes_money or is_back:
        _move(dispute, "chargeback", event)
    if is_won:
        _move(dispute, "chargeback_reversed", event)
    _follow(dispute, "won" if is_won else news.status, news)


def _row_of(payment: Payment, news: DisputeNews) -> Dispute:
    dispute, is_new = Dispute.objects.get_or_create(
        id=news.id,
        defaults={
            "payment": payment,
            "wallet_id": payment.wallet_id,
            "amount_cents": news.amount_cents,
            "credit_cents": credit_part(payment, news.amount_cents),
            "state": "new" if news.takes_money else news.status,
            "respond_by": news.respond_by,
        },
    )
    if is_new:
        extra = {"alarm": "dispute_opened", "dispute": news.id, "payment": payment.pk, "status": news.status}
        log.error("a payment is disputed", extra=extra)
    return dispute


def _move(dispute: Dispute, kind: Literal["chargeback", "chargeback_reversed"], event: Event | None) -> None:
    movement = Movement(
        reference=dispute.pk,
        kind=kind,
        wallet_id=dispute.wallet_id,
        amount=dispute.credit_cents * NANO_PER_CENT,
        memo=f"dispute of {dispute.payment_id}{' won' if kind == 'chargeback_reversed' else ''}",
        event_id=event.id if event else "",
        event_type=event.type if event else "",
    )
    if do_move(movement).changed:
        amount = f"${format_usd(movement.amount)}"
        detail = {"dispute": dispute.pk, "payment": dispute.payment_id}
        do_audit(dispute.wallet_id, actor=ACTOR, action=f"dispute.{kind}", subject=amount, detail=detail)


def _follow(dispute: Dispute, state: str, news: DisputeNews) -> None:
    """State, suspension and automatic top-up, in one transaction. A dispute that has ended stays as it ended."""
    with transaction.atomic():
        row = Dispute.objects.select_for_update().get(pk=dispute.pk)
        organization = Organization.objects.select_for_update(no_key=True).get(pk=row.wallet_id)
        if row.state not in ENDED or (state == "won" and row.state != "won"):
            row.state = state
            row.ended_at = utc_now() if state in ENDED else None
            row.respond_by = news.respond_by or row.respond_by
        if row.state in WON:
            _release(row, organization)
        elif news.takes_money and row.suspended_at is None:
            _hold(row, organization)
        row.save()


def _hold(row: Dispute, organization: Organization) -> None:
    """Once for a dispute: an operator who lifts the suspension is not overruled by the next event."""
    if organization.suspended_at is None:
        do_suspend(organization, actor=ACTOR)
        row.suspended_at = organization.suspended_at
    else:
        ours = Dispute.objects.filter(wallet_id=row.wallet_id, suspended_at=organization.suspended_at)
        row.suspended_at = organization.suspended_at if ours.exists() else utc_now()
    do_switch_off(row.wallet_id, "A payment is disputed.")
    context = {
        "amount": format_usd(row.amount_cents * NANO_PER_CENT),
        **about(row.wallet_id),
    }
    wallet_id = row.wallet_id
    transaction.on_commit(lambda: do_tell(wallet_id, "dispute", "A payment is disputed", context))


def _release(row: Dispute, organization: Organization) -> None:
    """Only what a dispute suspended, and only when no other one stands against it."""
    disputes = Dispute.objects.filter(wallet_id=row.wallet_id)
    is_ours = organization.suspended_at is not None and disputes.filter(suspended_at=organization.suspended_at).exists()
    if is_ours and not disputes.exclude(pk=row.pk).exclude(state__in=WON).exists():
        do_unsuspend(organization, actor=ACTOR)
