"""Trial credit: who may have it. The money itself is moved by the ledger afterwards, see komilion.web.tenants."""

import hmac
from enum import StrEnum

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q

from accounts.actions.changes import audit, lock_organization, raise_epoch
from accounts.addresses import is_disposable, is_plain, normalise_address
from accounts.models import Membership, Organization, Role, Tier, TrialDay, TrialGrant
from komilion.common.clock import utc_now
from komilion.common.money import format_usd

TRIAL_LIMITS = {"parallel": 2}  # while trial credit is all there is; the first top-up takes them away


class Trial(StrEnum):
    """What became of somebody's trial credit."""

    CLAIMED = "claimed"  # by this very call
    CLAIMED_BEFORE = "claimed before"  # by this organization
    OFF = "off"
    USED = "used"  # by this person, for another organization or account
    DISPOSABLE = "disposable"
    TOO_MANY = "too many"  # from one place in a day
    BUDGET = "budget"  # today's, for everybody, is used up
    NOT_NEW = "not new"  # the organization pays already, or is somebody else's


def hash_address(email: str) -> bytes:
    """What is kept of a person who had trial credit: nobody can turn it into an address without KEY_PEPPER."""
    return hmac.digest(settings.KEY_PEPPER, b"trial:" + normalise_address(email).encode(), "sha256")


def do_claim_trial(organization_id: int, user_id: int, email: str, *, allowed: bool = True) -> Trial:
    """Decide once and for ever whether the organization gets trial credit for its founder's verified address.

    `allowed` is False where too many came from one place today. After CLAIMED there is a `TrialGrant`, and the
    organization is held to `TRIAL_LIMITS`; the caller then has the ledger grant its amount.
    """
    amount = settings.TRIAL_CREDIT_NANO
    with transaction.atomic():
        organization = lock_organization(organization_id)
        refusal = _refusal(organization, user_id, email)
        if refusal is not None:
            return refusal
        if not allowed:
            return Trial.TOO_MANY
        try:
            with transaction.atomic():
                if not _take_from_budget(amount):
                    return Trial.BUDGET
                TrialGrant.objects.create(
                    address_hash=hash_address(email),
                    user_id=user_id,
                    organization_id=organization_id,
                    amount_nano=amount,
                )
        except IntegrityError:  # the same person came in by two doors at once
            return Trial.USED
        Organization.objects.filter(pk=organization_id).update(limits={**TRIAL_LIMITS, **organization.limits})
        raise_epoch(organization_id)
        audit(organization_id, email, "trial.grant", "trial credit", usd=format_usd(amount))
    return Trial.CLAIMED


def _refusal(organization: Organization, user_id: int, email: str) -> Trial | None:
    if TrialGrant.objects.filter(organization_id=organization.pk).exists():
        return Trial.CLAIMED_BEFORE
    founder = Membership.objects.filter(organization=organization).order_by("pk").first()
    if organization.tier != Tier.FREE or organization.suspended_at is not None:
        return Trial.NOT_NEW
    if founder is None or founder.user_id != user_id or founder.role != Role.OWNER:
        return Trial.NOT_NEW
    if settings.TRIAL_CREDIT_NANO == 0:
        return Trial.OFF
    if is_disposable(email) or not is_plain(email):
        return Trial.DISPOSABLE
    if TrialGrant.objects.filter(Q(address_hash=hash_address(email)) | Q(user_id=user_id)).exists():
        return Trial.USED
    return None


def _take_from_budget(amount: int) -> bool:
    """Count the amount against today's budget; False where it does not fit. Exact: the update locks the day's row."""
    today = utc_now().date()
    TrialDay.objects.get_or_create(day=today)
    fits = TrialDay.objects.filter(day=today, granted_nano__lte=settings.TRIAL_DAILY_BUDGET_NANO - amount)
    return fits.update(granted_nano=F("granted_nano") + amount) == 1
