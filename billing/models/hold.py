"""A hold reserves credit for one request before a byte goes to a provider."""

from typing import override

from django.db import models
from django.db.models import Q


class HoldState(models.TextChoices):
    """`open` until exactly one of the others; `expired` may still become `settled`."""

    OPEN = "open"
    SETTLED = "settled"
    VOIDED = "voided"
    EXPIRED = "expired"


class Hold(models.Model):
    """One reservation, its extensions included; the ledger's entries are the proof, this row the state."""

    request_id = models.CharField(max_length=40, primary_key=True)
    # No foreign keys in the tables of the ledger: its transaction has the wallet locked and makes entry and postings
    # together, so checking again for each row only costs (docs/decisions/0010); `ledger verify` looks for strays.
    wallet = models.ForeignKey(
        "billing.Wallet", on_delete=models.PROTECT, related_name="holds", db_index=False, db_constraint=False
    )
    amount_nano = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=HoldState.choices, default=HoldState.OPEN)
    price_ids = models.JSONField()  # the price version of every attempt that this hold pays for
    # [[cap id, "YYYY-MM-DD" (start of its period), nano-USD], ...]: what later steps give back or spend, and no other
    caps = models.JSONField(default=list, blank=True)
    process_id = models.CharField(max_length=40)
    generation = models.PositiveIntegerField(default=0)  # how often an extension re-opened it after an expiry
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(amount_nano__gte=0), name="hold_not_negative")]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state="open"), name="hold_open_by_expiry"),
        ]

    @override
    def __str__(self) -> str:
        return f"hold of {self.request_id} ({self.state})"
