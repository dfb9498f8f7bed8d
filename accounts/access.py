"""The one door to what belongs to a tenant: a credential goes in, a `Caller` comes out."""

from collections.abc import Mapping
from dataclasses import dataclass

from accounts.models import ApiKey
from komilion.common.clock import utc_now


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: an organization, a member of it and, for API calls, a key.

    The epochs are compared with the database's in the transaction that reserves money, so a caller that is cached
    somewhere can never spend after a right was taken away.
    """

    organization_id: int
    member_id: int | None
    key_id: int | None
    key_epoch: int
    organization_epoch: int
    tier: str
    organization_limits: Mapping[str, int]
    key_limits: Mapping[str, int]
    models_allowed: frozenset[str] | None  # None: every model
    is_suspended: bool
    expires_at_unix_s: float | None


def access_api_key(key_hash: bytes) -> Caller | None:
    """The caller behind a key's hash; None when there is no such key or it is revoked or expired."""
    key = ApiKey.objects.select_related("organization").filter(key_hash=key_hash, revoked_at__isnull=True).first()
    if key is None or (key.expires_at is not None and key.expires_at <= utc_now()):
        return None
    organization = key.organization
    return Caller(
        organization_id=organization.pk,
        member_id=key.membership_id,
        key_id=key.pk,
        key_epoch=key.auth_epoch,
        organization_epoch=organization.auth_epoch,
        tier=organization.tier,
        organization_limits=organization.limits,
        key_limits=key.limits,
        models_allowed=None if key.models_allowed is None else frozenset(key.models_allowed),
        is_suspended=organization.suspended_at is not None,
        expires_at_unix_s=None if key.expires_at is None else key.expires_at.timestamp(),
    )
