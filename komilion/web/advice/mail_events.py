"""`POST /webhooks/mail`: where the vendor that sends our mail tells what became of it: it bounced, somebody complained.

django-anymail checks and reads what each vendor posts (https://anymail.dev/en/stable/sending/tracking/). Its views for
mail that comes in are not reached from here, nor those of other vendors than that of `MAIL_URL`.

200: heard, whatever it was · 400, 401: not from who knows the secret · 404: no secret is set · 503: the database is
away; the vendor sends the event again.
"""

import importlib
import logging
from collections.abc import Mapping
from typing import Any

from anymail.signals import AnymailTrackingEvent, EventType, tracking
from django.conf import settings
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from advisor.actions.letters import do_close_known_address
from advisor.models import ClosedAddress
from komilion.mail_url import vendor_of

log = logging.getLogger(__name__)

VIEWS: Mapping[str, str] = {
    "amazon_ses": "AmazonSESTrackingWebhookView",
    "brevo": "BrevoTrackingWebhookView",
    "mailersend": "MailerSendTrackingWebhookView",
    "mailgun": "MailgunTrackingWebhookView",
    "mailjet": "MailjetTrackingWebhookView",
    "mailtrap": "MailtrapTrackingWebhookView",
    "mandrill": "MandrillCombinedWebhookView",
    "postmark": "PostmarkTrackingWebhookView",
    "resend": "ResendTrackingWebhookView",
    "sendgrid": "SendGridTrackingWebhookView",
    "sparkpost": "SparkPostTrackingWebhookView",
    "unisender_go": "UnisenderGoTrackingWebhookView",
}

# Where a vendor's own event says that a bounce is for good, and how: django-anymail calls a full mailbox a bounce too.
# `*` is whatever name stands there.
FOR_GOOD: Mapping[str, tuple[tuple[str, ...], tuple[object, ...]]] = {
    "amazon_ses": (("bounce", "bounceType"), ("Permanent",)),
    "brevo": (("event",), ("hard_bounce", "invalid_email")),
    "mailersend": (("data", "type"), ("hard_bounced",)),
    "mailgun": (("event-data", "severity"), ("permanent",)),
    "mailjet": (("hard_bounce",), (True,)),
    "mailtrap": (("event",), ("bounce",)),
    "mandrill": (("event",), ("hard_bounce",)),
    "postmark": (("Type",), ("HardBounce",)),
    "resend": (("data", "bounce", "type"), ("Permanent",)),
    "sendgrid": (("type",), ("bounce",)),
    "sparkpost": (("msys", "*", "bounce_class"), ("10", "30")),  # invalid recipient, no such recipient
    "unisender_go": (("status",), ("hard_bounced",)),
}


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])  # two vendors look whether somebody is there before they post
def mail_events(request: HttpRequest) -> HttpResponse:
    """Hear the vendor whose key stands in `MAIL_URL`."""
    if not settings.ANYMAIL:
        raise Http404
    vendor = vendor_of(settings.MAILERS)
    view = getattr(importlib.import_module(f"anymail.webhooks.{vendor}"), VIEWS[vendor])
    answer: HttpResponse = view.as_view()(request)
    return answer


@receiver(tracking)
def hear(event: AnymailTrackingEvent, **_: Any) -> None:
    """Send no letter any more to who complained, nor where a mailbox is gone; all else says nothing of an address."""
    if event.event_type == EventType.COMPLAINED:
        why = ClosedAddress.Why.COMPLAINT
    elif event.event_type == EventType.BOUNCED and _is_for_good(event.esp_event):
        why = ClosedAddress.Why.BOUNCE
    else:
        return
    if event.recipient and do_close_known_address(event.recipient, why):
        log.info("address closed", extra={"address": event.recipient, "why": why.value})


def _is_for_good(told: object) -> bool:
    path, words = FOR_GOOD[vendor_of(settings.MAILERS)]
    for name in path:
        if not isinstance(told, Mapping):
            return False
        told = next(iter(told.values()), None) if name == "*" else told.get(name)
    return told in words
