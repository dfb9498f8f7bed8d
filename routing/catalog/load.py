"""Reading the catalogue from the database: rows as tuples, each table once, prices of the moment only."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any

from billing.models import Price
from billing.prices import PriceVersion
from komilion import env
from komilion.common.clock import utc_now
from komilion.common.db import read_snapshot
from routing.catalog.aliases import Named, build_aliases
from routing.catalog.compare import costs_no_more
from routing.catalog.credentials import decrypt
from routing.catalog.models import DISABLED, CatalogVersion, Model, Offer, Provider
from routing.catalog.schedule import Schedule, read_schedules
from routing.catalog.snapshot import TEXT, Catalog, ModelEntry, OfferEntry, ProviderEntry, RetiredModel
from routing.catalog.voice import KINDS, Kind, VoiceModel, VoiceOffer
from routing.providers.base import NO_QUIRKS, Quirks, Target
from routing.providers.registry import DIALECTS


@dataclass(slots=True)
class _Provider:
    """A provider as its offers need it; `switch` is the variable that is empty, where that keeps it off.

    `is_own`: an operator added it, so no maker's date ends what it offers.
    """

    dialect: str
    base_url: str
    api_key: str
    switch: str
    cancel_stops_billing: bool
    pass_unknown: bool
    quirks: Mapping[str, Any]
    is_own: bool


@dataclass(slots=True)
class _Offer[Entry]:
    """An offer that has a price, called or not; `prices` are all those of a day."""

    entry: Entry
    switch: str
    is_disabled: bool
    is_own: bool
    prices: list[PriceVersion]

    @property
    def is_on(self) -> bool:
        """Whether it can be called."""
        return not self.switch and not self.is_disabled


@dataclass(slots=True)
class _Row:
    """A model's row."""

    id: str
    name: str
    kind: str
    created_at: datetime
    family: str
    line: str
    successor: str
    released_on: date | None
    deprecated_on: date | None
    sunset_on: date | None
    aliases: list[str]
    shipped: str


def load_catalog() -> Catalog:
    """Read it as it is at one moment; blocking. Not inside a transaction."""
    with read_snapshot():
        return read_catalog()


def read_version() -> int:
    """How often the catalogue was changed."""
    return CatalogVersion.objects.filter(pk=1).values_list("version", flat=True).first() or 0


def read_catalog(version: int | None = None) -> Catalog:
    """Read it table by table, at a `version` that was read before.

    What changes meanwhile raises the version again, so nobody keeps a mixed picture.
    """
    version = read_version() if version is None else version
    now = utc_now()  # not before the first read: a change that is in the picture is in force then
    providers = _read_providers()
    schedules, changes_at = read_schedules(now)
    columns = ("id", "name", "kind", "created_at", "family", "line", "successor")
    dates = ("released_on", "deprecated_on", "sunset_on")
    rows = Model.objects.order_by("pk").values_list(*columns, *dates, "aliases", "shipped")
    models = {row[0]: _Row(*row) for row in rows}
    offers, voices = _read_offers(providers, schedules, now, {row.id: row.kind for row in models.values()})
    moments = [changes_at, *(_midnight(row.sunset_on) for row in models.values() if row.sunset_on is not None)]
    catalog = _put_together(version, providers, models, offers, now, moments)
    return _with_voices(catalog, models, voices, now)


