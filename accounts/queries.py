"""Reads of accounts for commands and pages."""

from datetime import datetime

from django.db.models import Q

from accounts.models import ApiKey, Membership, Organization, Role
from komilion.common.clock import utc_now


def organization_of_email(email: str) -> Organization | None:
    """The organization that the person with this address owns; the oldest where there are several."""
    owner = owner_of_email(email)
    return None if owner is None else owner.organization


def owner_of_email(email: str) -> Membership | None:
    """The person with this address as an owner, of the oldest organization where there are several."""
    return (
        Membership.objects.filter(user__email=email.lower(), role=Role.OWNER)
        .select_related("organization")
        .order_by("organization_id")
        .first()
    )


def is_known_key(key_hash: bytes) -> bool:
    """Whether there is or was such a key, be it revoked or expired by now."""
    return ApiKey.objects.filter(key_hash=key_hash).exists()


def count_keys_before(moment: datetime) -> int:
    """Keys that were made before that and are neither revoked nor expired."""
    valid = ApiKey.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=utc_now()), revoked_at__isnull=True)
    return valid.filter(created_at__lt=moment).count()
