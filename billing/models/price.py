"""A version of a price: written once, never changed, named by every hold and usage row that used it."""

from typing import override

from django.db import models

from billing.prices import amounts


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
        return f"price {self.pk}: {self.figures}"

    @property
    def figures(self) -> str:
        """In US dollars per million units, our fee apart."""
        tiers = [f"above {tier['above_input']} input tokens {amounts(tier['components'])}" for tier in self.tiers]
        return "; ".join([amounts(self.components), *tiers])
