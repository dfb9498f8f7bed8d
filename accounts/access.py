"""The one door to what belongs to a tenant: a credential goes in, a `Caller` or a `Viewer` comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from django.db.models import Q

from accounts.models import ApiKey, Membership, Role
from accounts.session_tokens import LIFETIME_S, Ticket
from komilion.common.clock import unix_s, utc_now
from komilion.common.errors import Forbidden, NotFound, Suspended


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
    limits_above: Mapping[int, Mapping[str, int]] = field(default_factory=dict)  # of the keys it comes from, by id
    capped_keys: tuple[int, ...] = ()  # of the key and those above it the ones with caps; the ledger looks at no other


def access_api_key(key_hash: bytes) -> Caller | None:
    """The caller behind a key's hash; None when there is no such key or it is revoked or expired."""
    key = _working_key(key_hash)
    if key is None:
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
        limits_above={row.pk: row.limits for row in _line_of(key)[1:] if row.limits},
        capped_keys=tuple(row.pk for row in _line_of(key) if row.has_caps),
    )


def _working_key(key_hash: bytes) -> ApiKey | None:
    keys = ApiKey.objects.select_related("organization", "membership", "parent__parent")
    key = keys.filter(key_hash=key_hash, revoked_at__isnull=True).first()
    return None if key is None or (key.expires_at is not None and key.expires_at <= utc_now()) else key


def _line_of(key: ApiKey) -> list[ApiKey]:
    """The key and those above it, all of them loaded by `_working_key`; `accounts.actions.keys.GENERATIONS` at most."""
    line = [key]
    while (above := line[-1].parent) is not None:
        line.append(above)
    return line


class Right(StrEnum):
    """What a member may do beyond reading what the organization does and spends."""

    KEYS = "keys"  # make, change and revoke keys; the playground
    WALLET = "wallet"  # top up, refund, automatic top-up
    MEMBERS = "members"  # invite, change roles, remove; rename the organization
    AUDIT = "audit"  # read the audit log


RIGHTS: Mapping[str, frozenset[Right]] = {
    Role.OWNER: frozenset(Right),
    Role.DEVELOPER: frozenset({Right.KEYS}),
    Role.BILLING: frozenset({Right.WALLET}),
    Role.VIEWER: frozenset(),
}
WHILE_SUSPENDED = frozenset({Right.AUDIT})  # what is left of them: nothing that changes anything


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
        """Whether the role has this right, and the organization is not suspended."""
        return right in RIGHTS[self.role] and (not self.is_suspended or right in WHILE_SUSPENDED)

    def must(self, right: Right) -> None:
        """Raise `Forbidden` where the role has it not, `Suspended` where nobody has it for now."""
        if right not in RIGHTS[self.role]:
            raise Forbidden(f"Your role ({self.role}) may not do that; ask an owner of {self.organization_name}.")
        if not self.may(right):
            raise Suspended(f"{self.organization_name} is suspended, so nothing of it can be changed.")


def ticket_of(viewer: Viewer) -> Ticket:
    """What a session token for this person in this organization says. Raises `Forbidden`, `Suspended`."""
    viewer.must(Right.KEYS)
    row = Membership.objects.select_related("organization", "user").get(pk=viewer.membership_id)
    return Ticket(
        organization_id=row.organization_id,
        membership_id=row.pk,
        organization_epoch=row.organization.auth_epoch,
        session_epoch=row.user.session_epoch,
        expires_at_unix_s=unix_s() + LIFETIME_S,
    )


def access_session_token(ticket: Ticket) -> Caller | None:
    """The caller behind a session token; None where it is over: since it was made a right of the organization changed,
    or the person ended her sessions.

    It has no key, and so neither caps nor limits but the organization's. A suspended organization's caller says so,
    whatever its epoch.
    """
    row = _ticketed(ticket)
    if row is None:
        return None
    organization = row.organization
    return Caller(
        organization_id=organization.pk,
        member_id=row.pk,
        key_id=None,
        key_epoch=0,
        organization_epoch=ticket.organization_epoch,
        tier=organization.tier,
        organization_limits=organization.limits,
        key_limits={},
        models_allowed=None,
        is_suspended=organization.suspended_at is not None,
        expires_at_unix_s=ticket.expires_at_unix_s,
    )


def _ticketed(ticket: Ticket) -> Membership | None:
    """The membership of a ticket that still holds; a suspended organization's too."""
    members = Membership.objects.select_related("organization", "user").filter(
        pk=ticket.membership_id,
        organization_id=ticket.organization_id,
        user__is_active=True,
        user__session_epoch=ticket.session_epoch,
    )
    row = members.first()
    if row is None or Right.KEYS not in RIGHTS[row.role]:
        return None
    is_current = row.organization.auth_epoch == ticket.organization_epoch
    return row if is_current or row.organization.suspended_at is not None else None


