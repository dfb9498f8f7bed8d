"""A version of a price: written once, never changed, named by every hold and usage row that used it."""

from typing import override

from django.db import models


class Price(models.Model):
    """`components`: bucket of `komilion.common.usage` -> nano-USD per million units.

    `tiers`: `[{"above_input": 272000, "components": {...}}]`, ascending; the last one whose threshold the whole input
    exceeds prices the whole request.
    """

    fingerprint = models.CharField(max_length=64, unique=True)  # SHA-256 of the canonical content
    components = models.JSONField()
    tiers = models.JSONField(default=list)
    fee_basis_points = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    @override
    def __str__(self) -> str:
        return f"price {self.pk}"
