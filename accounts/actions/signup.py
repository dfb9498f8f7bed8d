"""A new person's own organization."""

from django.db import transaction
from django.db.models import Q

from accounts.actions.changes import audit
from accounts.errors import TooMany
from accounts.models import Invitation, Membership, Organization, Role, Tier, User
from komilion.common.clock import utc_now

NAME_LIMIT_CHARACTERS = 200
ORGANIZATIONS_OWNED_LIMIT = 10


def do_drop_unverified(email: str, *, keep_user_id: int | None = None) -> None:
    """Forget a sign-up with this address that nobody verified: the address belongs to who proves that she reads it.

    With it go the links that were mailed for it, so nobody verifies an account that has a stranger's password.
    """
    User.objects.filter(
        email=email, last_login__isnull=True, memberships__isnull=True, is_staff=False, is_active=True
    ).exclude(Q(emailaddress__verified=True) | Q(pk=keep_user_id)).delete()


def do_found_organization(user: User, name: str, *, tier: str, actor: str) -> Membership:
    """An organization with this person as its owner."""
    with transaction.atomic():
        organization = Organization(name=name.strip(), tier=tier)
        organization.full_clean(exclude=["limits"])
        organization.save()
        membership = Membership.objects.create(organization=organization, user=user, role=Role.OWNER)
        audit(organization.pk, actor, "organization.create", user.email)
    return membership


def do_found_another_organization(user_id: int, name: str) -> Membership:
    """One more for somebody who asks. Raises `TooMany`."""
    with transaction.atomic():
        user = User.objects.select_for_update(no_key=True).get(pk=user_id)
        if Membership.objects.filter(user=user, role=Role.OWNER).count() >= ORGANIZATIONS_OWNED_LIMIT:
            raise TooMany(f"You own {ORGANIZATIONS_OWNED_LIMIT} organizations; more than that is not possible.")
        return do_found_organization(user, name, tier=Tier.FREE, actor=user.email)


def do_found_first_organization(user_id: int) -> Membership | None:
    """The organization of a person who has none; None where she has one, or an open invitation to decide on first.

    Call it at every login: two at once make one organization, because they wait for the person's row.
    """
    with transaction.atomic():
        user = User.objects.select_for_update(no_key=True).get(pk=user_id)
        invited = Invitation.objects.filter(
            email=user.email, accepted_at__isnull=True, revoked_at__isnull=True, expires_at__gt=utc_now()
        )
        if not user.is_active or Membership.objects.filter(user=user).exists() or invited.exists():
            return None
        name = user.email.split("@")[0][:NAME_LIMIT_CHARACTERS]
        return do_found_organization(user, name, tier=Tier.FREE, actor=user.email)
