"""Who belongs to an organization and as what. Every change waits for the organization's row, so rules hold in races."""

from dataclasses import dataclass

from django.db import transaction

from accounts.actions.changes import audit, lock_organization, raise_epoch
from accounts.actions.keys import do_revoke_key
from accounts.errors import LastOwner
from accounts.models import ApiKey, Membership, Role
from komilion.common.errors import NotFound


@dataclass(frozen=True, slots=True)
class Removed:
    """Who is no member any more, and how many keys were revoked and handed over with that."""

    email: str
    revoked_keys: int
    kept_keys: int


def do_change_role(organization_id: int, membership_id: int, role: str, *, actor: str) -> Membership:
    """Let the member do more or less, from now on. Raises `NotFound`, `LastOwner`."""
    with transaction.atomic():
        lock_organization(organization_id)
        membership = _member(organization_id, membership_id)
        before = membership.role
        if role == before:
            return membership
        if before == Role.OWNER:
            _check_other_owner(membership)
        membership.role = Role(role).value
        membership.save(update_fields=["role"])
        raise_epoch(organization_id)
        audit(organization_id, actor, "member.role", membership.user.email, before=before, after=membership.role)
    return membership


def do_remove_member(organization_id: int, membership_id: int, *, revoke_keys: bool, actor: str) -> Removed:
    """End a membership, one's own or another's. Raises `NotFound`, `LastOwner`.

    Keys belong to the organization: those that the member made are revoked or go on under the member who removes her
    (under the oldest owner where she leaves by herself).
    """
    with transaction.atomic():
        lock_organization(organization_id)
        membership = _member(organization_id, membership_id)
        if membership.role == Role.OWNER:
            _check_other_owner(membership)
        email = membership.user.email
        working = list(ApiKey.objects.filter(membership=membership, revoked_at__isnull=True))
        if revoke_keys:
            for key in working:
                do_revoke_key(key, actor=actor)
        ApiKey.objects.filter(membership=membership).update(membership=_heir(membership, actor))
        membership.delete()
        raise_epoch(organization_id)
        revoked, kept = (len(working), 0) if revoke_keys else (0, len(working))
        audit(organization_id, actor, "member.remove", email, revoked_keys=revoked, kept_keys=kept)
    return Removed(email, revoked, kept)


def _member(organization_id: int, membership_id: int) -> Membership:
    found = Membership.objects.select_related("user").filter(pk=membership_id, organization_id=organization_id).first()
    if found is None:
        raise NotFound("There is no such member.")
    return found


def _check_other_owner(membership: Membership) -> None:
    owners = Membership.objects.filter(organization_id=membership.organization_id, role=Role.OWNER)
    if not owners.exclude(pk=membership.pk).exists():
        raise LastOwner("An organization needs an owner: make somebody else an owner first.")


def _heir(membership: Membership, actor: str) -> Membership:
    """Whose keys they are now."""
    others = Membership.objects.filter(organization_id=membership.organization_id).exclude(pk=membership.pk)
    remover = others.filter(user__email=actor).first()
    return remover or others.filter(role=Role.OWNER).order_by("pk")[0]
