"""Ids of messages and of what comes along with them (RFC 5322 and 2392): unlike any other's in the world."""

from urllib.parse import urlsplit

from django.conf import settings
from django.utils.crypto import salted_hmac

SALT = "advisor.letter"


def message_id(organization_id: int, membership_id: int, reason: str) -> str:
    """The `Message-ID` of a member's letter of a week, or of an alert: the same each time, and unguessable."""
    said = salted_hmac(SALT, f"{organization_id}:{membership_id}:{reason}", algorithm="sha256").hexdigest()[:40]
    return f"<{reason.lower()}.{said}@{mail_host()}>"


def mail_host() -> str:
    """What stands behind the @ of ids that we make: the host of PUBLIC_URL."""
    host = urlsplit(settings.PUBLIC_URL).hostname or "localhost"
    return f"[{host}]" if ":" in host else host