def _put_together(
    version: int,
    providers: Iterable[str],
    rows: Mapping[str, _Row],
    offers: Mapping[str, list[_Offer[OfferEntry]]],
    now: datetime,
    moments: Iterable[datetime | None],
) -> Catalog:
    """`moments` at which the picture changes by the clock alone."""
    entries: dict[str, ModelEntry] = {}
    off: dict[str, tuple[str, ...]] = {}
    ended: list[_Row] = []
    for row in rows.values():
        if row.kind in KINDS:
            continue
        known = offers.get(row.id, [])
        if _is_over(row, now):
            own = [offer.entry for offer in known if offer.is_own and offer.is_on]
            if own:
                row.sunset_on = None
                entries[row.id] = _model_entry(row, own)
            else:
                ended.append(row)
        elif on := [offer.entry for offer in known if offer.is_on]:
            entries[row.id] = _model_entry(row, on)
        elif known:
            off[row.id] = tuple(offer.switch for offer in known if not offer.is_disabled)
    ends = {row.id: row for row in ended}
    retired = {row.id: _retired(row, _living_successor(row, ends), entries, offers) for row in ended}
    counts = Counter(offer.provider for entry in entries.values() for offer in entry.offers)
    return Catalog(
        version,
        entries,
        tuple(ProviderEntry(name, counts[name]) for name in sorted(providers)),
        {},
        retired,
        off,
        expires_s=min(
            (moment.timestamp() for moment in moments if moment is not None and moment > now), default=math.inf
        ),
    )


def _with_voices(
    catalog: Catalog, rows: Mapping[str, _Row], offers: Mapping[str, list[_Offer[VoiceOffer]]], now: datetime
) -> Catalog:
    """With the models that hear or speak, and the names of all."""
    voice: dict[str, VoiceModel] = {}
    off = dict(catalog.off)
    for model_id, known in offers.items():
        row = rows[model_id]
        lasting = [offer for offer in known if offer.is_own or not _is_over(row, now)]
        if on := [offer.entry for offer in lasting if offer.is_on]:
            voice[model_id] = VoiceModel(row.id, row.name, _kind(row), _created_s(row), tuple(on), row.sunset_on)
        elif lasting:
            off[model_id] = tuple(offer.switch for offer in lasting if not offer.is_disabled)
    counts = Counter(offer.provider for model in voice.values() for offer in model.offers)
    named = [
        Named(row.id, row.aliases, bool(row.family))  # a model that an operator added has none
        for row in rows.values()
        if row.id in catalog.models or row.id in off or row.id in catalog.retired or row.id in voice
    ]
    return replace(
        catalog,
        voice=voice,
        off=off,
        aliases=build_aliases(named),
        providers=tuple(ProviderEntry(each.name, each.models + counts[each.name]) for each in catalog.providers),
    )


def _read_providers() -> dict[str, _Provider]:
    providers = {}
    for row in Provider.objects.values():
        variable = row["api_key_env"]
        api_key = env.api_key(variable) if variable else decrypt(bytes(row["api_key_encrypted"])).strip()
        url = env.base_url(row["base_url_env"], row["base_url"]) if row["base_url_env"] else row["base_url"]
        providers[row["name"]] = _Provider(
            dialect=row["dialect"],
            base_url=url.rstrip("/"),
            api_key=api_key,
            switch="" if api_key else variable,
            cancel_stops_billing=row["cancel_stops_billing"],
            pass_unknown=row["pass_unknown"],
            quirks=row["quirks"],
            is_own=not row["shipped"],
        )
    return providers


def _read_offers(
    providers: Mapping[str, _Provider], schedules: Mapping[int, Schedule], now: datetime, kinds: Mapping[str, str]
) -> tuple[dict[str, list[_Offer[OfferEntry]]], dict[str, list[_Offer[VoiceOffer]]]]:
    """Model -> its offers that have a price, the first choice first; those for chat, and the others."""
    prices = read_prices({price for schedule in schedules.values() for price in schedule.prices})
    columns = ("pk", "model_id", "provider_id", "upstream_id", "context_length", "max_output", "capabilities")
    offers: defaultdict[str, list[_Offer[OfferEntry]]] = defaultdict(list)
    voices: defaultdict[str, list[_Offer[VoiceOffer]]] = defaultdict(list)
    disabled = set(Offer.objects.filter(DISABLED).values_list("pk", flat=True))
    for pk, model, name, upstream, context, max_output, capabilities, quirks, cancel, speed in Offer.objects.order_by(
        "provider__order", "pk"
    ).values_list(*columns, "quirks", "cancel_stops_billing", "tokens_per_s"):
        provider, schedule = providers.get(name), schedules.get(pk)
        price = None if schedule is None else schedule.price_at(now)
        if provider is None or schedule is None or price is None:
            continue
        target = Target(
            base_url=provider.base_url,
            api_key=provider.api_key,
            upstream_id=upstream,
            capabilities=frozenset(capabilities),
            pass_unknown=provider.pass_unknown,
            quirks=_quirks(provider.quirks, quirks),
        )
        facts = (provider.switch, pk in disabled, provider.is_own, [prices[each] for each in schedule.prices])
        if kinds[model] in KINDS:
            voice = VoiceOffer(model, name, provider.dialect, target, prices[price])
            voices[model].append(_Offer(voice, *facts))
        elif provider.dialect in DIALECTS:
            dialect, cancels = DIALECTS[provider.dialect], provider.cancel_stops_billing if cancel is None else cancel
            entry = OfferEntry(model, name, dialect, target, prices[price], context, max_output, cancels, speed)
            offers[model].append(_Offer(entry, *facts))
    return offers, voices


