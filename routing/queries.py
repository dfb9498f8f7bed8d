"""The catalogue as pages show it: rows without addresses and credentials, read once for each version of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from billing.prices import BASIS_POINTS, PriceVersion
from komilion.common.clock import monotonic_s, utc_now
from komilion.common.money import ceil_div
from routing.catalog.models import CatalogVersion, Model, Offer, OfferPrice

REREAD_AFTER_S = 60.0  # a price may come into force without any change of the catalogue


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
    """A model as a page shows it; the first offer is the one that is called."""

    id: str
    name: str
    created_at: datetime
    offers: tuple[OfferRow, ...]

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
    """Every model that has a price, by id, at one version of the catalogue."""

    version: int
    models: Mapping[str, ModelRow]

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
        self.read_at_s = 0.0


_kept = _Kept()


def catalog_rows() -> CatalogRows:
    """One short query where nothing changed since the last call in this process, else four."""
    version = CatalogVersion.objects.filter(pk=1).values_list("version", flat=True).first() or 0
    with _kept.lock:
        rows = _kept.rows
        if rows is not None and rows.version == version and monotonic_s() - _kept.read_at_s < REREAD_AFTER_S:
            return rows
    rows = CatalogRows(version, _read_models())
    with _kept.lock:
        _kept.rows, _kept.read_at_s = rows, monotonic_s()
    return rows


def forget_catalog_rows() -> None:
    """Read them anew next time; for tests, where a version that was rolled back comes again."""
    with _kept.lock:
        _kept.rows = None


def _read_models() -> dict[str, ModelRow]:
    prices = {
        row.offer_id: PriceVersion.from_row(row.price)
        for row in OfferPrice.objects.filter(effective_from__lte=utc_now())
        .select_related("price")
        .order_by("effective_from", "pk")
    }
    offers: dict[str, list[OfferRow]] = {}
    for offer in Offer.objects.order_by("pk"):
        price = prices.get(offer.pk)
        if price is not None:
            offers.setdefault(offer.model_id, []).append(_offer_row(offer, price))
    return {
        model.pk: ModelRow(model.pk, model.name, model.created_at, tuple(offers[model.pk]))
        for model in Model.objects.order_by("pk")
        if model.pk in offers
    }


def _offer_row(offer: Offer, price: PriceVersion) -> OfferRow:
    return OfferRow(
        provider=offer.provider_id,
        context_length=offer.context_length,
        max_output=offer.max_output,
        capabilities=tuple(offer.capabilities),
        price=price,
    )
