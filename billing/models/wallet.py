"""The wallet is a projection of the postings, kept in the transaction that writes them; CHECKs guard its arithmetic."""

from typing import override

from django.db import models
from django.db.models import F, Q


class Wallet(models.Model):
    """Prepaid credit of one organization, in nano-USD. Changed by `billing.ledger` only."""

    organization = models.OneToOneField("accounts.Organization", on_delete=models.PROTECT, primary_key=True)
    available_nano = models.BigIntegerField(default=0)
    held_nano = models.BigIntegerField(default=0)
    paid_nano = models.BigIntegerField(default=0)
    promo_nano = models.BigIntegerField(default=0)
    debt_nano = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(available_nano__gte=0), name="wallet_available_not_negative"),
            models.CheckConstraint(condition=Q(held_nano__gte=0), name="wallet_held_not_negative"),
            models.CheckConstraint(condition=Q(paid_nano__gte=0), name="wallet_paid_not_negative"),
            models.CheckConstraint(condition=Q(promo_nano__gte=0), name="wallet_promo_not_negative"),
            models.CheckConstraint(condition=Q(debt_nano__gte=0), name="wallet_debt_not_negative"),
            models.CheckConstraint(
                condition=Q(available_nano=F("paid_nano") + F("promo_nano") - F("held_nano")),
                name="wallet_credit_is_available_or_held",
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"wallet of organization {self.organization_id}"


class PromoLot(models.Model):
    """Credit given away, with an end; lots are spent before paid credit, the one that ends first goes first."""

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="promo_lots")
    reference = models.CharField(max_length=128, unique=True)
    granted_nano = models.BigIntegerField()
    remaining_nano = models.BigIntegerField()
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(remaining_nano__gte=0, remaining_nano__lte=F("granted_nano")),
                name="promo_lot_remaining_within_granted",
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"promo lot {self.reference}"
