"""Charging the saved card for a recharge, and what came of it. See `billing.actions.recharge` for the whole story."""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce

from billing.actions.credits import do_credit
from billing.actions.recharge_off import do_switch_off
from billing.models import AutoRecharge, TopUpOrder
from billing.payments import client
from billing.payments.mode import is_livemode, is_test_money, payment_mode
from billing.payments.objects import id_of, read_intent, text_of
from billing.payments.pretend import intent_event
from billing.payments.queries import has_open_dispute
from billing.payments.signature import Event
from komilion.common.clock import utc_now

log = logging.getLogger(__name__)

State = TopUpOrder.State
BACK_OFF_S = (60, 120, 300, 900, 3_600)  # after the first, second, ... attempt; the last one repeats
EVENT_WAIT_S = 600  # a payment that succeeded is credited by its event; after that it is looked up
DECLINES = 2  # in a row
HOLDER_WANTED = frozenset({"authentication_required", "requires_action", "approve_with_id"})
HARD = frozenset(
    {
        *("lost_card", "stolen_card", "pickup_card", "fraudulent", "restricted_card", "security_violation"),
        *("merchant_blacklist", "do_not_try_again", "stop_payment_order", "revocation_of_authorization"),
        *("revocation_of_all_authorizations", "expired_card", "invalid_account", "card_not_supported"),
        *(
            "incorrect_number",
            "invalid_number",
            "transaction_not_allowed",
            "no_action_taken",
            "new_account_information",
        ),
    }
)


def do_attempt_recharges() -> int:
    """Charge, ask again or look up whatever is due; how many orders that were. A Stripe that is away is asked once."""
    if payment_mode() == "off":
        return 0
    now = utc_now()
    due = TopUpOrder.objects.filter(
        kind=TopUpOrder.Kind.RECHARGE, state__in=TopUpOrder.WAITING, next_attempt_at__lte=now
    )
    tried = 0
    for order in due.order_by("next_attempt_at"):
        if not _claim(order, now):
            continue
        tried += 1
        if not _attempt(order, now):
            break
    return tried


def _claim(order: TopUpOrder, now: datetime) -> bool:
    """Ours alone until the next attempt is due. `unknown` is written before anything is sent: a crash leaves it so."""
    pause_s = BACK_OFF_S[min(order.attempts, len(BACK_OFF_S) - 1)]
    mine = TopUpOrder.objects.filter(
        pk=order.pk, state__in=TopUpOrder.WAITING, next_attempt_at=order.next_attempt_at
    ).update(
        state=State.UNKNOWN,
        attempts=F("attempts") + 1,
        first_attempt_at=Coalesce("first_attempt_at", now),
        next_attempt_at=now + timedelta(seconds=pause_s),
    )
    if mine:
        order.refresh_from_db()
    return bool(mine)


def _attempt(order: TopUpOrder, now: datetime) -> bool:
    """False where Stripe does not answer."""
    is_test = is_test_money(order.customer_id)
    if order.livemode != is_livemode() or is_test != (payment_mode() == "test"):
        _fail(order, "made for another Stripe account")
    elif not is_test:
        return _charge(order, now)
    elif _is_agreed(order):
        event = intent_event(order)
        do_credit(read_intent(event.object), event)
    else:
        _fail(order, "automatic top-up ended before the card was charged")
    return True


def _is_agreed(order: TopUpOrder) -> bool:
    """Whether the mandate that the order was made under still stands, and nothing speaks against charging the card."""
    standing = AutoRecharge.objects.filter(
        wallet_id=order.wallet_id,
        is_on=True,
        agreed_at__lte=order.created_at,  # one that was given later is for other amounts
        wallet__organization__suspended_at__isnull=True,
    )
    return standing.exists() and not has_open_dispute(order.wallet_id)


def _charge(order: TopUpOrder, now: datetime) -> bool:
    try:
        intent = _intent_of(order, now)
    except client.CardDeclined as error:
        do_decline(order, error.code, error.intent_id)
    except client.StripeRefused as error:
        log.error("recharge refused", extra={"alarm": "recharge_refused", "order": order.pk, "error": str(error)})
        if _fail(order, str(error)):
            do_switch_off(order.wallet_id, "The payment provider refused the saved card.")
    except client.StripeUnavailable as error:
        log.warning("recharge: outcome unknown", extra={"order": order.pk, "error": str(error)})
        return False
    else:
        if intent is None:
            _fail(order, "the payment provider never had it")
        else:
            _learn(order, intent, now)
    return True


