"""What the first payment changes: the organization is no longer on trial, until all that was paid is given back."""

from django.db import transaction
from django.db.models import Q

from accounts.actions.changes import audit, lock_organization, raise_epoch
from accounts.actions.trial import TRIAL_LIMITS
from accounts.models import Organization, Tier, TrialGrant


def on_trial(prefix: str = "") -> Q:
    """Organizations whose trial has not ended; `prefix` is the way to them, such as `wallet__organization__`."""
    held = {f"{prefix}limits__{name}": value for name, value in TRIAL_LIMITS.items()}
    return Q(**{f"{prefix}tier": Tier.FREE}) | Q(**held)


def do_end_trial(organization_id: int, *, actor: str) -> bool:
    """Take the trial's own limits away, and raise the free tier to the standard one; False where neither is left.

    A tier that an operator chose stays. Running processes follow within a second, holds at once.
    """
    with transaction.atomic():
        organization = lock_organization(organization_id)
        limits = {name: value for name, value in organization.limits.items() if TRIAL_LIMITS.get(name) != value}
        tier = Tier.STANDARD.value if organization.tier == Tier.FREE else organization.tier
        if (tier, limits) == (organization.tier, organization.limits):
            return False
        Organization.objects.filter(pk=organization_id).update(tier=tier, limits=limits)
        raise_epoch(organization_id)
        audit(organization_id, actor, "trial.end", organization.name, tier=tier)
    return True


def do_resume_trial(organization_id: int, *, actor: str) -> bool:
    """Undo `do_end_trial` for an organization that has all its money back; False where there was nothing to undo."""
    with transaction.atomic():
        organization = lock_organization(organization_id)
        if organization.tier != Tier.STANDARD:
            return False
        is_granted = TrialGrant.objects.filter(organization_id=organization_id).exists()
        limits = {**TRIAL_LIMITS, **organization.limits} if is_granted else organization.limits
        Organization.objects.filter(pk=organization_id).update(tier=Tier.FREE, limits=limits)
        raise_epoch(organization_id)
        audit(organization_id, actor, "trial.resume", organization.name, tier=Tier.FREE.value)
    return True
