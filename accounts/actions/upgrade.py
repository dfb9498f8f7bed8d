"""What the first payment changes: the organization is no longer on trial."""

from django.db import transaction

from accounts.actions.changes import audit, lock_organization, raise_epoch
from accounts.actions.trial import TRIAL_LIMITS
from accounts.models import Organization, Tier


def do_end_trial(organization_id: int, *, actor: str) -> bool:
    """From the free tier to the standard one, without the trial's own limits; False where it is not on the free tier.

    Running processes follow within a second, holds at once.
    """
    with transaction.atomic():
        organization = lock_organization(organization_id)
        if organization.tier != Tier.FREE:
            return False
        limits = {name: value for name, value in organization.limits.items() if TRIAL_LIMITS.get(name) != value}
        Organization.objects.filter(pk=organization_id).update(tier=Tier.STANDARD, limits=limits)
        raise_epoch(organization_id)
        audit(organization_id, actor, "organization.tier", organization.name, tier=Tier.STANDARD.value)
    return True
