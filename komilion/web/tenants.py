"""Tenants, whole: organization, wallet, key and credit, which belong to several apps."""

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction

from accounts.actions.account import do_delete_account, organizations_owned_alone
from accounts.actions.keys import do_create_key
from accounts.actions.organizations import do_create_organization
from accounts.actions.signup import do_found_another_organization, do_found_first_organization
from accounts.actions.trial import Trial, do_claim_trial
from accounts.errors import AccountInUse
from accounts.models import Membership, Organization, User
from accounts.queries import founded_by, members_of, trial_claim
from advisor.actions.forget import do_forget_organizations, do_forget_person
from billing.actions.wallets import do_move, do_open_wallet
from billing.errors import MovementRefused, StoreBusy, StoreUnavailable
from billing.ledger.items import Movement
from billing.payments.queries import money_under_way
from billing.queries import is_granted, wallet_summary
from komilion.common.money import parse_usd
from komilion.web.people.limits import TrialsHere

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewTenant:
    """A tenant that was just opened; `key` is shown once."""

    organization: Organization
    key: str


@dataclass(frozen=True, slots=True)
class Ensured:
    """What a login found or made: `is_new` is the organization of a person who just came, `trial` what she gets."""

    is_new: bool
    trial: Trial | None


def do_open_tenant(email: str, *, tier: str, credit_nano: int, actor: str) -> NewTenant:
    """Everything a tenant needs to call the gateway. Raises `EmailTaken`, `ValidationError`, `MovementRefused`."""
    with transaction.atomic():
        membership = do_create_organization(email=email, tier=tier, actor=actor)
        do_open_wallet(membership.organization_id)
        key = do_create_key(membership, "first key", actor=actor)
    if credit_nano:
        do_move(
            Movement(
                reference=f"opening-{membership.organization_id}",
                kind="topup",
                wallet_id=membership.organization_id,
                amount=credit_nano,
                memo=f"opening credit, by {actor}",
            )
        )
    return NewTenant(membership.organization, key.secret)


def do_ensure_tenant(user: User, trials: TrialsHere) -> Ensured:
    """Give a verified person what she lacks: an organization with a wallet, and once her trial credit.

    Every step is done once however often this runs, and what a crash or a busy ledger left out is made up for, so it
    runs at verification and at each login. `trials` are those that began where she is; they are counted outside
    transactions. Never call this inside one.
    """
    if user.is_staff:
        return Ensured(is_new=False, trial=None)  # an operator is no tenant, until she founds an organization
    with transaction.atomic():
        membership = do_found_first_organization(user.pk)
        if membership is not None:
            do_open_wallet(membership.organization_id)
    return Ensured(is_new=membership is not None, trial=do_ensure_trial(user, trials))


def do_ensure_trial(user: User, trials: TrialsHere) -> Trial | None:
    """The trial credit of the organization that the person founded; None where she founded none."""
    organization_id = founded_by(user.pk)
    if organization_id is None:
        return None
    if trial_claim(organization_id) is not None:
        trial = Trial.CLAIMED_BEFORE
    else:
        trial = _claim_within(trials, organization_id, user)
    if trial in {Trial.CLAIMED, Trial.CLAIMED_BEFORE}:
        _grant_claimed(organization_id)
    return trial


def _claim_within(trials: TrialsHere, organization_id: int, user: User) -> Trial:
    """Claim it where there is room for one more; what is not claimed takes no room."""
    has_room, trial = trials.reserve(), None
    try:
        trial = do_claim_trial(organization_id, user.pk, user.email, allowed=has_room)
    finally:
        if has_room and trial is not Trial.CLAIMED:
            trials.give_back()
    return trial


def do_open_another_tenant(user: User, name: str) -> Membership:
    """One more organization, with its wallet, for a person who asks. Raises `TooMany`, `ValidationError`."""
    with transaction.atomic():
        membership = do_found_another_organization(user.pk, name)
        do_open_wallet(membership.organization_id)
    return membership


def do_close_account(user: User) -> None:
    """Delete the person's account. Raises `AccountInUse` while it would strand money or people."""
    with transaction.atomic():
        if reason := why_account_stays(user):
            raise AccountInUse(reason)
        gone = do_delete_account(user.pk)
        do_forget_organizations(gone.closed_ids)
        do_forget_person(user.pk, gone.email, gone.anonymous)


def why_account_stays(user: User) -> str:
    """What would be stranded if the account were deleted now; empty where nothing would."""
    with transaction.atomic():
        for organization in organizations_owned_alone(user.pk):
            if len(members_of(organization.pk)) > 1:
                return f"{organization.name} has other members and no other owner: make one of them an owner first."
            if parse_usd(wallet_summary(organization.pk)["paid"]) > 0:
                return (
                    f"{organization.name} has paid credit and no other owner: have it refunded, spend it, or make "
                    "somebody else an owner first."
                )
            if under_way := money_under_way(organization.pk):
                return f"Money of {organization.name} is under way: {under_way}"
    return ""


def _grant_claimed(organization_id: int) -> None:
    """Have the ledger grant what was claimed; where it cannot now, the next login has it do so."""
    reference = f"trial-{organization_id}"
    claim = trial_claim(organization_id)
    if claim is None or is_granted(organization_id, reference):
        return
    ends = claim.created_at + timedelta(days=settings.TRIAL_DAYS)
    movement = Movement(
        reference=reference,
        kind="grant",
        wallet_id=organization_id,
        amount=claim.amount_nano,
        memo="trial credit",
        expires_at=f"{ends:%Y-%m-%d %H:%M:%S.%f}",
    )
    try:
        do_move(movement)
    except (MovementRefused, StoreBusy, StoreUnavailable) as error:
        log.error("trial credit not granted yet", extra={"organization": organization_id, "error": str(error)})
