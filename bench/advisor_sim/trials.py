"""Trials of upgrades, good and bad, hour by hour, over the traffic of all that try them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from advisor.canary import BASIS_POINTS, STEPS, Arm, Pair, Stage, judge
from advisor.rules import Rules

HOURS = 24 * 40
DAY_HOURS = 24
A_DAY_SHOWS = 75  # calls an hour: with fewer it takes longer, and no more bad calls
LEAST_HOURLY = 5
BY_VOTES = "disliked"
SPREAD = 0.8  # of the logarithm of a duration


@dataclass(frozen=True, slots=True)
class Nature:
    """A model's true behaviour, by rates."""

    failed: float
    retried: float
    cut: float
    disliked: float
    log_ms: float


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of one trial; `fault` is what is bad about the model, or empty."""

    fault: str
    hourly: float
    bad_calls: int  # that it answered
    rolled_back_after_h: int | None
    moved_after_h: int | None


def run(seed: int, pools: Sequence[float], count: int = 100) -> list[Ended]:
    """So many trials, half of them of bad models, each over one of these pools: pinned calls an hour."""
    rng = np.random.default_rng([seed, 1])
    busy = [pool for pool in pools if pool >= LEAST_HOURLY]
    faults = zip(_faults(), range(count), strict=False)
    return [_trial(rng, fault, float(rng.choice(busy))) for fault, _ in faults] if busy else []


def _faults() -> Iterator[str]:
    while True:
        yield from ("", "failed", "", "retried", "", "cut", "", "log_ms", "", BY_VOTES)


def _trial(rng: np.random.Generator, fault: str, hourly: float) -> Ended:
    rates = {name: float(rng.uniform(0.002, 0.04)) for name in ("failed", "retried", "cut")}
    old = Nature(**rates, disliked=float(rng.uniform(0.002, 0.01)), log_ms=8.0)
    # Even a good one differs a little: a newer model is not the older one.
    better = {name: rate * float(rng.uniform(0.6, 1.0)) for name, rate in rates.items()}
    values = {
        **better,
        "disliked": old.disliked * float(rng.uniform(0.6, 1.0)),
        "log_ms": 8.0 + float(rng.normal(-0.1, 0.1)),
    }
    if fault == "log_ms":
        values["log_ms"] = 8.0 + log(float(rng.uniform(1.7, 3.0)))
    elif fault == "disliked":
        values["disliked"] = old.disliked * float(rng.uniform(4, 8))
    elif fault:
        values[fault] = rates[fault] + float(rng.uniform(0.08, 0.2))
    return _follow(rng, (old, Nature(**values)), hourly, fault)


def _follow(rng: np.random.Generator, natures: tuple[Nature, Nature], hourly: float, fault: str) -> Ended:
    old, new = natures
    arms = {share: (Arm(), Arm()) for share in STEPS[:-1]}
    step, hours = 0, 0.0
    for hour in range(1, HOURS + 1):
        share = STEPS[step]
        outage = 0.3 if rng.random() < 0.01 else 0.0  # that both are hit by
        calls = int(rng.poisson(hourly * float(rng.lognormal(-0.08, 0.4))))
        of_new = int(rng.binomial(calls, share / BASIS_POINTS))
        before = arms[share]
        arms[share] = (
            _more(rng, before[0], old, (calls - of_new, outage)),
            _more(rng, before[1], new, (of_new, outage)),
        )
        hours += 1
        pairs = [Pair(basis_points, *both) for basis_points, both in arms.items()]
        verdict = judge(pairs, Stage(share, arms[share][1].calls, hours), Rules())
        if verdict.step == "worse":
            return Ended(fault, hourly, sum(new.calls for _, new in arms.values()), hour, None)
        if verdict.step == "next_step":
            step, hours = step + 1, 0.0
            if STEPS[step] == BASIS_POINTS:
                return Ended(fault, hourly, sum(new.calls for _, new in arms.values()), None, hour)
    return Ended(fault, hourly, sum(new.calls for _, new in arms.values()), None, None)


def _more(rng: np.random.Generator, arm: Arm, nature: Nature, traffic: tuple[int, float]) -> Arm:
    calls, outage = traffic
    failed = int(rng.binomial(calls, min(nature.failed + outage, 1.0)))
    timed = calls - failed
    mean = nature.log_ms + (float(rng.normal(0, SPREAD / timed**0.5)) if timed else 0.0)
    return Arm(
        calls=arm.calls + calls,
        failed=arm.failed + failed,
        retried=arm.retried + int(rng.binomial(calls, min(nature.retried + outage, 1.0))),
        cut=arm.cut + int(rng.binomial(calls, nature.cut)),
        disliked=arm.disliked + int(rng.binomial(calls, nature.disliked)),
        timed=arm.timed + timed,
        log_ms=arm.log_ms + timed * mean,
        log_ms_square=arm.log_ms_square + timed * (mean**2 + SPREAD**2),
    )
