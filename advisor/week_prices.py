"""What a model will cost in the weeks to come: advice is for a month, and a price may hold for some hours of a day.

Where an offer is dear at times, its price is the mean over a week, as if calls came at all hours alike; the moment at
which advice is made (Monday, 09:00 UTC, a dear time of some makers) says nothing. What is announced for the next month
counts where it is dearer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.prices import PriceVersion
from komilion.common.clock import utc_now
from routing.catalog.load import read_prices
from routing.catalog.models import Offer
from routing.catalog.schedule import read_schedules
from routing.queries import ModelRow, OfferRow, price_lines

ANNOUNCED_WITHIN = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class WeekPrice:
    """Nano-USD per million units by bucket, fee included; tiers as (above so many input tokens, prices), ascending."""

    prices: Mapping[str, int]
    tiers: Sequence[tuple[int, Mapping[str, int]]]


def week_prices(models: Iterable[ModelRow]) -> dict[str, WeekPrice]:
    """By model, of its first offer, as prices are set now."""
    now = utc_now()
    schedules, _ = read_schedules(now)
    dear = {offer: schedule.shares() for offer, schedule in schedules.items() if schedule.windows}
    versions = read_prices({price for shares in dear.values() for price in shares})
    rows = Offer.objects.filter(pk__in=dear).values_list("pk", "model_id", "provider_id")
    shares = {
        (model, provider): [(versions[price], share) for price, share in dear[pk].items()]
        for pk, model, provider in rows
    }
    return {
        model.id: _of_week(model.offer, shares.get((model.id, model.offer.provider), [(model.offer.price, 1.0)]), now)
        for model in models
    }


def _of_week(offer: OfferRow, shares: Sequence[tuple[PriceVersion, float]], now: datetime) -> WeekPrice:
    prices = _mean(shares, 0)
    for change in offer.changes:
        if change.since is not None and change.since <= now + ANNOUNCED_WITHIN:
            for line in change.lines:
                prices[line.bucket] = max(line.charged, prices.get(line.bucket, 0))
    steps = sorted({above for price, _ in shares for above, _ in price.tiers})
    return WeekPrice(prices, tuple((above, _mean(shares, above + 1)) for above in steps))


def _mean(shares: Sequence[tuple[PriceVersion, float]], input_tokens: int) -> dict[str, int]:
    """Of a call with so much input; a bucket that has no price at some time has none."""
    charged = [
        ({line.bucket: line.charged for line in price_lines(price, price.components_for(input_tokens))}, share)
        for price, share in shares
    ]
    names = set.intersection(*(set(lines) for lines, _ in charged))
    return {name: round(sum(lines[name] * share for lines, share in charged)) for name in sorted(names)}
