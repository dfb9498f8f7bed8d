"""What many organizations show of one model, put together so that none of them decides it. Pure.

Who writes the prompts chooses how long answers are, and can have them fail. So an organization weighs at most
`CALLS_OF_ONE` calls, and goes only as far as `AGREEING` organizations go along, or all where there are fewer: a length
outside of the range of their means, a failure rate or a delay above what that many have, counts as its end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from advisor.evidence import Health, Output

CALLS_OF_ONE = 200
AGREEING = 5
LEAST_ORGANIZATIONS = 3  # whose lengths say something of others' answers
FARTHEST = math.log(3)  # that one may be from the mean in the error of it: nobody makes a figure worthless


@dataclass(frozen=True, slots=True)
class Lengths:
    """One organization's answers by one model, of one task type: sums of the logarithm of output tokens."""

    calls: int
    logs: float
    squares: float


@dataclass(frozen=True, slots=True)
class Periods:
    """One organization's calls of one model, of late and before; sums of the logarithm of milliseconds over answers."""

    calls: int
    failed: int
    answered: int
    log_ms: float
    log_ms_square: float
    calls_before: int
    failed_before: int
    answered_before: int
    log_ms_before: float
    log_ms_square_before: float


def pool_lengths(of_each: Sequence[Lengths]) -> Output | None:
    """None where too few organizations used the model for this."""
    if len(of_each) < LEAST_ORGANIZATIONS:
        return None
    means = [each.logs / each.calls for each in of_each]
    lowest, highest = _agreed(means)
    clipped = [min(max(mean, lowest), highest) for mean in means]
    weights = [min(each.calls, CALLS_OF_ONE) for each in of_each]
    pooled = _mean(clipped, weights)
    noise = [_variance(each.calls, each.logs, each.squares) / each.calls for each in of_each]
    return Output(pooled, _error(means, weights, noise, pooled), sum(weights))


def pool_health(of_each: Sequence[Periods]) -> Health | None:
    """None where nothing was called in one of both periods.

    Delays are compared within each organization, so that it does not matter who calls when. What failed before is
    counted as it was: that warns less, never more.
    """
    recent = [each for each in of_each if each.calls]
    before = [each for each in of_each if each.calls_before]
    if not recent or not before:
        return None
    weights = [min(each.calls, CALLS_OF_ONE) for each in recent]
    weights_before = [min(each.calls_before, CALLS_OF_ONE) for each in before]
    rates = [each.failed / each.calls for each in recent]
    most = sorted(rates, reverse=True)[min(AGREEING, len(rates)) - 1]
    failed = _sum([min(rate, most) for rate in rates], weights)
    failed_before = _sum([each.failed_before / each.calls_before for each in before], weights_before)
    both = [each for each in recent if each.answered and each.answered_before]
    delay, error, usual = _delay(both)
    return Health(
        calls=sum(weights),
        failed=round(failed),
        calls_before=sum(weights_before),
        failed_before=round(failed_before),
        log_ms_mean=usual + delay,
        log_ms_before=usual,
        log_ms_error=error,
    )


def _delay(both: Sequence[Periods]) -> tuple[float, float, float]:
    """How much later answers come now (a logarithm), its standard error, and the mean before; zeros of nobody."""
    if not both:
        return 0.0, 0.0, 0.0
    usual = [each.log_ms_before / each.answered_before for each in both]
    delays = [each.log_ms / each.answered - mean for each, mean in zip(both, usual, strict=True)]
    weights = [min(each.answered, each.answered_before, CALLS_OF_ONE) for each in both]
    noise = [
        _variance(each.answered, each.log_ms, each.log_ms_square) / each.answered
        + _variance(each.answered_before, each.log_ms_before, each.log_ms_square_before) / each.answered_before
        for each in both
    ]
    most = sorted(delays, reverse=True)[min(AGREEING, len(delays)) - 1]
    clipped = [min(delay, most) for delay in delays]
    pooled = _mean(clipped, weights)
    return pooled, _error(delays, weights, noise, pooled), _mean(usual, weights)


def _agreed(values: Sequence[float]) -> tuple[float, float]:
    """The range that so many organizations reach from both sides; of few their median."""
    ordered = sorted(values)
    reach = min(AGREEING, (len(ordered) + 1) // 2) - 1
    return ordered[reach], ordered[-1 - reach]


def _sum(values: Sequence[float], weights: Sequence[int]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=True))


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    return _sum(values, weights) / sum(weights)


def _variance(calls: int, total: float, squares: float) -> float:
    """Of single calls; of one call nothing is known, and it is taken for as different as lengths can well be."""
    if calls < 2:
        return 1.0
    return max(0.0, (squares - total * total / calls) / (calls - 1))


def _error(values: Sequence[float], weights: Sequence[int], noise: Sequence[float], mean: float) -> float:
    """Of a weighted mean: the noise within each organization, and how much they differ among each other."""
    whole, size = sum(weights), len(values)
    squares = [weight * weight / (whole * whole) for weight in weights]
    within = sum(square * each for square, each in zip(squares, noise, strict=True))
    among = sum(square * min(abs(value - mean), FARTHEST) ** 2 for square, value in zip(squares, values, strict=True))
    return math.sqrt(within + (among * size / (size - 1) if size > 1 else 0.0))
