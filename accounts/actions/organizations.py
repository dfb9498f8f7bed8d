"""Making organizations and changing what they may do."""

from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from accounts.actions.changes import audit, raise_epoch
from accounts.actions.signup import do_found_organization
from accounts.errors import EmailTaken
from accounts.models import Membership, Organization, User


def do_create_organization(*, email: str, tier: str, actor: str) -> Membership:
    """A person with an organization of their own, as its owner. Raises `EmailTaken`, `ValidationError`.

    Call it inside a transaction when something else (a wallet, a key) belongs to the same step.
    """
    address = email.strip().lower()
    validate_email(address)
    with transaction.atomic():
        if User.objects.filter(email=address).exists():
            raise EmailTaken(f"{address} has an account already")
        user = User.objects.create_user(address)
        return do_found_organization(user, address.split("@")[0], tier=tier, actor=actor)


def do_rename(organization_id: int, name: str, *, actor: str) -> None:
    """Give it another name, of 1 to 200 characters."""
    organization = Organization.objects.get(pk=organization_id)
    _change(organization, actor=actor, action="organization.rename", name=name.strip())


def do_change_tier(organization: Organization, tier: str, *, actor: str) -> None:
    """Give the organization another tier; running processes follow within a second, holds at once."""
    _change(organization, actor=actor, action="organization.tier", tier=tier)


def do_suspend(organization: Organization, *, actor: str) -> None:
    """Stop every call of the organization."""
    _change(organization, actor=actor, action="organization.suspend", suspended_at=timezone.now())


def do_unsuspend(organization: Organization, *, actor: str) -> None:
    """Let it call again."""
    _change(organization, actor=actor, action="organization.unsuspend", suspended_at=None)


def _change(organization: Organization, *, actor: str, action: str, **fields: object) -> None:
    with transaction.atomic():
        Organization.objects.filter(pk=organization.pk).update(**fields)
        raise_epoch(organization.pk)
        detail = {name: str(value) for name, value in fields.items()}
        audit(organization.pk, actor, action, organization.name, **detail)
    organization.refresh_from_db()
