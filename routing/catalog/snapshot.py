"""The catalogue as the gateway sees it: one immutable picture in memory, replaced whole when something changes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from billing.prices import PriceVersion
from komilion.common.clock import utc_now
from komilion.common.db import read_snapshot
from routing.catalog.credentials import decrypt
from routing.catalog.models import CatalogVersion, Model, Offer, OfferPrice, Provider
from routing.providers.base import Dialect, Target
from routing.providers.registry import DIALECTS


@dataclass(frozen=True, slots=True)
class OfferEntry:
    """One model at one provider, ready to be called."""

    model_id: str
    provider: str
    dialect: Dialect
    target: Target
    price: PriceVersion
    context_length: int
    max_output: int
    cancel_stops_billing: bool
    tokens_per_s: int | None

    @property
    def is_reasoning(self) -> bool:
        """Whether it may think where nobody can count."""
        return "reasoning" in self.target.capabilities


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model and who offers it, the first choice first."""

    id: str
    name: str
    created_unix_s: int
    offers: tuple[OfferEntry, ...]


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """What `GET /providers` shows."""

    name: str
    models: int


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything, at one version."""

    version: int
    models: Mapping[str, ModelEntry]
    providers: tuple[ProviderEntry, ...]

    def nearest(self, model_id: str) -> list[str]:
        """Ids that look like a mistyped one; at most 3."""
        names = {name.lower(): name for name in self.models}
        return [names[name] for name in get_close_matches(model_id.lower(), names, n=3, cutoff=0.5)]


EMPTY = Catalog(-1, {}, ())


def load_catalog() -> Catalog:
    """Read it from the database; blocking."""
    with read_snapshot():
        version = CatalogVersion.objects.filter(pk=1).values_list("version", flat=True).first() or 0
        providers = {row.pk: row for row in Provider.objects.all()}
        prices = _prices_in_force()
        offers: dict[str, list[OfferEntry]] = {}
        for offer in Offer.objects.order_by("pk"):
            price = prices.get(offer.pk)
            if price is not None:
                entry = _offer_entry(offer, providers[offer.provider_id], price)
                offers.setdefault(offer.model_id, []).append(entry)
        models = {
            row.pk: ModelEntry(row.pk, row.name, int(row.created_at.timestamp()), tuple(offers[row.pk]))
            for row in Model.objects.order_by("pk")
            if row.pk in offers
        }
    counts = dict.fromkeys(providers, 0)
    for entries in offers.values():
        for entry in entries:
            counts[entry.provider] += 1
    return Catalog(version, models, tuple(ProviderEntry(name, n) for name, n in sorted(counts.items())))


def _prices_in_force() -> dict[int, PriceVersion]:
    """Offer -> the newest price whose day has come."""
    rows = OfferPrice.objects.filter(effective_from__lte=utc_now()).select_related("price")
    return {row.offer_id: PriceVersion.from_row(row.price) for row in rows.order_by("effective_from", "pk")}


def _offer_entry(offer: Offer, provider: Provider, price: PriceVersion) -> OfferEntry:
    api_key = (
        os.environ.get(provider.api_key_env, "") if provider.api_key_env else decrypt(bytes(provider.api_key_encrypted))
    )
    cancel = offer.cancel_stops_billing
    return OfferEntry(
        model_id=offer.model_id,
        provider=provider.name,
        dialect=DIALECTS[provider.dialect],
        target=Target(
            base_url=provider.base_url.rstrip("/"),
            api_key=api_key,
            upstream_id=offer.upstream_id,
            capabilities=frozenset(offer.capabilities),
            pass_unknown=provider.pass_unknown,
        ),
        price=price,
        context_length=offer.context_length,
        max_output=offer.max_output,
        cancel_stops_billing=provider.cancel_stops_billing if cancel is None else cancel,
        tokens_per_s=offer.tokens_per_s,
    )
