"""The catalogue as pages show it: rows without addresses and credentials, read once for each version of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from threading import Lock

from django.db.models import Q

from billing.prices import BASIS_POINTS, PriceVersion
from komilion.common.clock import unix_exact_s, utc_now
from komilion.common.money import ceil_div
from komilion.common.usage import PRICED_BUCKETS
from routing.catalog.load import read_catalog, read_prices, read_version
from routing.catalog.models import Offer, OfferPrice
from routing.catalog.schedule import read_schedules
from routing.catalog.snapshot import Catalog, ModelEntry, OfferEntry
from routing.catalog.voice import KINDS, Kind, VoiceModel
from routing.selection.models import Pin

type _OfferKey = tuple[str, str]  # model, provider

TIME, MS_PER_MINUTE = "audio_ms", 60_000
WAYS = frozenset({"max_completion_tokens", "no_sampling"})  # how an offer is called, not what it can


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One bucket of a price: nano-USD per million units, as the provider lists it and as a caller pays it."""

    bucket: str
    listed: int
    charged: int


def price_lines(price: PriceVersion, components: Mapping[str, int]) -> list[PriceLine]:
    """Components of a price (its first tier's or another's), with its fee."""
    found = [(bucket, components[bucket]) for bucket in PRICED_BUCKETS if bucket in components]
    return [PriceLine(bucket, nano, _with_fee(price, nano)) for bucket, nano in found]


def _with_fee(price: PriceVersion, nano: int) -> int:
    return ceil_div(nano * (BASIS_POINTS + price.fee_basis_points), BASIS_POINTS)


@dataclass(frozen=True, slots=True)
class PriceChange:
    """Another price of an offer: from `since` on, else every day from `start` to `end`, minutes of the day in UTC."""

    lines: Sequence[PriceLine]
    since: datetime | None = None
    start: str = ""
    end: str = ""
    weekdays_only: bool = False


@dataclass(frozen=True, slots=True)
class OfferRow:
    """A model at a provider, as a page shows it; `changes` are its dear times of the day and its prices to come."""

    provider: str
    context_length: int
    max_output: int
    capabilities: tuple[str, ...]
    price: PriceVersion
    changes: tuple[PriceChange, ...] = ()

    @property
    def lines(self) -> list[PriceLine]:
        """The price of the first tier, bucket by bucket."""
        return price_lines(self.price, self.price.components)

    @property
    def tiers(self) -> list[tuple[int, list[PriceLine]]]:
        """(input tokens above which it holds, its lines), ascending; none where one price holds for every length."""
        return [(above, price_lines(self.price, components)) for above, components in self.price.tiers]

    def charged(self, bucket: str) -> int:
        """Nano-USD per million units of this bucket with our fee; 0 where it has no price of its own."""
        return _with_fee(self.price, self.price.components.get(bucket, 0))


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model as a page shows it; the first offer is the one that is called.

    One with `sunset_on` ends on that day (UTC); `successor` may be one that is not served here.
    """

    id: str
    name: str
    created_at: datetime
    offers: tuple[OfferRow, ...]
    sunset_on: date | None = None
    successor: str | None = None

    @property
    def vendor(self) -> str:
        """What stands before the slash of its id."""
        return self.id.partition("/")[0]

    @property
    def offer(self) -> OfferRow:
        """The first choice."""
        return self.offers[0]

    @property
    def input_charged(self) -> int:
        """Nano-USD per million input tokens, with our fee."""
        return self.offer.charged("input")

    @property
    def output_charged(self) -> int:
        """Nano-USD per million output tokens, with our fee."""
        return self.offer.charged("output")


@dataclass(frozen=True, slots=True)
class VoiceRow:
    """A model that hears or speaks, as a page shows it: what its first choice costs."""

    id: str
    name: str
    kind: Kind
    lines: Sequence[PriceLine]
    sunset_on: date | None

    @property
    def does(self) -> str:
        """What it does, in words."""
        return KINDS[self.kind]

    @property
    def minute_charged(self) -> int | None:
        """Nano-USD for a minute of audio, with our fee; None where it is not paid by time."""
        return next((ceil_div(line.charged * MS_PER_MINUTE, 10**6) for line in self.lines if line.bucket == TIME), None)

    @property
    def other_lines(self) -> list[PriceLine]:
        """What else it may be paid by: text, or tokens of each sort."""
        return [line for line in self.lines if line.bucket != TIME]


@dataclass(frozen=True, slots=True)
class CatalogRows:
    """Every model that can be called, by id, at one version of the catalogue; `voices` are those for no chat."""

    version: int
    models: Mapping[str, ModelRow]
    catalog: Catalog
    voices: Sequence[VoiceRow] = ()

    @property
    def vendors(self) -> list[str]:
        """In the order of the alphabet."""
        return sorted({model.vendor for model in self.models.values()})

    @property
    def capabilities(self) -> list[str]:
        """What at least one model can."""
        return sorted({name for model in self.models.values() for name in model.offer.capabilities})


def charged_prices(model_id: str) -> dict[str, int]:
    """What a model costs at its first choice now: bucket -> nano-USD per million units; empty where it is not there."""
    model = catalog_rows().models.get(model_id)
    return {} if model is None else {line.bucket: line.charged for line in model.offer.lines}


def ceiling_of(pin: Pin) -> Mapping[str, int]:
    """What a newer model may cost in its place, likewise; one that was set before ceilings were has today's price."""
    ceiling: Mapping[str, int] = pin.ceiling
    return ceiling or charged_prices(pin.model)