def _intent_of(order: TopUpOrder, now: datetime) -> client.Object | None:
    """The PaymentIntent as it is now, made where it is not certain that there is one; None: there never was one.

    Only looked for where sending could charge again, because Stripe may have forgotten the key, and where nobody agrees
    to the charge any more. One that is on its way there at this moment is credited by its event.
    """
    if order.payment_intent_id:
        return client.read_intent(order.payment_intent_id)
    first = order.first_attempt_at or now
    if now - first > timedelta(seconds=settings.RECHARGE_RETRY_S) or not _is_agreed(order):
        return client.find_intent(order)
    return client.charge_saved_card(order)


def _learn(order: TopUpOrder, intent: client.Object, now: datetime) -> None:
    status = text_of(intent, "status")
    if status == "succeeded":
        if order.payment_intent_id:  # known for a while, and no event came
            log.error("no event of a recharge", extra={"alarm": "webhook_missed", "order": order.pk})
            do_credit(read_intent(intent))
        else:
            _remember(order, intent, now + timedelta(seconds=EVENT_WAIT_S))
    elif status == "requires_action":
        do_decline(order, status, id_of(intent))
    elif status in {"requires_payment_method", "canceled"}:
        do_decline(order, code_of(intent), id_of(intent))
    else:
        _remember(order, intent, order.next_attempt_at)


def _remember(order: TopUpOrder, intent: client.Object, look_at: datetime | None) -> None:
    """The event may have been faster, so only what still waits."""
    TopUpOrder.objects.filter(pk=order.pk, state__in=TopUpOrder.WAITING).update(
        payment_intent_id=id_of(intent), next_attempt_at=look_at
    )


def code_of(intent: dict[str, Any]) -> str:
    """Why a PaymentIntent did not succeed."""
    error = intent.get("last_payment_error")
    error = error if isinstance(error, dict) else {}
    return text_of(error, "decline_code") or text_of(error, "code") or text_of(intent, "status") or "declined"


def do_decline(order: TopUpOrder, code: str, intent_id: str) -> None:
    """The bank said no. Once for an order, whoever brings the news first: the answer or the event."""
    with transaction.atomic():
        if not _fail(order, code, intent_id):
            return
        AutoRecharge.objects.filter(wallet_id=order.wallet_id).update(declines=F("declines") + 1)
        recharge = AutoRecharge.objects.filter(wallet_id=order.wallet_id).first()
        if code in HOLDER_WANTED:
            do_switch_off(order.wallet_id, "The card's bank wants you to confirm the payment; please top up yourself.")
        elif code in HARD:
            do_switch_off(order.wallet_id, f"The card can no longer be charged ({code}).")
        elif recharge is not None and recharge.declines >= DECLINES:
            do_switch_off(order.wallet_id, f"The card was declined {DECLINES} times in a row ({code}).")
    log.warning("recharge declined", extra={"order": order.pk, "code": code})


def _fail(order: TopUpOrder, why: str, intent_id: str = "") -> bool:
    """End it unpaid; False where it has ended before. Should it be paid after all, its event credits it."""
    waiting = TopUpOrder.objects.filter(pk=order.pk, state__in=TopUpOrder.WAITING)
    return bool(
        waiting.update(
            state=State.FAILED,
            failure=why[:200],
            ended_at=utc_now(),
            payment_intent_id=intent_id or order.payment_intent_id,
        )
    )


def on_intent_failed(event: Event) -> None:
    """`payment_intent.payment_failed`, `.requires_action`, `.canceled` of a recharge; on Checkout people try again."""
    order = TopUpOrder.objects.filter(pk=client.order_id_of(event.object), kind=TopUpOrder.Kind.RECHARGE).first()
    if order is None or order.customer_id != id_of(event.object.get("customer")):
        return
    is_wanted = event.type.endswith("requires_action")
    do_decline(order, "requires_action" if is_wanted else code_of(event.object), id_of(event.object))
