"""Providers, models, and offers (a model at a provider) with their dated prices.

`shipped` is the fingerprint of what the project's own catalogue said when it wrote a row. A row without one is the
operator's: no upgrade touches it. Every command that changes a row takes its fingerprint away, but for those that set
`is_disabled`: a row keeps that through upgrades, and what is disabled is not called.
"""

from datetime import UTC
from typing import override

from django.db import models

# Offers that are off by a command, alone or with their model or provider.
DISABLED = models.Q(is_disabled=True) | models.Q(model__is_disabled=True) | models.Q(provider__is_disabled=True)


class Provider(models.Model):
    """An upstream API. Its key is encrypted at rest, or named by an environment variable.

    Where the variable is named and empty, the provider is off: nothing at it can be called.
    """

    name = models.CharField(max_length=64, primary_key=True)
    base_url = models.CharField(max_length=500)
    dialect = models.CharField(max_length=32, default="openai")
    api_key_encrypted = models.BinaryField(default=b"", blank=True)
    api_key_env = models.CharField(max_length=100, blank=True)
    base_url_env = models.CharField(max_length=100, blank=True)  # a variable that may name another address
    order = models.PositiveSmallIntegerField(default=0)  # of two that offer a model, the lower is called first
    cancel_stops_billing = models.BooleanField(default=False)
    pass_unknown = models.BooleanField(default=False)
    quirks = models.JSONField(default=dict, blank=True)
    shipped = models.CharField(max_length=16, blank=True)
    is_disabled = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    @override
    def __str__(self) -> str:
        return self.name


class Model(models.Model):
    """A model by its catalogue id `vendor/name`.

    `line` is the newest model of its line, itself included. On `sunset_on` (UTC) it ends and `successor` takes over;
    `deprecated_on` is the day on which that was known.
    """

    id = models.CharField(max_length=200, primary_key=True)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=16, default="chat")  # or `transcription`, `speech`, `realtime`
    family = models.CharField(max_length=100, blank=True)
    line = models.CharField(max_length=200, blank=True)
    successor = models.CharField(max_length=200, blank=True)
    released_on = models.DateField(null=True, blank=True)
    deprecated_on = models.DateField(null=True, blank=True)
    sunset_on = models.DateField(null=True, blank=True)
    aliases = models.JSONField(default=list, blank=True)  # names of it that no rule makes
    shipped = models.CharField(max_length=16, blank=True)
    is_disabled = models.BooleanField(default=False)
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
    quirks = models.JSONField(default=dict, blank=True)
    cancel_stops_billing = models.BooleanField(null=True, blank=True)  # null: as the provider says
    tokens_per_s = models.PositiveIntegerField(null=True, blank=True)
    shipped = models.CharField(max_length=16, blank=True)
    is_disabled = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["model", "provider"], name="one_offer_per_model_and_provider"),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.model_id} at {self.provider_id}"


class OfferPrice(models.Model):
    """Which price version an offer has from when on; rows whose time has come are never changed.

    Rows with one `effective_from` belong together. One with minutes holds at that time of every day, or from Monday to
    Friday only (UTC, the end excluded), and overrules the one without.
    """

    offer = models.ForeignKey(Offer, on_delete=models.CASCADE, related_name="prices")
    price = models.ForeignKey("billing.Price", on_delete=models.PROTECT, related_name="+")
    effective_from = models.DateTimeField()
    from_minute = models.PositiveSmallIntegerField(null=True, blank=True)
    to_minute = models.PositiveSmallIntegerField(null=True, blank=True)
    weekdays_only = models.BooleanField(default=False)

    class Meta:
        indexes = [models.Index(fields=["offer", "effective_from"], name="offer_price_by_date")]

    @override
    def __str__(self) -> str:
        return f"price {self.price_id} of offer {self.offer_id} {self.when}"

    @property
    def when(self) -> str:
        """`from 2026-12-01 00:00:00 UTC, 01:00 to 04:00, Monday to Friday`."""
        words = f"from {self.effective_from.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        if self.from_minute is not None and self.to_minute is not None:
            words += f", {self.from_minute // 60:02d}:{self.from_minute % 60:02d}"
            words += f" to {self.to_minute // 60:02d}:{self.to_minute % 60:02d}"
            words += ", Monday to Friday" if self.weekdays_only else ""
        return words


class CatalogVersion(models.Model):
    """One row that counts changes, so that a process can tell whether its snapshot is the newest.

    `shipped` is the fingerprint of the project's own catalogue that was put in last, as a whole.
    """

    id = models.PositiveSmallIntegerField(primary_key=True)
    version = models.PositiveBigIntegerField(default=0)
    shipped = models.CharField(max_length=64, blank=True)

    @override
    def __str__(self) -> str:
        return f"catalogue version {self.version}"
