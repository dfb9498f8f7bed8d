"""Reads of API keys for pages and APIs. Nothing here knows a secret."""

from collections.abc import Collection

from accounts.access import Asker, visible_to_key
from accounts.models import ApiKey, Organization
from komilion.common.clock import utc_now
from komilion.common.tiers import Limits, limits_for


def keys_page(asker: Asker, *, before_id: int | None, limit: int) -> tuple[list[ApiKey], int | None]:
    """The newest keys that the asker may see, revoked ones too, older than `before_id`; and where the next page begins.

    With maker and parent.
    """
    keys = ApiKey.objects.select_related("membership__user", "parent").filter(organization_id=asker.organization_id)
    if asker.key is not None:
        keys = keys.filter(visible_to_key(asker.key.pk))
    if before_id is not None:
        keys = keys.filter(pk__lt=before_id)
    rows = list(keys.order_by("-pk")[: limit + 1])
    return rows[:limit], rows[limit - 1].pk if len(rows) > limit else None


def children_of(key: ApiKey) -> list[ApiKey]:
    """The keys that this key made, the oldest first."""
    return list(ApiKey.objects.filter(parent_id=key.pk).order_by("pk"))


def key_names(organization_id: int, key_ids: Collection[int]) -> dict[int, ApiKey]:
    """The organization's keys among these ids."""
    return ApiKey.objects.filter(organization_id=organization_id).in_bulk(list(key_ids))


def limits_of(organization_id: int) -> Limits:
    """What all keys of the organization may do together, and so the most that one may."""
    organization = Organization.objects.get(pk=organization_id)
    return limits_for(organization.tier, organization.limits)


def state_of(key: ApiKey) -> str:
    """`active`, `expired` or `revoked`."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= utc_now() else "active"
