"""Whether paying works here, and with whose money."""

from typing import Literal

from django.conf import settings

from billing.models import PayingCustomer
from komilion.common.play_money import is_live_key

TEST_PREFIX = "test-"  # of customers, cards and payments that exist here only

type PaymentMode = Literal["live", "stripe_test", "test", "off"]


def payment_mode() -> PaymentMode:
    """`live`: Stripe, real money · `stripe_test`: Stripe's test mode · `test`: our own page, no money · `off`: 503.

    A key of Stripe's without a webhook secret is `off`: what people paid could never be credited.
    """
    if settings.STRIPE_SECRET_KEY:
        if not settings.STRIPE_WEBHOOK_SECRETS:
            return "off"
        return "live" if is_live_key(settings.STRIPE_SECRET_KEY) else "stripe_test"
    return "test" if settings.TEST_PAYMENTS else "off"


def has_tax() -> bool:
    """Whether Stripe adds tax to what people pay. Only Checkout can; a charge to a saved card would be without it."""
    return settings.STRIPE_TAX and payment_mode() in {"live", "stripe_test"}


def is_livemode() -> bool:
    """What `livemode` must be in everything that Stripe tells us."""
    return is_live_key(settings.STRIPE_SECRET_KEY)


def is_test_money(stripe_id: str) -> bool:
    """Whether a customer, card or payment was made up here."""
    return stripe_id.startswith(TEST_PREFIX)


def is_current(customer: PayingCustomer) -> bool:
    """Whether the customer is one of the Stripe account, or of the test money, that is set up now."""
    if is_test_money(customer.customer_id):
        return payment_mode() == "test"
    return bool(settings.STRIPE_SECRET_KEY) and customer.livemode == is_livemode()
