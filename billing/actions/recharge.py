"""Automatic top-up: when paid + promo - debt falls below a threshold, the saved card is charged.

    set up    a mandate: who agreed, when, from where, to which text
    start     the minute's sweep makes an order, at most one open for a wallet, within the day's cap
    attempt   the order is claimed, then the card is charged with the order's own idempotency key
    outcome   paid: the verified event credits it · declined: counted · unknown: the same again for 23 h, then a look-up

An order whose outcome is unknown is never charged under another key, so nobody is charged twice for it; and it is only
looked up, never sent again, once its mandate has ended, the organization is suspended or a payment is disputed.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet, Sum

from accounts.actions.audit import do_audit
from billing.actions.checkout import check_amount, fee_on
from billing.actions.recharge_off import SYSTEM, do_switch_off
from billing.errors import InvalidRecharge, InvalidTopUp
from billing.models import AutoRecharge, PayingCustomer, TopUpOrder, Wallet
from billing.payments.mandate import MANDATE_VERSION
from billing.payments.mode import has_tax, is_current, is_livemode, payment_mode
from billing.payments.queries import has_open_dispute
from komilion.common.clock import utc_now
from komilion.common.errors import PaymentsOff
from komilion.common.ids import new_id
from komilion.common.money import MAX_NANO, NANO_PER_CENT, format_usd

log = logging.getLogger(__name__)

State = TopUpOrder.State
NO_TAX = "Tax is added to top-ups here, which needs somebody on the payment page: automatic top-up is not possible."
COUNTED = (*TopUpOrder.WAITING, State.PAID)  # against the day's cap


def do_set_auto_recharge(
    organization_id: int, *, threshold_nano: int, credit_cents: int, daily_cap_cents: int, actor: str, ip: str
) -> None:
    """Switch it on, or change it; the mandate is given anew each time. Raises `InvalidRecharge`, `PaymentsOff`."""
    _check(organization_id, threshold_nano, credit_cents, daily_cap_cents)
    with transaction.atomic():
        AutoRecharge.objects.update_or_create(
            wallet_id=organization_id,
            defaults={
                "is_on": True,
                "threshold_nano": threshold_nano,
                "credit_cents": credit_cents,
                "daily_cap_cents": daily_cap_cents,
                "off_reason": "",
                "declines": 0,
                "agreed_by": actor,
                "agreed_at": utc_now(),
                "agreed_from": ip or None,
                "agreed_version": MANDATE_VERSION,
            },
        )
        detail = {
            "threshold_usd": format_usd(threshold_nano),
            "credit_usd": format_usd(credit_cents * NANO_PER_CENT),
            "daily_cap_usd": format_usd(daily_cap_cents * NANO_PER_CENT),
            "mandate": MANDATE_VERSION,
        }
        do_audit(organization_id, actor=actor, action="recharge.on", subject="automatic top-up", detail=detail)


def do_stop_auto_recharge(organization_id: int, *, actor: str) -> None:
    """Switch it off; the card stays. A charge that Stripe has is not taken back; none is sent any more."""
    with transaction.atomic():
        if AutoRecharge.objects.filter(wallet_id=organization_id, is_on=True).update(is_on=False, off_reason=""):
            do_audit(organization_id, actor=actor, action="recharge.off", subject="automatic top-up")


def _check(organization_id: int, threshold_nano: int, credit_cents: int, daily_cap_cents: int) -> None:
    if payment_mode() == "off":
        raise PaymentsOff
    if has_tax():
        raise InvalidRecharge(NO_TAX)
    if not 0 < threshold_nano <= MAX_NANO:
        raise InvalidRecharge("The threshold must be more than nothing.")
    try:
        check_amount(credit_cents)
    except InvalidTopUp as error:
        raise InvalidRecharge(str(error)) from error
    if not credit_cents <= daily_cap_cents <= 100 * settings.TOPUP_MAXIMUM_CENTS:
        raise InvalidRecharge("The daily cap must be at least the amount of one top-up.")
    customer = PayingCustomer.objects.filter(wallet_id=organization_id).first()
    if customer is None or not is_current(customer) or not customer.payment_method_id:
        raise InvalidRecharge("Save a card first: top up once and tick the box.")
    if Wallet.objects.filter(pk=organization_id, debt_nano__gt=0).exists():
        raise InvalidRecharge("The wallet is in debt; top up once first.")
    if has_open_dispute(organization_id):
        raise InvalidRecharge("A payment is disputed; automatic top-up is not possible until that is settled.")


# start


def do_start_recharges() -> list[str]:
    """Orders for every wallet that needs one now; their ids.

    Those in debt are switched off instead, and all of them where tax would have to be added.
    """
    if payment_mode() == "off":
        return []
    if has_tax():
        for recharge in AutoRecharge.objects.filter(is_on=True):
            do_switch_off(recharge.wallet_id, NO_TAX)
        return []
    for recharge in AutoRecharge.objects.filter(is_on=True, wallet__debt_nano__gt=0):
        do_switch_off(recharge.wallet_id, "The wallet is in debt.")
    started = [_start(recharge, utc_now()) for recharge in _due().select_related("wallet__customer")]
    return [order_id for order_id in started if order_id]


def _due() -> QuerySet[AutoRecharge]:
    worth = F("wallet__paid_nano") + F("wallet__promo_nano") - F("wallet__debt_nano")
    return AutoRecharge.objects.annotate(worth=worth).filter(
        is_on=True, worth__lt=F("threshold_nano"), wallet__organization__suspended_at__isnull=True
    )


def _start(recharge: AutoRecharge, now: datetime) -> str:
    """The order's id; empty where there is one already, the day's cap is reached, or the card has to rest."""
    customer = getattr(recharge.wallet, "customer", None)
    if customer is None or not is_current(customer) or not customer.payment_method_id:
        return ""
    try:
        with transaction.atomic():
            order = TopUpOrder.objects.create(
                id=new_id("top"),
                wallet_id=recharge.pk,
                kind=TopUpOrder.Kind.RECHARGE,
                credit_cents=recharge.credit_cents,
                fee_cents=fee_on(recharge.credit_cents),
                livemode=is_livemode(),
                customer_id=customer.customer_id,
                payment_method_id=customer.payment_method_id,
                created_by=SYSTEM,
                next_attempt_at=now,
            )
            if not _is_wanted(order, now):
                raise _NotWanted
    except (_NotWanted, IntegrityError):
        return ""
    log.info("recharge started", extra={"order": order.pk, "wallet": recharge.pk})
    return order.pk


class _NotWanted(Exception):
    """Takes the order back."""


def _is_wanted(order: TopUpOrder, now: datetime) -> bool:
    """Looked at again once the order is in, when no other can be: an earlier one may just have been credited."""
    recharge = _due().filter(pk=order.wallet_id).first()
    if recharge is None:
        return False
    orders = TopUpOrder.objects.filter(wallet_id=order.wallet_id, kind=TopUpOrder.Kind.RECHARGE)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    spent = orders.filter(created_at__gte=day, state__in=COUNTED).aggregate(cents=Sum("credit_cents"))["cents"]
    if spent > recharge.daily_cap_cents:
        return False
    rests_since = now - timedelta(seconds=settings.RECHARGE_PAUSE_S)
    looked_at = max(rests_since, recharge.agreed_at or rests_since)  # who switches it on again has looked at the card
    return not orders.filter(state=State.FAILED, ended_at__gt=looked_at).exists()
