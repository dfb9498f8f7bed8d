"""Opening a wallet and putting money into it."""

from billing.errors import MovementRefused
from billing.ledger.commit_now import commit_now
from billing.ledger.items import Done, Failure, Movement, Outcome, Refused
from billing.ledger.open_store import open_store
from billing.models import Wallet
from komilion.common.money import format_usd


def do_open_wallet(organization_id: int) -> Wallet:
    """The organization's wallet, made empty where it has none; inside the caller's transaction."""
    wallet, _ = Wallet.objects.get_or_create(organization_id=organization_id)
    return wallet


def do_move(movement: Movement) -> Done:
    """Move money in a transaction of the ledger's own. Raises `MovementRefused`; never call it inside a transaction."""
    store = open_store()
    try:
        (outcome,) = commit_now(store, [movement])
    finally:
        store.close()
    if not isinstance(outcome, Done):
        raise MovementRefused(f"{movement.kind} {movement.reference}: {_in_words(outcome)}")
    return outcome


def _in_words(outcome: Outcome) -> str:
    """For the operator who asked for it."""
    if isinstance(outcome, Refused):
        return f"${format_usd(outcome.needed)} are more than the ${format_usd(outcome.available)} there are to take"
    assert isinstance(outcome, Failure), "a movement is done, refused, or failed"
    return outcome.reason
