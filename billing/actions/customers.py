"""The organization as a customer of Stripe's: who it is there, which card is kept, its page there."""

import logging
from typing import Any

from django.conf import settings
from django.db import transaction

from accounts.actions.audit import do_audit
from accounts.models import Organization
from billing.actions.recharge_off import do_switch_off
from billing.models import PayingCustomer
from billing.payments import client
from billing.payments.letters import payers_of
from billing.payments.mode import TEST_PREFIX, is_current, is_livemode, is_test_money, payment_mode
from billing.payments.objects import id_of, read_card
from billing.payments.pretend import customer_id_for
from billing.payments.signature import Event
from komilion.common.errors import PaymentsOff
from komilion.common.ids import new_id

log = logging.getLogger(__name__)

NO_ANSWER = "The payment provider does not answer. Try again in a moment."
CARD_GONE = "The saved card was removed."
PRETENDED_BRAND = "test card"
PRETENDED_LAST4 = "0000"
KEPT = ("payment_method_id", "card_brand", "card_last4", "card_expires")


def do_ensure_customer(organization_id: int, actor: str) -> PayingCustomer:
    """The organization's customer at Stripe, made first where there is none. Raises `PaymentsOff`.

    One of another Stripe account (the key was changed from test to live) is replaced, its card forgotten.
    """
    known = PayingCustomer.objects.filter(wallet_id=organization_id).first()
    if known is not None and is_current(known):
        return known
    organization = Organization.objects.get(pk=organization_id)
    email = next(iter(payers_of(organization_id)), "")
    try:
        customer_id = client.create_customer(organization_id, organization.name, email, new_id("customer"))
    except (client.StripeRefused, client.StripeUnavailable) as error:
        log.error("no customer", extra={"alarm": "checkout_failed", "error": str(error)})
        raise PaymentsOff(NO_ANSWER) from error
    return do_remember_customer(organization_id, customer_id, actor)


def do_remember_customer(organization_id: int, customer_id: str, actor: str) -> PayingCustomer:
    """The row; of two that are made at the same time the first one stays. A customer from elsewhere gives way."""
    with transaction.atomic():
        fields = {"customer_id": customer_id, "livemode": is_livemode()}
        row, is_new = PayingCustomer.objects.select_for_update().get_or_create(
            wallet_id=organization_id, defaults=fields
        )
        if not is_new and not is_current(row):
            for name, value in {**fields, **dict.fromkeys(KEPT, "")}.items():
                setattr(row, name, value)
            row.save()
        do_audit(organization_id, actor=actor, action="customer.create", subject=row.customer_id)
    return row


def do_open_portal(organization_id: int, return_url: str) -> str:
    """The address of the customer's own page at Stripe: invoices, cards. Raises `PaymentsOff`."""
    if payment_mode() not in {"live", "stripe_test"}:
        raise PaymentsOff
    customer = do_ensure_customer(organization_id, "portal")
    back = f"{settings.PUBLIC_URL}{return_url}" if return_url.startswith("/") else return_url
    try:
        return client.open_portal(customer, back)
    except (client.StripeRefused, client.StripeUnavailable) as error:
        log.error("no portal", extra={"alarm": "portal_failed", "error": str(error)})
        raise PaymentsOff(NO_ANSWER) from error


# test money


def do_ensure_pretended_customer(wallet_id: int) -> PayingCustomer:
    """The customer of an organization that pays with test money. One of Stripe's test mode gives way to it."""
    customer, _ = PayingCustomer.objects.update_or_create(
        wallet_id=wallet_id, defaults={"customer_id": customer_id_for(wallet_id), "livemode": False}
    )
    return customer


def do_keep_pretended_card(wallet_id: int) -> None:
    """What Stripe would keep for automatic top-ups."""
    PayingCustomer.objects.filter(wallet_id=wallet_id, customer_id=customer_id_for(wallet_id)).update(
        payment_method_id=f"{TEST_PREFIX}card-{wallet_id}",
        card_brand=PRETENDED_BRAND,
        card_last4=PRETENDED_LAST4,
        card_expires="",
    )


# the card


def do_keep_card_of_payment(wallet_id: int, payment_id: str) -> bool:
    """Keep the card that a payment was made with, as Stripe has it now; False where that is not known yet."""
    try:
        intent = client.read_intent(payment_id)
        return do_keep_card(wallet_id, id_of(intent.get("payment_method")))
    except (client.StripeRefused, client.StripeUnavailable) as error:
        log.warning("card not read", extra={"payment": payment_id, "error": str(error)})
        return False


def do_keep_card(wallet_id: int, payment_method_id: str) -> bool:
    """Read the card from Stripe and keep what people recognize it by; False where it is not the customer's (any more).

    Raises `StripeRefused`, `StripeUnavailable`.
    """
    card = read_card(client.read_payment_method(payment_method_id))
    kept = PayingCustomer.objects.filter(wallet_id=wallet_id, customer_id=card.customer_id).update(
        payment_method_id=card.payment_method_id,
        card_brand=card.brand,
        card_last4=card.last4,
        card_expires=card.expires,
    )
    return bool(kept)


def _forget_card(customer: PayingCustomer) -> None:
    PayingCustomer.objects.filter(pk=customer.pk).update(**dict.fromkeys(KEPT, ""))
    do_switch_off(customer.wallet_id, CARD_GONE)


# events


def on_card(event: Event) -> None:
    """`payment_method.attached` (the first is kept), `.updated`, `.automatically_updated`: read anew from Stripe."""
    customer = PayingCustomer.objects.filter(customer_id=id_of(event.object.get("customer"))).first()
    method_id = id_of(event.object)
    if customer is None or customer.payment_method_id not in {"", method_id}:
        return
    try:
        do_keep_card(customer.wallet_id, method_id)
    except client.StripeRefused:
        log.info("card gone again", extra={"payment_method": method_id})


def on_card_detached(event: Event) -> None:
    """`payment_method.detached`: Stripe no longer names the customer in it."""
    customer = PayingCustomer.objects.filter(payment_method_id=id_of(event.object) or "-").first()
    if customer is not None:
        _forget_card(customer)


def on_customer_updated(event: Event) -> None:
    """`customer.updated`: a default card that was chosen at Stripe becomes the saved one."""
    customer = PayingCustomer.objects.filter(customer_id=id_of(event.object)).first()
    default = id_of(_settings_of(event.object).get("default_payment_method"))
    if customer is None or default in {"", customer.payment_method_id}:
        return
    try:
        do_keep_card(customer.wallet_id, default)
    except client.StripeRefused:
        log.info("card gone again", extra={"payment_method": default})


def on_customer_deleted(event: Event) -> None:
    """`customer.deleted`: the next top-up makes another one."""
    customer = PayingCustomer.objects.filter(customer_id=id_of(event.object)).first()
    if customer is not None and not is_test_money(customer.customer_id):
        do_switch_off(customer.wallet_id, CARD_GONE)
        customer.delete()


def _settings_of(customer: dict[str, Any]) -> dict[str, Any]:
    found = customer.get("invoice_settings")
    return found if isinstance(found, dict) else {}