def access_viewer(user_id: int, organization_id: int | None) -> Viewer | None:
    """The person in that organization, or in her oldest one where she is no member of it; None without any."""
    memberships = Membership.objects.filter(user_id=user_id, user__is_active=True).select_related(
        "organization", "user"
    )
    rows = sorted(memberships, key=lambda row: (row.organization_id != organization_id, row.pk))
    return _viewer_of(rows[0]) if rows else None


def other_viewers(viewer: Viewer) -> list[Viewer]:
    """The same person in each other organization of hers, the oldest first."""
    memberships = Membership.objects.filter(user_id=viewer.user_id).exclude(pk=viewer.membership_id)
    return [_viewer_of(row) for row in memberships.select_related("organization", "user").order_by("pk")]


def _viewer_of(row: Membership) -> Viewer:
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


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks the REST API: a key, or (without `key`) a person by her session. It stands for one organization."""

    organization_id: int
    membership_id: int
    name: str  # for the audit log
    may_manage: bool  # keys: make, change, revoke; a key has it while whoever made it has
    may_route: bool  # pins and what goes with them; a key may while the member under whom it stands may
    is_suspended: bool
    tier: str
    key: ApiKey | None = None

    @property
    def only_key_id(self) -> int | None:
        """The one key whose usage may be read; None: the whole organization's."""
        return None if self.key is None or self.may_manage else self.key.pk

    def must_manage(self) -> None:
        """Raise `Forbidden` for whoever may not make, change and revoke keys, `Suspended` where nobody may for now."""
        if self.is_suspended:
            raise Suspended
        if self.key is None and not self.may_manage:
            raise Forbidden("Your role may not change keys; ask an owner of the organization.")
        self.must_see_keys()

    def must_route(self) -> None:
        """Raise `Forbidden` for a role that may not change how requests are routed, `Suspended` where nobody may."""
        if self.is_suspended:
            raise Suspended
        if not self.may_route:
            whose = "Your role" if self.key is None else "The role of the member to whom this key belongs"
            raise Forbidden(f"{whose} may not change routing; ask an owner of the organization.")

    def must_see_keys(self) -> None:
        """Raise `Forbidden` for a key that has nothing to do with other keys; every member may look at them."""
        if self.key is not None and not self.may_manage:
            raise Forbidden("This key may not manage keys: it was made without that right, or its maker lost it.")


def access_asker(key_hash: bytes) -> Asker | None:
    """The asker with this key; None when there is no such key or it is revoked or expired."""
    key = _working_key(key_hash)
    if key is None:
        return None
    return Asker(
        organization_id=key.organization_id,
        membership_id=key.membership_id,
        name=f"key {key.hint}",
        may_manage=key.can_manage and Right.KEYS in RIGHTS[key.membership.role],
        may_route=Right.KEYS in RIGHTS[key.membership.role],
        is_suspended=key.organization.suspended_at is not None,
        tier=key.organization.tier,
        key=key,
    )


def access_ticketed_asker(ticket: Ticket) -> Asker | None:
    """The person behind a session token as the REST API sees her; None where the token is over."""
    row = _ticketed(ticket)
    return None if row is None else asker_of(_viewer_of(row))


def asker_of(viewer: Viewer) -> Asker:
    """The same person as the REST API sees her."""
    return Asker(
        organization_id=viewer.organization_id,
        membership_id=viewer.membership_id,
        name=viewer.email,
        may_manage=viewer.may(Right.KEYS),
        may_route=viewer.may(Right.KEYS),
        is_suspended=viewer.is_suspended,
        tier=viewer.tier,
    )


def access_key(asker: Asker, key_id: int) -> ApiKey:
    """A key that the asker may see: any of her organization; for a key, itself and what it made. Raises `NotFound`."""
    keys = ApiKey.objects.select_related("membership__user", "parent").filter(organization_id=asker.organization_id)
    if asker.key is not None:
        keys = keys.filter(visible_to_key(asker.key.pk))
    key = keys.filter(pk=key_id).first()
    if key is None:
        raise NotFound("There is no such key.")
    return key


def visible_to_key(key_id: int) -> Q:
    """The key itself, what it made, and what that made."""
    return Q(pk=key_id) | Q(parent_id=key_id) | Q(parent__parent_id=key_id)
