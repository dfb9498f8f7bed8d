"""The ledger: entries (what happened, once) and postings (what moved), both append-only.

A posting moves one amount from one account to another, so every row is balanced by itself: the debit and the credit
cannot differ because they are one number.
"""

from typing import override

from django.db import models
from django.db.models import F, Q


class Account(models.TextChoices):
    """Tenant accounts carry the wallet's id on the posting; house accounts belong to the operator."""

    PAID = "paid"  # tenant: credit that was paid for
    PROMO = "promo"  # tenant: credit that was given away
    DEBT = "debt"  # tenant: what a provider billed beyond all credit
    PROVIDER_COST = "provider_cost"
    PLATFORM_FEE = "platform_fee"
    PROMO_EXPENSE = "promo_expense"
    PAYMENT_CLEARING = "payment_clearing"
    BREAKAGE = "breakage"
    ATTEMPT_LOSS = "attempt_loss"
    CRASH_LOSS = "crash_loss"


class LedgerEntry(models.Model):
    """One thing that happened to a wallet. (reference, kind, ordinal) is unique: nothing happens twice."""

    class Kind(models.TextChoices):
        """`extend` is numbered by `ordinal`; every other kind happens once per reference."""

        EXTEND = "extend"
        SETTLE = "settle"
        VOID = "void"
        EXPIRE = "expire"
        TOPUP = "topup"
        GRANT = "grant"
        REFUND = "refund"
        ADJUST = "adjust"
        RECREDIT = "recredit"
        BREAKAGE = "breakage"
        CHARGEBACK = "chargeback"
        CHARGEBACK_REVERSED = "chargeback_reversed"

    reference = models.CharField(max_length=128)  # the request id of a hold, the id of a payment, ...
    kind = models.CharField(max_length=20, choices=Kind.choices)
    ordinal = models.PositiveIntegerField(default=0)
    wallet = models.ForeignKey(
        "billing.Wallet", on_delete=models.PROTECT, related_name="entries", db_index=False, db_constraint=False
    )
    amount_nano = models.BigIntegerField()
    memo = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [
            models.UniqueConstraint(fields=["reference", "kind", "ordinal"], name="ledger_entry_happens_once"),
            models.CheckConstraint(condition=Q(amount_nano__gte=0), name="ledger_entry_not_negative"),
        ]
        indexes = [
            models.Index(fields=["wallet", "id"], name="ledger_entry_by_wallet"),
            # The few top-ups and grants among millions of calls; entries of calls are not in it and cost nothing more.
            models.Index(
                fields=["wallet", "id"],
                condition=~Q(kind__in=["settle", "extend", "void", "expire"]),
                name="ledger_movement_by_wallet",
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"


class Posting(models.Model):
    """`amount_nano` moved from `source` to `target`; a tenant account's balance is what came in minus what went out."""

    entry = models.ForeignKey(LedgerEntry, on_delete=models.PROTECT, related_name="postings", db_constraint=False)
    wallet = models.ForeignKey(
        "billing.Wallet", on_delete=models.PROTECT, related_name="postings", db_index=False, db_constraint=False
    )
    source = models.CharField(max_length=20, choices=Account.choices)
    target = models.CharField(max_length=20, choices=Account.choices)
    amount_nano = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_nano__gte=0), name="posting_not_negative"),
            models.CheckConstraint(condition=~Q(source=F("target")), name="posting_moves_between_accounts"),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.amount_nano} from {self.source} to {self.target}"
