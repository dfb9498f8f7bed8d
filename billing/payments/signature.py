"""Opens an event that came to the webhook: signed with one of our secrets, lately, or refused."""

from dataclasses import dataclass
from typing import Any

import orjson
import stripe
from django.conf import settings

from komilion.common.clock import unix_s


class NoSecret(Exception):
    """There is no secret to check with, so nothing can be believed."""


class BadSignature(Exception):
    """Not signed by Stripe, too old, from the future, or no event at all."""


@dataclass(frozen=True, slots=True)
class Event:
    """A verified event; `object` is Stripe's object as it was when the event happened."""

    id: str
    type: str
    livemode: bool
    object: dict[str, Any]


def open_event(body: bytes, header: str) -> Event:
    """The event in a signed body. Raises `NoSecret`, `BadSignature`.

    Several secrets hold while one replaces the other.
    """
    if not settings.STRIPE_WEBHOOK_SECRETS:
        raise NoSecret
    if not any(_is_signed(body, header, secret) for secret in settings.STRIPE_WEBHOOK_SECRETS):
        raise BadSignature("no signature of ours, or one that is too old")
    return read_event(body)


def _is_signed(body: bytes, header: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(body, header, secret, settings.WEBHOOK_TOLERANCE_S)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False
    return _signed_at(header) <= unix_s() + settings.WEBHOOK_TOLERANCE_S


def _signed_at(header: str) -> int:
    """Unix seconds; the header was read once already, so it is well formed."""
    return int(next(part for part in header.split(",") if part.startswith("t="))[2:])


def read_event(body: bytes) -> Event:
    """The event in a body that was verified. Raises `BadSignature` where it is none."""
    try:
        event = orjson.loads(body)
        found = Event(event["id"], event["type"], event["livemode"], event["data"]["object"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadSignature("the body is no event") from error
    shape = (str, str, bool, dict)
    if not all(type(getattr(found, name)) is kind for name, kind in zip(Event.__slots__, shape, strict=True)):
        raise BadSignature("the body is no event")
    return found
