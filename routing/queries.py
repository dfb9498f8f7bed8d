"""The catalogue as pages show it: rows without addresses and credentials, read once for each version of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from threading import Lock

from billing.prices import BASIS_POINTS, PriceVersion
from komilion.common.clock import unix_s
from komilion.common.money import ceil_div
from routing.catalog.load import read_catalog
from routing.catalog.models import CatalogVersion
from routing.catalog.snapshot import Catalog, ModelEntry, OfferEntry

WAYS = frozenset({"max_completion_tokens", "no_sampling"})  # how an offer is called, not what it can


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One bucket of a price: nano-USD per million units, as the provider lists it and as a caller pays it."""

    bucket: str
    listed: int
    charged: int


@dataclass(frozen=True, slots=True)
class OfferRow:
    """A model at a provider, as a page shows it."""

    provider: str
    context_length: int
    max_output: int
    capabilities: tuple[str, ...]
    price: PriceVersion

    @property
    def lines(self) -> list[PriceLine]:
        """The price of the first tier, bucket by bucket."""
        return self._lines(self.price.components)

    @property
    def tiers(self) -> list[tuple[int, list[PriceLine]]]:
        """(input tokens above which it holds, its lines), ascending; none where one price holds for every length."""
        return [(above, self._lines(components)) for above, components in self.price.tiers]

    def charged(self, bucket: str) -> int:
        """Nano-USD per million units of this bucket with our fee; 0 where it has no price of its own."""
        return self._with_fee(self.price.components.get(bucket, 0))

    def _lines(self, components: Mapping[str, int]) -> list[PriceLine]:
        return [PriceLine(bucket, nano, self._with_fee(nano)) for bucket, nano in components.items()]

    def _with_fee(self, nano: int) -> int:
        return ceil_div(nano * (BASIS_POINTS + self.price.fee_basis_points), BASIS_POINTS)


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
class CatalogRows:
    """Every model that can be called, by id, at one version of the catalogue."""

    version: int
    models: Mapping[str, ModelRow]
    catalog: Catalog

    @property
    def vendors(self) -> list[str]:
        """In the order of the alphabet."""
        return sorted({model.vendor for model in self.models.values()})

    @property
    def capabilities(self) -> list[str]:
        """What at least one model can."""
        return sorted({name for model in self.models.values() for name in model.offer.capabilities})


class _Kept:
    """The rows that this process read last."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.rows: CatalogRows | None = None


_kept = _Kept()


def catalog_rows() -> CatalogRows:
    """One short query where nothing changed since the last call in this process, else the whole catalogue."""
    version = CatalogVersion.objects.filter(pk=1).values_list("version", flat=True).first() or 0
    with _kept.lock:
        rows = _kept.rows
        if rows is not None and rows.version == version and unix_s() < rows.catalog.expires_s:
            return rows
    catalog = read_catalog()
    rows = CatalogRows(catalog.version, {entry.id: _model_row(entry) for entry in catalog.models.values()}, catalog)
    with _kept.lock:
        _kept.rows = rows
    return rows


def forget_catalog_rows() -> None:
    """Read them anew next time; for tests, where a version that was rolled back comes again."""
    with _kept.lock:
        _kept.rows = None


def _model_row(entry: ModelEntry) -> ModelRow:
    return ModelRow(
        id=entry.id,
        name=entry.name,
        created_at=datetime.fromtimestamp(entry.created_unix_s, UTC),
        offers=tuple(map(_offer_row, entry.offers)),
        sunset_on=entry.sunset_on,
        successor=entry.successor,
    )


def _offer_row(offer: OfferEntry) -> OfferRow:
    return OfferRow(
        provider=offer.provider,
        context_length=offer.context_length,
        max_output=offer.max_output,
        capabilities=tuple(sorted(offer.target.capabilities - WAYS)),
        price=offer.price,
    )
