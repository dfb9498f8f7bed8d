"""Prices -> Money: the one formula by which a call is estimated, charged and audited. All amounts are nano-USD.

provider cost = ceil(sum of units x price per million / 10^6)
fee           = ceil(provider cost x fee basis points / 10,000)
charge        = provider cost + fee
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from komilion.common.money import ceil_div, format_usd
from komilion.common.usage import INPUT_BUCKETS, OUTPUT_BUCKETS, PRICED_BUCKETS, Usage

UNITS_PER_PRICE = 10**6
BASIS_POINTS = 10_000
# What a bucket without a price of its own costs: a cached or long-cached token what a plain one does.
PRICED_AS = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "input",
    "cache_read_audio": "input_audio",
    "cache_read_image": "input_image",
}


class UnpricedUsage(ValueError):
    """A bucket was used that the price has no figure for; such a call must be refused before it is made."""


class Charge(msgspec.Struct, frozen=True):
    """What one call costs: `charge` = `cost` (the provider's list price) + `fee` (ours)."""

    cost: int
    fee: int

    @property
    def charge(self) -> int:
        """What the wallet pays."""
        return self.cost + self.fee


def amounts(components: Mapping[str, int]) -> str:
    """`input 3.00, output 15.00`: US dollars per million units, of each bucket that has a price."""
    return ", ".join(f"{bucket} {format_usd(components[bucket])}" for bucket in PRICED_BUCKETS if bucket in components)


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """A frozen price; `components` maps buckets to nano-USD per million units, `tiers` as in billing.models.Price."""

    id: int
    components: Mapping[str, int]
    tiers: Sequence[tuple[int, Mapping[str, int]]]  # (above_input, components), ascending
    fee_basis_points: int
    _dearest_input: int = field(init=False)  # of the base tier
    _dearest_output: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_dearest_input", _dearest([self.components], INPUT_BUCKETS))
        object.__setattr__(self, "_dearest_output", _dearest([self.components], OUTPUT_BUCKETS))

    @classmethod
    def from_row(cls, row: Any) -> "PriceVersion":
        """From a `billing.models.Price`."""
        tiers = [(tier["above_input"], tier["components"]) for tier in row.tiers]
        return cls(row.pk, row.components, tiers, row.fee_basis_points)

    def charge(self, usage: Usage) -> Charge:
        """The charge for this usage. Raises `UnpricedUsage` rather than giving anything away."""
        components = self.components_for(usage.total_input)
        total = 0
        for bucket in PRICED_BUCKETS:
            units = getattr(usage, bucket)
            if units:
                total += units * _price_of(components, bucket)
        return self._charge_of(total)

    def lines(self, usage: Usage) -> list[tuple[str, int, int]]:
        """What `charge` adds up: bucket, units, nano-USD per million units. Raises `UnpricedUsage`."""
        components = self.components_for(usage.total_input)
        used = [(bucket, getattr(usage, bucket)) for bucket in PRICED_BUCKETS]
        return [(bucket, units, _price_of(components, bucket)) for bucket, units in used if units]

    def unpriced(self, usage: Usage) -> list[str]:
        """The buckets that were used and have no price, so that `charge` would raise."""
        components = self.components_for(usage.total_input)
        used = [bucket for bucket in PRICED_BUCKETS if getattr(usage, bucket)]
        return [bucket for bucket in used if bucket not in components and PRICED_AS.get(bucket) not in components]

    def ceiling(self, input_tokens: int, output_tokens: int) -> int:
        """The most a call can be charged whose input and output are at most this many tokens of any bucket."""
        total = input_tokens * self._input_price(input_tokens) + output_tokens * self._output_price(input_tokens)
        return self._charge_of(total).charge

    def output_tokens_for(self, amount: int, input_tokens: int) -> int:
        """The largest n with ceiling(input_tokens, n) <= amount; 0 where not even the input is paid for."""
        dearest = self._output_price(input_tokens)
        if dearest == 0:
            return 2**31
        cost = amount * BASIS_POINTS // (BASIS_POINTS + self.fee_basis_points)
        spare = cost * UNITS_PER_PRICE - input_tokens * self._input_price(input_tokens)
        return max(0, spare // dearest)

    def components_for(self, input_tokens: int) -> Mapping[str, int]:
        """What each bucket costs in a call with so much input."""
        chosen = self.components
        for above, components in self.tiers:
            if input_tokens > above:
                chosen = components
        return chosen

    def _charge_of(self, total: int) -> Charge:
        cost = ceil_div(total, UNITS_PER_PRICE)
        return Charge(cost, ceil_div(cost * self.fee_basis_points, BASIS_POINTS))

    def _input_price(self, input_tokens: int) -> int:
        return self._dearest_input if not self.tiers else _dearest(self._reachable(input_tokens), INPUT_BUCKETS)

    def _output_price(self, input_tokens: int) -> int:
        return self._dearest_output if not self.tiers else _dearest(self._reachable(input_tokens), OUTPUT_BUCKETS)

    def _reachable(self, input_tokens: int) -> list[Mapping[str, int]]:
        """Every tier that so much input may reach: a bound must not fall where a tier is cheaper."""
        return [self.components, *(components for above, components in self.tiers if input_tokens > above)]


def _dearest(tiers: Sequence[Mapping[str, int]], buckets: Sequence[str]) -> int:
    return max(components.get(bucket, 0) for components in tiers for bucket in buckets)


def _price_of(components: Mapping[str, int], bucket: str) -> int:
    price = components.get(bucket)
    if price is None and bucket in PRICED_AS:
        price = components.get(PRICED_AS[bucket])
    if price is None:
        raise UnpricedUsage(f"no price for {bucket}")
    return price