class _Kept:
    """The rows that this process read last."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.rows: CatalogRows | None = None


_kept = _Kept()


def catalog_rows() -> CatalogRows:
    """One short query where nothing changed since the last call in this process, else the whole catalogue."""
    version = read_version()
    with _kept.lock:
        rows = _kept.rows
        if rows is not None and rows.version == version and unix_exact_s() < rows.catalog.expires_s:
            return rows
    catalog = read_catalog(version)
    changes = _read_changes()
    models = {entry.id: _model_row(entry, changes) for entry in catalog.models.values()}
    voices = sorted(map(_voice_row, catalog.voice.values()), key=lambda row: (list(KINDS).index(row.kind), row.id))
    rows = CatalogRows(catalog.version, models, catalog, voices)
    with _kept.lock:
        _kept.rows = rows
    return rows


def forget_catalog_rows() -> None:
    """Read them anew next time; for tests, where a version that was rolled back comes again."""
    with _kept.lock:
        _kept.rows = None


def _model_row(entry: ModelEntry, changes: Mapping[_OfferKey, Sequence[PriceChange]]) -> ModelRow:
    return ModelRow(
        id=entry.id,
        name=entry.name,
        created_at=datetime.fromtimestamp(entry.created_unix_s, UTC),
        offers=tuple(_offer_row(offer, changes.get((entry.id, offer.provider), ())) for offer in entry.offers),
        sunset_on=entry.sunset_on,
        successor=entry.successor,
    )


def _voice_row(entry: VoiceModel) -> VoiceRow:
    price = entry.offers[0].price
    return VoiceRow(entry.id, entry.name, entry.kind, price_lines(price, price.components), entry.sunset_on)


def _offer_row(offer: OfferEntry, changes: Sequence[PriceChange]) -> OfferRow:
    return OfferRow(
        provider=offer.provider,
        context_length=offer.context_length,
        max_output=offer.max_output,
        capabilities=tuple(sorted(offer.target.capabilities - WAYS)),
        price=offer.price,
        changes=tuple(changes),
    )


def _read_changes() -> Mapping[_OfferKey, Sequence[PriceChange]]:
    """What is dear at some time of the day, and what is announced, of every offer that has either."""
    now = utc_now()
    changing = OfferPrice.objects.filter(Q(effective_from__gt=now) | Q(from_minute__isnull=False))
    columns = ("offer_id", "effective_from", "price_id", "from_minute")
    rows = list(changing.order_by("effective_from", "pk").values_list(*columns))
    if not rows:
        return {}
    coming = [row[:3] for row in rows if row[1] > now and row[3] is None]
    schedules, _ = read_schedules(now)
    windows = {offer: schedule.windows for offer, schedule in schedules.items() if schedule.windows}
    prices = read_prices({window.price for found in windows.values() for window in found} | {row[2] for row in coming})
    offers = Offer.objects.filter(pk__in={*windows, *(row[0] for row in coming)})
    keys = {pk: (model, provider) for pk, model, provider in offers.values_list("pk", "model_id", "provider_id")}
    changes: defaultdict[_OfferKey, list[PriceChange]] = defaultdict(list)
    for offer, found in windows.items():
        for window in found:
            lines = price_lines(prices[window.price], prices[window.price].components)
            times = (_clock(window.start), _clock(window.end), window.weekdays_only)
            changes[keys[offer]].append(PriceChange(lines, None, *times))
    for offer, since, price in coming:
        changes[keys[offer]].append(PriceChange(price_lines(prices[price], prices[price].components), since))
    return changes


def _clock(minute: int) -> str:
    """50 -> `00:50`."""
    return f"{minute // 60:02d}:{minute % 60:02d}"
