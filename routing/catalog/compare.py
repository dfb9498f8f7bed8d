"""Whether one price can ever cost more than another."""

from collections.abc import Mapping

from billing.prices import BASIS_POINTS, PriceVersion
from komilion.common.usage import PRICED_BUCKETS


def costs_no_more(price: PriceVersion, than: PriceVersion) -> bool:
    """Whether no component is higher, our fee included: each bucket that `than` has a price for, in every tier.

    A call of the same tokens then costs the same or less. What `price` has no figure for is refused, so it costs
    nothing; what only `price` has a figure for could not be called before.
    """
    edges = {0, *(above for version in (price, than) for above, _ in version.tiers)}
    for edge in edges:
        ours, theirs = _components_above(price, edge), _components_above(than, edge)
        for bucket in PRICED_BUCKETS:
            new, old = _unit_price(ours, bucket), _unit_price(theirs, bucket)
            if new is None or old is None:
                continue
            if new * (BASIS_POINTS + price.fee_basis_points) > old * (BASIS_POINTS + than.fee_basis_points):
                return False
    return True


def _components_above(version: PriceVersion, input_tokens: int) -> Mapping[str, int]:
    """What holds for one token more than that."""
    chosen = version.components
    for above, components in version.tiers:
        if input_tokens >= above:
            chosen = components
    return chosen


def _unit_price(components: Mapping[str, int], bucket: str) -> int | None:
    """As a call is charged: a cached token without a price of its own costs what plain input costs."""
    price = components.get(bucket)
    return components.get("input") if price is None and bucket.startswith("cache_") else price
