"""Starting a top-up: our order first, then a page to pay it on. What it brings comes by event, never by this way."""

import logging

from django.conf import settings
from django.db import transaction

from accounts.actions.audit import do_audit
from billing.actions.customers import do_ensure_customer, do_ensure_pretended_customer
from billing.errors import InvalidTopUp
from billing.models import TopUpOrder
from billing.payments import client
from billing.payments.mode import is_livemode, payment_mode
from billing.prices import BASIS_POINTS
from komilion.common.clock import utc_now
from komilion.common.errors import PaymentsOff
from komilion.common.ids import new_id
from komilion.common.money import NANO_PER_CENT, ceil_div, format_usd

log = logging.getLogger(__name__)

TEST_PAGE = "/dashboard/wallet/test-checkout"


def fee_on(credit_cents: int) -> int:
    """What paying that much by card costs on top, in cents, rounded up."""
    return ceil_div(credit_cents * settings.TOPUP_FEE_BASIS_POINTS, BASIS_POINTS)


def check_amount(credit_cents: int) -> None:
    """Raise `InvalidTopUp` for less or more than a top-up may be."""
    least, most = settings.TOPUP_MINIMUM_CENTS, settings.TOPUP_MAXIMUM_CENTS
    if not least <= credit_cents <= most:
        bounds = f"${format_usd(least * NANO_PER_CENT)} and ${format_usd(most * NANO_PER_CENT)}"
        raise InvalidTopUp(f"A top-up is between {bounds}.")


def do_start_checkout(organization_id: int, credit_cents: int, *, saves_card: bool, actor: str, return_url: str) -> str:
    """An order, and the address to send the browser to: Stripe's page, or our test page.

    `return_url` (absolute, or a path here) is where Stripe sends the browser back to, with `order=top-...` added,
    whether it was paid or not. Raises `PaymentsOff`, `InvalidTopUp`.
    """
    mode = payment_mode()
    if mode == "off":
        raise PaymentsOff
    check_amount(credit_cents)
    is_test = mode == "test"
    customer = do_ensure_pretended_customer(organization_id) if is_test else do_ensure_customer(organization_id, actor)
    with transaction.atomic():
        order = TopUpOrder.objects.create(
            id=new_id("top"),
            wallet_id=organization_id,
            kind=TopUpOrder.Kind.TEST if is_test else TopUpOrder.Kind.CHECKOUT,
            credit_cents=credit_cents,
            fee_cents=fee_on(credit_cents),
            livemode=is_livemode(),
            saves_card=saves_card,
            customer_id=customer.customer_id,
            created_by=actor,
        )
        amount = f"${format_usd(credit_cents * NANO_PER_CENT)}"
        do_audit(organization_id, actor=actor, action="topup.order", subject=amount, detail={"order": order.pk})
    return f"{TEST_PAGE}/{order.pk}" if is_test else _open_session(order, return_url)


def _open_session(order: TopUpOrder, return_url: str) -> str:
    """After the commit: Stripe must never know of an order that we do not."""
    back = f"{settings.PUBLIC_URL}{return_url}" if return_url.startswith("/") else return_url
    try:
        session = client.create_checkout(order, back)
    except (client.StripeRefused, client.StripeUnavailable) as error:
        log.error("no checkout session", extra={"alarm": "checkout_failed", "order": order.pk, "error": str(error)})
        TopUpOrder.objects.filter(pk=order.pk, state=TopUpOrder.State.OPEN).update(
            state=TopUpOrder.State.FAILED, failure=str(error)[:200], ended_at=utc_now()
        )
        raise PaymentsOff("The payment provider does not answer; nothing was paid. Try again in a moment.") from error
    TopUpOrder.objects.filter(pk=order.pk).update(checkout_session_id=str(session["id"]))
    return str(session["url"])
