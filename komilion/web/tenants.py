"""Opening a tenant: organization, wallet, key and paid credit, for the command line."""

from dataclasses import dataclass

from django.db import transaction

from accounts.actions.keys import do_create_key
from accounts.actions.organizations import do_create_organization
from accounts.models import Organization
from billing.actions.wallets import do_move, do_open_wallet
from billing.ledger.items import Movement


@dataclass(frozen=True, slots=True)
class NewTenant:
    """A tenant that was just opened; `key` is shown once."""

    organization: Organization
    key: str


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
