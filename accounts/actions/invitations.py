"""Inviting people. The token of an invitation is in its e-mail and nowhere else: what is stored is its keyed hash."""

import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.actions.changes import audit, lock_organization, raise_epoch
from accounts.errors import AlreadyMember, InvitationClosed, NotYours, TooMany
from accounts.models import Invitation, Membership, Organization, Role, User
from accounts.queries import is_verified
from komilion.common.clock import utc_now
from komilion.common.errors import NotFound

OPEN_INVITATIONS_LIMIT = 50
INVITATIONS_A_DAY_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation that was just made or made again; `token` goes into the e-mail."""

    row: Invitation
    organization: Organization
    token: str


def hash_token(token: str) -> bytes:
    """What is stored of an invitation's token."""
    return hmac.digest(settings.KEY_PEPPER, b"invitation:" + token.encode(), "sha256")


def do_invite(organization_id: int, email: str, role: str, *, actor: str) -> Invited:
    """Make an invitation; one that is open for this address ends. Raises `AlreadyMember`, `TooMany`."""
    address, now, token = email.strip().lower(), utc_now(), secrets.token_urlsafe(32)
    with transaction.atomic():
        organization = lock_organization(organization_id)
        if Membership.objects.filter(organization=organization, user__email=address).exists():
            raise AlreadyMember(f"{address} is a member already.")
        ours = Invitation.objects.filter(organization=organization)
        _open(ours).filter(email=address).update(revoked_at=now)
        if _open(ours).count() >= OPEN_INVITATIONS_LIMIT:
            raise TooMany(f"{OPEN_INVITATIONS_LIMIT} invitations are open; revoke some first.")
        recent = Invitation.objects.filter(created_at__gt=now - timedelta(days=1))
        if recent.filter(Q(organization=organization) | Q(invited_by=actor)).count() >= INVITATIONS_A_DAY_LIMIT:
            raise TooMany(f"{INVITATIONS_A_DAY_LIMIT} invitations were sent within a day; go on tomorrow.")
        row = Invitation.objects.create(
            organization=organization,
            email=address,
            role=Role(role).value,
            token_hash=hash_token(token),
            invited_by=actor[:254],
            expires_at=now + timedelta(days=settings.INVITATION_DAYS),
        )
        audit(organization_id, actor, "invitation.create", address, role=row.role)
    return Invited(row, organization, token)


def do_invite_again(organization_id: int, invitation_id: int, *, actor: str) -> Invited:
    """The same invitation anew, with another token and another week; the link sent before is worth nothing then."""
    row = Invitation.objects.filter(pk=invitation_id, organization_id=organization_id).first()
    if row is None or row.accepted_at is not None or row.revoked_at is not None:
        raise NotFound("There is no such open invitation.")
    return do_invite(organization_id, row.email, row.role, actor=actor)


def do_revoke_invitation(organization_id: int, invitation_id: int, *, actor: str) -> None:
    """Its link is worth nothing from now on. Raises `NotFound` where it is not open."""
    with transaction.atomic():
        lock_organization(organization_id)
        rows = Invitation.objects.filter(
            pk=invitation_id, organization_id=organization_id, accepted_at__isnull=True, revoked_at__isnull=True
        )
        row = rows.first()
        if row is None:
            raise NotFound("There is no such open invitation.")
        rows.update(revoked_at=utc_now())
        audit(organization_id, actor, "invitation.revoke", row.email, role=row.role)


def do_decline_invitation(invitation_id: int, user: User) -> None:
    """The person wants none of it. Raises `InvitationClosed` and `NotYours`."""
    with transaction.atomic():
        row, _ = _mine(user, invitation_id)
        Invitation.objects.filter(pk=row.pk).update(revoked_at=utc_now())
        audit(row.organization_id, user.email, "invitation.decline", user.email, role=row.role)


def do_accept_invitation(invitation_id: int, user: User) -> Membership:
    """Make the person a member, once. Her verified address must be the invited one.

    Raises `InvitationClosed` and `NotYours`. Whoever is a member already keeps her role.
    """
    with transaction.atomic():
        row, organization = _mine(user, invitation_id)
        if organization.suspended_at is not None:
            raise InvitationClosed(f"{organization.name} is suspended, so nobody can join it for now.")
        membership, is_new = Membership.objects.get_or_create(
            organization_id=row.organization_id, user=user, defaults={"role": row.role}
        )
        Invitation.objects.filter(pk=row.pk).update(accepted_at=utc_now())
        raise_epoch(row.organization_id)
        audit(row.organization_id, user.email, "invitation.accept", user.email, role=membership.role, new=is_new)
    return membership


def _mine(user: User, invitation_id: int) -> tuple[Invitation, Organization]:
    """An open invitation of this person and its organization, under the lock of that."""
    row = Invitation.objects.filter(pk=invitation_id).first()
    if row is None:
        raise InvitationClosed("This invitation is not valid any more; ask for a new one.")
    organization = lock_organization(row.organization_id)
    if not _open(Invitation.objects.filter(pk=invitation_id)).exists():  # again, now that nobody can change it
        raise InvitationClosed("This invitation is not valid any more; ask for a new one.")
    if user.email != row.email or not is_verified(user):
        raise NotYours(f"This invitation is for {row.email}, and you are logged in as {user.email}.")
    return row, organization


def _open(rows: QuerySet[Invitation]) -> QuerySet[Invitation]:
    return rows.filter(accepted_at__isnull=True, revoked_at__isnull=True, expires_at__gt=utc_now())