def read_prices(wanted: Collection[int]) -> dict[int, PriceVersion]:
    """Price versions by id."""
    rows = Price.objects.filter(pk__in=wanted).values_list("pk", "components", "tiers", "fee_basis_points")
    return {
        pk: PriceVersion(pk, components, [(tier["above_input"], tier["components"]) for tier in tiers], fee)
        for pk, components, tiers, fee in rows
    }


def _quirks(provider: Mapping[str, Any], offer: Mapping[str, Any]) -> Quirks:
    if not provider and not offer.get("efforts"):
        return NO_QUIRKS
    return Quirks(
        frozenset(provider.get("refuses", ())),
        provider.get("renames", {}),
        tuple(offer.get("efforts", ())),
    )


def _model_entry(row: _Row, offers: list[OfferEntry]) -> ModelEntry:
    sees = any("vision" in offer.target.capabilities for offer in offers)
    return ModelEntry(
        id=row.id,
        name=row.name,
        created_unix_s=_created_s(row),
        offers=tuple(offers),
        family=row.family,
        line=row.line or row.id,
        status="active" if row.sunset_on is None else "deprecated",
        deprecated_on=row.deprecated_on,
        sunset_on=row.sunset_on,
        successor=row.successor or None,
        modalities=TEXT | {"image"} if sees else TEXT,
    )


def _retired(
    row: _Row, successor: str, entries: Mapping[str, ModelEntry], offers: Mapping[str, list[_Offer[OfferEntry]]]
) -> RetiredModel:
    """With its last list price (the first choice's) compared with every price of a day of its successor's offers."""
    assert row.sunset_on is not None
    moves_to = None
    last = offers.get(row.id)
    if last and successor in entries:
        same_or_cheaper = [
            offer.entry
            for offer in offers[successor]
            if offer.is_on and all(costs_no_more(price, last[0].entry.price) for price in offer.prices)
        ]
        if same_or_cheaper:
            moves_to = replace(entries[successor], offers=tuple(same_or_cheaper))
    return RetiredModel(
        row.id, row.name, row.deprecated_on or row.sunset_on, row.sunset_on, successor or None, moves_to
    )


def _living_successor(row: _Row, ended: Mapping[str, _Row]) -> str:
    """The named one, or where that has ended too, the first behind it that has not; of a ring, the named one."""
    seen = {row.id}
    candidate = row.successor
    while candidate in ended and candidate not in seen:
        seen.add(candidate)
        candidate = ended[candidate].successor
    return row.successor if candidate in seen else candidate or row.successor


def _is_over(row: _Row, now: datetime) -> bool:
    return row.sunset_on is not None and _midnight(row.sunset_on) <= now


def _kind(row: _Row) -> Kind:
    return next(kind for kind in KINDS if kind == row.kind)


def _created_s(row: _Row) -> int:
    released = row.created_at if row.released_on is None else _midnight(row.released_on)
    return int(released.timestamp())


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
