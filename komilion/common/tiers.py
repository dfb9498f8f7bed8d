"""What a caller may do a minute, at once and in a second; by tier, overridable per organization and key.

A leaf, because three layers name these limits: keys carry them, the limiter counts by them, pages show them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Limits:
    """The four limits of one scope; 0 closes it."""

    requests_per_minute: int
    tokens_per_minute: int
    parallel: int
    burst_per_s: int


TIERS: dict[str, Limits] = {
    "free": Limits(requests_per_minute=30, tokens_per_minute=100_000, parallel=8, burst_per_s=5),
    "standard": Limits(requests_per_minute=120, tokens_per_minute=1_000_000, parallel=32, burst_per_s=20),
    "high": Limits(requests_per_minute=1_000_000, tokens_per_minute=2_000_000_000, parallel=4_000, burst_per_s=20_000),
}

LIMIT_NAMES = frozenset(field.name for field in fields(Limits))
MOST = 2**53 - 1  # the script that counts works with doubles; beyond this they skip whole numbers


def limits_for(tier: str, overrides: Mapping[str, int] | None) -> Limits:
    """The tier's limits with those in `overrides` (field name -> value) in place of its own.

    Raises `ValueError` for an unknown tier, an unknown field, or a value that is not an integer in 0..2^53-1.
    """
    if tier not in TIERS:
        raise ValueError(f"there is no tier {tier!r}; the tiers are {', '.join(TIERS)}")
    if not overrides:
        return TIERS[tier]
    for name, value in overrides.items():
        if name not in LIMIT_NAMES:
            raise ValueError(f"there is no limit {name!r}; the limits are {', '.join(sorted(LIMIT_NAMES))}")
        if type(value) is not int or not 0 <= value <= MOST:
            raise ValueError(f"{name} must be a whole number from 0 to {MOST}, not {value!r}")
    return replace(TIERS[tier], **overrides)
