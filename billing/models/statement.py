"""Balances along the way, so that a page of an old statement need not add up all that came before it.

The entries stay the truth: a mark can be deleted and made again at any time, and only makes reading faster.
"""

from typing import override

from django.db import models

from billing.models.ledger import LedgerEntry
from billing.models.wallet import Wallet


class BalanceMark(models.Model):
    """paid + promo - debt of a wallet, in nano-USD, after one of its entries. Made by `do_mark_balances`."""

    wallet = models.ForeignKey(
        Wallet, on_delete=models.PROTECT, related_name="balance_marks", db_index=False, db_constraint=False
    )
    entry = models.ForeignKey(
        LedgerEntry, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    balance_nano = models.BigIntegerField()
    entry_created_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["wallet", "entry"], name="one_balance_mark_per_entry")]
        indexes = [models.Index(fields=["wallet", "entry_created_at"], name="balance_mark_by_time")]

    @override
    def __str__(self) -> str:
        return f"balance of wallet {self.wallet_id} after entry {self.entry_id}"
