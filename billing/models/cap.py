"""Caps: what one key may spend in a day, a month or ever. Reserved and settled by the ledger with the wallet."""

from datetime import date
from typing import override

from django.db import models
from django.db.models import Q

from billing.models.wallet import Wallet

EVER = date(1970, 1, 1)  # the one period of a total cap


class Cap(models.Model):
    """A limit of nano-USD for one subject in each period. It belongs to one wallet, whose lock guards its use."""

    class Kind(models.TextChoices):
        """Whose spending is capped; `subject_id` is the id of that row."""

        KEY = "key"

    class Period(models.TextChoices):
        """Days and months are UTC's."""

        DAY = "day"
        MONTH = "month"
        TOTAL = "total"

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="caps")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.KEY)
    subject_id = models.BigIntegerField()
    period = models.CharField(max_length=8, choices=Period.choices)
    limit_nano = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "subject_id", "period"], name="one_cap_per_subject_and_period"),
            models.CheckConstraint(condition=Q(limit_nano__gte=0), name="cap_not_negative"),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id} per {self.period}"


class CapUse(models.Model):
    """What of a cap is reserved and spent in one period, from `starts_on` (UTC); `EVER` for a total."""

    cap = models.ForeignKey(Cap, on_delete=models.CASCADE, related_name="uses", db_constraint=False)
    starts_on = models.DateField()
    reserved_nano = models.BigIntegerField(default=0)
    spent_nano = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cap", "starts_on"], name="one_use_per_cap_and_period"),
            models.CheckConstraint(condition=Q(reserved_nano__gte=0), name="cap_use_reserved_not_negative"),
            models.CheckConstraint(condition=Q(spent_nano__gte=0), name="cap_use_spent_not_negative"),
        ]

    @override
    def __str__(self) -> str:
        return f"use of cap {self.cap_id} from {self.starts_on}"
