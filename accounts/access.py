"""The one door to what belongs to a tenant: a credential goes in, a `Caller` or a `Viewer` comes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from accounts.models import ApiKey, Membership, Role
from komilion.common.clock import utc_now
from komilion.common.errors import Forbidden


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


class Right(StrEnum):
    """What a member may do beyond reading what the organization does and spends."""

    KEYS = "keys"  # make, change and revoke keys; the playground
    WALLET = "wallet"  # top up, refund, automatic top-up
    MEMBERS = "members"  # invite, change roles, remove; rename the organization


RIGHTS: Mapping[str, frozenset[Right]] = {
    Role.OWNER: frozenset(Right),
    Role.DEVELOPER: frozenset({Right.KEYS}),
    Role.BILLING: frozenset({Right.WALLET}),
    Role.VIEWER: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Viewer:
    """A logged-in person in one of her organizations: what pages and session calls act for."""

    user_id: int
    email: str
    time_zone: str
    membership_id: int
    organization_id: int
    organization_name: str
    role: str
    tier: str
    is_suspended: bool

    def may(self, right: Right | str) -> bool:
        """Whether the role has this right."""
        return right in RIGHTS[self.role]

    def must(self, right: Right) -> None:
        """Raise `Forbidden` where the role has it not."""
        if not self.may(right):
            raise Forbidden(f"Your role ({self.role}) may not do that; ask an owner of {self.organization_name}.")


def access_viewer(user_id: int, organization_id: int | None) -> Viewer | None:
    """The person in that organization, or in her oldest one where she is no member of it; None without any."""
    memberships = Membership.objects.filter(user_id=user_id, user__is_active=True).select_related(
        "organization", "user"
    )
    rows = sorted(memberships, key=lambda row: (row.organization_id != organization_id, row.pk))
    if not rows:
        return None
    row = rows[0]
    return Viewer(
        user_id=row.user_id,
        email=row.user.email,
        time_zone=row.user.time_zone,
        membership_id=row.pk,
        organization_id=row.organization_id,
        organization_name=row.organization.name,
        role=row.role,
        tier=row.organization.tier,
        is_suspended=row.organization.suspended_at is not None,
    )
