"""The arithmetic of chance that recommendations rest on: plain numbers in, plain numbers out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erfc, exp, fsum, log, pi, sqrt
from statistics import NormalDist

import numpy as np

type Floats = np.ndarray[tuple[int, ...], np.dtype[np.floating]]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(16)
_NODES_AND_WEIGHTS = tuple(zip(_NODES.tolist(), (_WEIGHTS / _WEIGHTS.sum()).tolist(), strict=True))  # standard normal
POINTS = 16
# The middles of so many equally likely slices of a standard normal variable, scaled so that their variance is 1.
_MIDDLES = np.array([NormalDist().inv_cdf((i + 0.5) / POINTS) for i in range(POINTS)])
_MIDDLES = _MIDDLES / _MIDDLES.std()
SLICES = 4_000
WEIGH_MOST = 10_000  # tries; a grid of so many slices has ten to a standard deviation of theirs
_ANGLES = (np.arange(SLICES) + 0.5) * (pi / 2 / SLICES)
_RATES = np.sin(_ANGLES) ** 2
CENTRAL_80 = (0.1, 0.9)
Z_95 = 1.96


def sigmoid(logit: float) -> float:
    """The probability of a logit."""
    return 1 / (1 + exp(-logit))


def logit(probability: float) -> float:
    """The logit of a probability above 0 and below 1."""
    return log(probability / (1 - probability))


def normal_cdf(value: float) -> float:
    """The probability that a standard normal variable is below `value`."""
    return 0.5 * erfc(-value / sqrt(2))


@dataclass(frozen=True, slots=True)
class Normal:
    """A quantity that is known with an error."""

    mean: float
    error: float

    def moved(self, evidence: float, information: float, most: float) -> "Normal":
        """After one Newton step towards outcomes: `evidence` is their score, `information` its variance."""
        precision = 1 / self.error**2 + information
        offset = min(max(evidence / precision, -most), most)
        return Normal(self.mean + offset, precision**-0.5)

    def and_also(self, other: "Normal") -> "Normal":
        """What both say together, by their precisions."""
        mine, its = self.error**-2, other.error**-2
        return Normal((self.mean * mine + other.mean * its) / (mine + its), (mine + its) ** -0.5)


type Bar = Sequence[tuple[float, float]]
"""What must be reached, and how likely it is that. For a quantity that depends on one that is known with an error."""


def bar(known: Normal, least: Callable[[float], float]) -> Bar:
    """`least(known)` at the 16 nodes of Gauss-Hermite."""
    return [(least(known.mean + known.error * node), weight) for node, weight in _NODES_AND_WEIGHTS]


def reaches(other: Normal, bar: Bar) -> float:
    """How likely `other`, normal and independent of what the bar was made of, is at least as high."""
    scale = -1 / (sqrt(2) * other.error)
    total = fsum(weight * erfc((other.mean - level) * scale) for level, weight in bar) / 2
    return min(max(total, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a quantity may be, by a grid of equally likely values."""

    values: Floats

    @property
    def mean(self) -> float:
        """The expected value, kept inside of the central 80 %."""
        low, high = self.ends
        return min(max(float(self.values.mean()), low), high)

    @property
    def ends(self) -> tuple[float, float]:
        """Of the central 80 %."""
        low, high = np.quantile(self.values, CENTRAL_80)
        return float(low), float(high)

    @property
    def above_nothing(self) -> float:
        """The probability of more than 0."""
        return float((self.values > 0).mean())


def scaled(log_mean: float, error: float) -> Floats:
    """A log-normal factor: equally likely values of it, one where there is no error."""
    if error == 0:
        return np.array([exp(log_mean)])
    return np.exp(log_mean + error * _MIDDLES)


def probability_higher(hits: tuple[int, int], before: tuple[int, int], more: float) -> float:
    """How likely a rate is above another one by `more`, from (hits, tries) of both; normal, of Jeffreys' posteriors."""
    mean, variance = _jeffreys(*hits)
    mean_before, variance_before = _jeffreys(*before)
    return normal_cdf((mean - mean_before - more) / sqrt(variance + variance_before))


def probability_raised(hits: tuple[int, int], before: tuple[int, int], least: Callable[[Floats], Floats]) -> float:
    """How likely a rate is at least `least(the rate before)`, from (hits, tries) of both; Jeffreys' posteriors.

    Exact but for a grid, so it holds far out in the tails and for few tries, where `probability_higher` does not. More
    than `WEIGH_MOST` tries say no more: rates drift.
    """
    above = 1 - (np.cumsum(now := _posterior(*hits)) - now / 2)
    reached = np.interp(least(_RATES), _RATES, above, right=0.0)
    return min(max(float(reached @ _posterior(*before)), 0.0), 1.0)


def _posterior(hits: int, tries: int) -> Floats:
    """Of a rate, at `_RATES`: these lie evenly by their angle, by which Jeffreys' prior is flat."""
    weight = min(1.0, WEIGH_MOST / max(tries, 1))
    logs = 2 * weight * (hits * np.log(np.sin(_ANGLES)) + (tries - hits) * np.log(np.cos(_ANGLES)))
    likely: Floats = np.exp(logs - logs.max())
    return likely / likely.sum()


def _jeffreys(hits: int, tries: int) -> tuple[float, float]:
    a, b = hits + 0.5, tries - hits + 0.5
    mean = a / (a + b)
    return mean, mean * (1 - mean) / (a + b + 1)


def wilson_low(hits: float, tries: float, z: float = Z_95) -> float:
    """The lower end of Wilson's interval of a rate; 0 without a try."""
    if tries <= 0:
        return 0.0
    rate, weight = hits / tries, z * z / tries
    return (rate + weight / 2 - z * sqrt((rate * (1 - rate) + weight / 4) / tries)) / (1 + weight)


def relative_error(weeks: Sequence[float], assumed: float, weight: float) -> float:
    """How much one week differs from another, as a share: from a few weeks, and an assumption that weighs some more."""
    mean = sum(weeks) / len(weeks) if weeks else 0.0
    if mean <= 0:
        return assumed
    squares = sum((week / mean - 1) ** 2 for week in weeks)
    return sqrt((weight * assumed**2 + squares) / (weight + len(weeks) - 1))
