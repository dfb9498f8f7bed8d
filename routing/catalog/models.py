"""Providers, models, and offers (a model at a provider) with their dated prices."""

from typing import override

from django.db import models


class Provider(models.Model):
    """An upstream API. Its key is encrypted at rest, or named by an environment variable."""

    name = models.CharField(max_length=64, primary_key=True)
    base_url = models.CharField(max_length=500)
    dialect = models.CharField(max_length=32, default="openai")
    api_key_encrypted = models.BinaryField(default=b"", blank=True)
    api_key_env = models.CharField(max_length=100, blank=True)
    cancel_stops_billing = models.BooleanField(default=False)
    pass_unknown = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    @override
    def __str__(self) -> str:
        return self.name


class Model(models.Model):
    """A model by its catalogue id `vendor/name`."""

    id = models.CharField(max_length=200, primary_key=True)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    @override
    def __str__(self) -> str:
        return self.id


class Offer(models.Model):
    """A model at a provider: what it can, how much fits, and (in `prices`) what it costs."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="offers")
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="offers")
    upstream_id = models.CharField(max_length=200)
    context_length = models.PositiveIntegerField()
    max_output = models.PositiveIntegerField()
    capabilities = models.JSONField(default=list)
    cancel_stops_billing = models.BooleanField(null=True, blank=True)  # null: as the provider says
    tokens_per_s = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "provider"], name="one_offer_per_model_and_provider"),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.model_id} at {self.provider_id}"


class OfferPrice(models.Model):
    """Which price version an offer has from when on; rows are added, never changed."""

    offer = models.ForeignKey(Offer, on_delete=models.CASCADE, related_name="prices")
    price = models.ForeignKey("billing.Price", on_delete=models.PROTECT, related_name="+")
    effective_from = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["offer", "effective_from"], name="offer_price_by_date")]

    @override
    def __str__(self) -> str:
        return f"price {self.price_id} of offer {self.offer_id} from {self.effective_from:%Y-%m-%d}"


class CatalogVersion(models.Model):
    """One row that counts changes, so that a process can tell whether its snapshot is the newest."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    version = models.PositiveBigIntegerField(default=0)

    @override
    def __str__(self) -> str:
        return f"catalogue version {self.version}"
