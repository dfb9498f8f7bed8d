"""Putting the shipped catalogue into the database, and carrying its upgrades there.

Every shipped row bears the mark of the line it was made of. A row whose mark is another line's is written anew. A row
without a mark is the operator's (a command made or changed it) and stays as it is, as do its prices; and at a provider
that is the operator's no offer is added. A shipped offer whose line is gone goes too; prices that were in force stay,
a new one holds from now on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched

from django.conf import settings
from django.db import transaction

from billing.actions.prices import do_record_prices
from komilion import env
from komilion.common.clock import utc_now
from routing.actions.catalog import raise_version
from routing.actions.errors import CatalogError
from routing.catalog.models import CatalogVersion, Model, Offer, OfferPrice, Provider
from routing.catalog.shipped import (
    Shipped,
    ShippedModel,
    ShippedOffer,
    ShippedPrice,
    ShippedProvider,
    fingerprint,
    read_providers,
    read_shipped,
)

RESET = "reset"  # a mark that no line has
ROWS_A_TRANSACTION = 40  # other writers of SQLite wait for it
MODEL_FIELDS = ("name", "kind", "family", "line", "successor", "released_on", "deprecated_on", "sunset_on", "aliases")

type _PriceKey = tuple[datetime, int | None, int | None, bool, int]


@dataclass(slots=True)
class Seeded:
    """What was written."""

    as_of: str = ""
    models: int = 0
    offers: int = 0
    removed: int = 0


def do_seed_shipped() -> Seeded | None:
    """Bring the database up to the shipped files; None where it is.

    Raises `ImproperlyConfigured` for an address or a key in the environment that cannot be used.
    """
    _check_environment()
    mark = fingerprint(settings.FEE_BASIS_POINTS)
    if CatalogVersion.objects.filter(pk=1, shipped=mark).exists():
        return None
    shipped = read_shipped(settings.FEE_BASIS_POINTS)
    seeded = Seeded(shipped.as_of)
    with transaction.atomic():
        _put_providers(shipped.providers)
        seeded.removed = _remove_offers(shipped)
    for models in batched(shipped.models, ROWS_A_TRANSACTION):
        with transaction.atomic():
            seeded.models += _put_models(models)
    for offers in batched(shipped.offers, ROWS_A_TRANSACTION):
        with transaction.atomic():
            seeded.offers += _put_offers(offers, utc_now())
    with transaction.atomic():
        raise_version()
        CatalogVersion.objects.filter(pk=1).update(shipped=mark)
    return seeded


def _check_environment() -> None:
    """Of every provider, so that no process starts with what it could not read the catalogue with."""
    for provider in read_providers():
        env.base_url(provider.base_url_env, provider.base_url)
        env.api_key(provider.api_key_env)
    for variable in Provider.objects.filter(shipped="").exclude(api_key_env="").values_list("api_key_env", flat=True):
        env.api_key(variable)


def do_reset(name: str) -> None:
    """Give a model with its offers, or a provider, back to the shipped catalogue. Raises `CatalogError`."""
    shipped = read_shipped(settings.FEE_BASIS_POINTS)
    offers = [offer for offer in shipped.offers if offer.model == name]
    with transaction.atomic():
        if offers:
            Model.objects.filter(pk=name).update(shipped=RESET)
            for offer in offers:
                Offer.objects.filter(model=name, provider=offer.provider).update(shipped=RESET)
        elif any(provider.name == name for provider in shipped.providers):
            Provider.objects.filter(pk=name).update(shipped=RESET, api_key_encrypted=b"")
        else:
            raise CatalogError(f"the shipped catalogue has no model or provider {name!r}")
        CatalogVersion.objects.filter(pk=1).update(shipped="")
    do_seed_shipped()


def _put_providers(providers: Sequence[ShippedProvider]) -> None:
    marks = dict(Provider.objects.values_list("pk", "shipped"))
    Provider.objects.bulk_create([_provider_row(row) for row in providers if row.name not in marks])
    changed = [_provider_row(row) for row in providers if marks.get(row.name, "") not in {"", row.mark}]
    Provider.objects.bulk_update(
        changed, ["base_url", "dialect", "base_url_env", "api_key_env", "order", "quirks", "shipped"]
    )


def _provider_row(provider: ShippedProvider) -> Provider:
    return Provider(
        pk=provider.name,
        base_url=provider.base_url,
        dialect=provider.dialect,
        base_url_env=provider.base_url_env,
        api_key_env=provider.api_key_env,
        order=provider.order,
        quirks=provider.quirks,
        shipped=provider.mark,
    )


def _remove_offers(shipped: Shipped) -> int:
    """Shipped ones that are in no line any more."""
    wanted = {(offer.model, offer.provider) for offer in shipped.offers}
    rows = Offer.objects.exclude(shipped="").values_list("pk", "model_id", "provider_id")
    gone = [pk for pk, model, provider in rows if (model, provider) not in wanted]
    Offer.objects.filter(pk__in=gone).delete()
    return len(gone)


def _put_models(models: Sequence[ShippedModel]) -> int:
    marks = dict(Model.objects.filter(pk__in=[model.id for model in models]).values_list("pk", "shipped"))
    new = [_model_row(model) for model in models if model.id not in marks]
    changed = [_model_row(model) for model in models if marks.get(model.id, "") not in {"", model.mark}]
    Model.objects.bulk_create(new)
    Model.objects.bulk_update(changed, [*MODEL_FIELDS, "shipped"])
    return len(new) + len(changed)


def _model_row(model: ShippedModel) -> Model:
    return Model(pk=model.id, shipped=model.mark, **{name: getattr(model, name) for name in MODEL_FIELDS})


def _put_offers(offers: Sequence[ShippedOffer], now: datetime) -> int:
    rows = Offer.objects.filter(model_id__in={offer.model for offer in offers})
    known = {
        (model, provider): (pk, mark)
        for model, provider, pk, mark in rows.values_list("model_id", "provider_id", "pk", "shipped")
    }
    ours = set(Provider.objects.exclude(shipped="").values_list("pk", flat=True))
    new, changed = [], []
    for offer in offers:
        pk, mark = known.get((offer.model, offer.provider), (None, ""))
        if pk is None and offer.provider in ours:
            new.append((offer, _offer_row(offer)))
        elif pk is not None and mark not in {"", offer.mark}:
            changed.append((offer, _offer_row(offer, pk)))
    Offer.objects.bulk_create([row for _, row in new])
    fields = ["upstream_id", "context_length", "max_output", "capabilities", "quirks", "shipped"]
    Offer.objects.bulk_update([row for _, row in changed], fields)
    _put_prices(new + changed, now)
    return len(new) + len(changed)


def _offer_row(offer: ShippedOffer, pk: int | None = None) -> Offer:
    return Offer(
        pk=pk,
        model_id=offer.model,
        provider_id=offer.provider,
        upstream_id=offer.upstream,
        context_length=offer.context,
        max_output=offer.max_output,
        capabilities=offer.capabilities,
        quirks=offer.quirks,
        shipped=offer.mark,
    )


def _put_prices(pairs: Sequence[tuple[ShippedOffer, Offer]], now: datetime) -> None:
    """Prices of these offers: a new one gets its history too, another what is coming and, from now on, what holds."""
    contents = [(price.components, price.tiers) for offer, _ in pairs for price in offer.prices]
    ids = iter(do_record_prices(contents))
    wanted = {row.pk: [_price_key(price, next(ids)) for price in offer.prices] for offer, row in pairs}
    present: dict[int, list[_PriceKey]] = {pk: [] for pk in wanted}
    columns = ("effective_from", "from_minute", "to_minute", "weekdays_only", "price_id")
    for pk, *key in OfferPrice.objects.filter(offer_id__in=wanted).values_list("offer_id", *columns):
        present[pk].append((key[0], key[1], key[2], key[3], key[4]))
    OfferPrice.objects.filter(offer_id__in=wanted, effective_from__gt=now).delete()
    OfferPrice.objects.bulk_create(
        OfferPrice(offer_id=pk, **dict(zip(columns, key, strict=True)))
        for pk, keys in wanted.items()
        for key in _missing(keys, present[pk], now)
    )


def _missing(wanted: Sequence[_PriceKey], present: Sequence[_PriceKey], now: datetime) -> list[_PriceKey]:
    """What to add to an offer whose prices to come have been taken away."""
    past = [key for key in present if key[0] <= now]
    if not past:
        return list(wanted)
    coming = [key for key in wanted if key[0] > now]
    holding = _in_force(wanted, now)
    if {key[1:] for key in holding} == {key[1:] for key in _in_force(past, now)}:
        return coming
    return [*((now, *key[1:]) for key in holding), *coming]


def _in_force(keys: Sequence[_PriceKey], now: datetime) -> list[_PriceKey]:
    """Those of the last beginning that has come."""
    last = max(key[0] for key in keys if key[0] <= now)
    return [key for key in keys if key[0] == last]


def _price_key(price: ShippedPrice, price_id: int) -> _PriceKey:
    start, end = price.window or (None, None)
    return price.since, start, end, price.weekdays_only, price_id
