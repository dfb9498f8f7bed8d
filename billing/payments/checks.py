"""Django's system checks of how paying is set up: `manage.py check`, and before every other command."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError

from billing.payments.leftovers import refusal_of_real_money
from billing.payments.pretend import trouble_of_database
from komilion.common.play_money import trouble_of_test_money


@register(Tags.security)
def check_payments(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """What can be seen in the settings alone."""
    found: list[CheckMessage] = []
    if settings.TEST_PAYMENTS and (trouble := trouble_of_test_money(settings)):
        hint = "Set TEST_PAYMENTS=0, or leave it out."
        found.append(Error(f"{trouble}.", hint=hint, id="billing.E001"))
    if settings.STRIPE_SECRET_KEY and not settings.STRIPE_WEBHOOK_SECRETS:
        hint = "Set STRIPE_WEBHOOK_SECRETS to the signing secret of the endpoint PUBLIC_URL/webhooks/stripe at Stripe."
        message = (
            "STRIPE_SECRET_KEY is set without STRIPE_WEBHOOK_SECRETS: payments could not be credited, so paying is off."
        )
        found.append(Error(message, hint=hint, id="billing.E002"))
    if settings.STRIPE_WEBHOOK_SECRETS and not settings.STRIPE_SECRET_KEY:
        hint = "Set STRIPE_SECRET_KEY, or leave STRIPE_WEBHOOK_SECRETS out."
        message = "STRIPE_WEBHOOK_SECRETS is set without STRIPE_SECRET_KEY: events come in, but nobody can pay."
        found.append(Warning(message, hint=hint, id="billing.W001"))
    return found


@register(Tags.database)
def check_test_money(app_configs: Any, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """`manage.py check --database default`: test money and real money in one database."""
    if "default" not in (databases or ()):
        return []
    try:
        played = trouble_of_database() if settings.TEST_PAYMENTS else ""
        real = refusal_of_real_money(settings.STRIPE_SECRET_KEY)
    except DatabaseError:  # not migrated yet
        return []
    found: list[CheckMessage] = []
    if played:
        hint = "Set TEST_PAYMENTS=0, or work on another database."
        found.append(Error(f"{played}.", hint=hint, id="billing.E003"))
    if real:
        hint = "Run it, or work on another database."
        found.append(Error(f"{real}.", hint=hint, id="billing.E004"))
    return found
