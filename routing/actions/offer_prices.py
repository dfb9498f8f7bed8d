"""Changing what an offer costs: what is named replaces that part of the price that would hold at the moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from billing.actions.prices import do_record_price
from billing.models import Price
from komilion.common.clock import utc_now
from routing.actions.errors import CatalogError
from routing.catalog.models import Offer, OfferPrice
from routing.catalog.schedule import rows_at

# What a new offer of each kind must have a price for: all of one of these.
NEEDED: Mapping[str, Sequence[Sequence[str]]] = {
    "chat": [("input", "output")],
    "transcription": [("audio_ms",), ("input_audio", "output")],
    "speech": [("characters",), ("audio_ms",), ("input", "output_audio")],
    "realtime": [("input", "input_audio", "output", "output_audio")],
}

type Tiers = Sequence[tuple[int, Mapping[str, int]]]  # (above so many input tokens, nano-USD per million by bucket)


class Change(NamedTuple):
    """What was and what is, in words."""

    what: str
    old: str
    new: str


def do_price(
    offer: Offer, components: Mapping[str, int], tiers: Tiers | None, since: datetime | None = None
) -> list[Change]:
    """One price for the whole day, within the caller's transaction. Raises `CatalogError`.

    From now on it replaces dear times of the day and what was announced; from a moment to come on, `since`, it replaces
    what was announced for that very moment.
    """
    now = utc_now()
    if since is not None and since <= now:
        raise CatalogError("a price to come begins later than now; without a moment it holds at once")
    rows = list(offer.prices.order_by("effective_from", "pk").select_related("price"))
    holding = rows_at(rows, since or now)
    base = next((row.price for row in holding if row.from_minute is None), None)
    price = _merged(base, components, tiers, NEEDED[offer.model.kind])
    is_there = [row.price_id for row in holding] == [price.pk]
    replaced = [row for row in rows if (row.effective_from > now if since is None else row.effective_from == since)]
    gone = [row for row in holding if row.from_minute is not None] + [row for row in replaced if row not in holding]
    if is_there and not gone:
        return []
    offer.prices.filter(pk__in=[row.pk for row in replaced]).delete()
    changes = [Change(f"price {row.when}", row.price.figures, "none") for row in gone]
    if not is_there:
        new = OfferPrice.objects.create(offer=offer, price=price, effective_from=since or now)
        changes.insert(0, Change(f"price {new.when}", base.figures if base else "none", price.figures))
    return changes


def _merged(
    base: Price | None, components: Mapping[str, int], tiers: Tiers | None, needed: Sequence[Sequence[str]]
) -> Price:
    """The price version of the named parts and the rest of `base`."""
    whole = {**(base.components if base else {}), **components}
    if not any(whole.keys() >= set(buckets) for buckets in needed):
        ways = ", or ".join(" and ".join(buckets) for buckets in needed)
        raise CatalogError(f"a new offer needs a price for {ways}")
    if tiers is None:
        return do_record_price(whole, base.tiers if base else ())
    thresholds = [above for above, _ in tiers]
    if thresholds != sorted(set(thresholds)) or not all(above > 0 for above in thresholds):
        raise CatalogError("tiers must begin above 1 input token or more, each above the one before")
    rows: list[Mapping[str, Any]] = [{"above_input": above, "components": dict(prices)} for above, prices in tiers]
    return do_record_price(whole, rows)
