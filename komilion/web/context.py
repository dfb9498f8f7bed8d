"""What every template can name: the viewer, and what kind of installation this is."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """`viewer` (lazy, may be None), `public_url`, `test_payments`, `trial_credit_nano`."""
    return {
        "viewer": getattr(request, "viewer", None),
        "public_url": settings.PUBLIC_URL,
        "test_payments": settings.TEST_PAYMENTS,
        "trial_credit_nano": settings.TRIAL_CREDIT_NANO,
    }
