"""Taking test money's credit away before payments become real."""

from collections.abc import Iterator

from django.db import transaction

from billing.actions.corrections import Correction, do_correct
from billing.models import LedgerEntry, Wallet
from billing.payments.leftovers import credit_left


def do_remove_test_credit(*, actor: str) -> Iterator[tuple[int, int]]:
    """From every wallet that has some: its id and how much was taken, one after the other.

    What running calls hold stays; run it again when they have ended. Raises `MovementRefused`, `StoreUnavailable`,
    `StoreBusy`.
    """
    for wallet_id in credit_left():
        correction = _correction(wallet_id)
        if correction.amount_nano > 0 and do_correct(correction, actor=actor).changed:
            yield wallet_id, correction.amount_nano


def _correction(wallet_id: int) -> Correction:
    """Under the wallet's lock, and named after its newest movement, so that two who do this at once take it once."""
    with transaction.atomic():
        wallets = Wallet.objects.filter(pk=wallet_id)
        wallet = wallets.select_for_update(no_key=True).get()
        newest = LedgerEntry.objects.filter(wallet_id=wallet_id).latest("pk")
        amount = min(credit_left(wallets).get(wallet_id, 0), wallet.paid_nano, wallet.available_nano)
    reference = f"test-credit-{wallet_id}-{newest.pk}"
    return Correction(reference, "adjust", wallet_id, amount, "test money ends: payments are real from now on")
