"""`POST /webhooks/stripe`: where Stripe tells what happened. Nothing is believed that is not signed.

200: done with, also where it was nothing of ours (the log has it) · 400: not signed by Stripe, not lately, or no event
413: too long · 503: no secret to check with, or database or Stripe are away; Stripe sends the event again.
"""

import logging

from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.actions.payment_events import do_apply_event
from billing.errors import MovementRefused, StoreBusy, StoreUnavailable
from billing.payments.client import StripeUnavailable
from billing.payments.signature import BadSignature, NoSecret, open_event
from komilion.common.metrics import count

log = logging.getLogger(__name__)

TRY_AGAIN = (StoreUnavailable, StoreBusy, MovementRefused, DatabaseError, StripeUnavailable)


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> JsonResponse:
    """Check, apply, answer. 2xx says that everything the event brought is durable."""
    length = request.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > settings.WEBHOOK_BODY_LIMIT_BYTES:
        return _answer(413, "too long")
    body = request.body
    if len(body) > settings.WEBHOOK_BODY_LIMIT_BYTES:
        return _answer(413, "too long")
    try:
        event = open_event(body, request.headers.get("Stripe-Signature", ""))
    except NoSecret:
        if settings.STRIPE_SECRET_KEY:  # else only strangers post here, and they must not wake anybody
            log.error("event without a secret to check it with", extra={"alarm": "webhook_secret_missing"})
        return _answer(503, "not set up")
    except BadSignature as error:
        _count("refused")  # no alarm, for the same reason: what tells is that refusals rise and nothing is applied
        log.warning("event refused", extra={"error": str(error)})
        return _answer(400, "bad signature")
    try:
        do_apply_event(event)
    except TRY_AGAIN as error:
        extra = {"alarm": "webhook_failed", "event": event.id, "type": event.type, "error": str(error)}
        log.error("event not applied", extra=extra)
        _count("failed")
        return _answer(503, "try again")
    _count("applied")
    return _answer(200, "done")


def _count(outcome: str) -> None:
    count("komilion_webhook_events", (outcome,))


def _answer(status: int, message: str) -> JsonResponse:
    return JsonResponse({"message": message}, status=status)
