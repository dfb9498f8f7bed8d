"""Trials of upgrades, good and bad, hour by hour, of all organizations that try the same model at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from math import log

import numpy as np

from advisor.canary import BASIS_POINTS, STEPS, Arm, Pair, Stage, judge
from advisor.rules import Rules
from advisor.statistics import Floats
from advisor.trial_pooling import Pool

HOURS = 24 * 40
DAY_HOURS = 24
A_DAY_SHOWS = 75  # calls an hour: with fewer it takes longer, and no more bad calls
LEAST_HOURLY = 5  # of an organization whose trial is counted; those with less take part
LOOKS_EACH_HOUR = 48  # from the beginning; later there is one look in four hours
SHARES = STEPS[:-1]
BY_VOTES = "disliked"
SPREAD = 0.8  # of the logarithm of a duration


type Counts = np.ndarray[tuple[int, ...], np.dtype[np.integer]]


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
    """What became of one organization's trial; `fault` is what is bad about the model, or empty."""

    fault: str
    hourly: float  # the organization's pinned calls
    bad_calls: int  # that the newer model answered
    rolled_back_after_h: int | None
    moved_after_h: int | None


def run(seed: int, pools: Sequence[Sequence[float]], count: int = 40) -> list[Ended]:
    """So many newer models, half of them bad, each tried by one of these pools: organizations' pinned calls an hour."""
    rng = np.random.default_rng([seed, 1])
    busy = [pool for pool in pools if max(pool) >= LEAST_HOURLY]
    faults = zip(_faults(), range(count), strict=False)
    return [one for fault, _ in faults for one in _trial(rng, fault, busy[rng.integers(len(busy))])] if busy else []


def _faults() -> Iterator[str]:
    while True:
        yield from ("", "failed", "", "retried", "", "cut", "", "log_ms", "", BY_VOTES)


def _trial(rng: np.random.Generator, fault: str, pool: Sequence[float]) -> list[Ended]:
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
    return _follow(rng, (old, Nature(**values)), pool, fault)


def _follow(rng: np.random.Generator, natures: tuple[Nature, Nature], pool: Sequence[float], fault: str) -> list[Ended]:
    count, hourly = len(pool), np.array(pool)
    sums = np.zeros((count, len(SHARES), len(natures), len(fields(Arm))))
    steps, begun, running = np.zeros(count, dtype=int), np.zeros(count), set(range(count))
    shown: dict[int, list[Pair]] = {}
    ended = {}
    for hour in range(1, HOURS + 1):
        outage = 0.3 if rng.random() < 0.01 else 0.0  # that both are hit by
        busy = np.array([key in running for key in range(count)])
        calls = rng.poisson(hourly * rng.lognormal(-0.08, 0.4, count)) * busy
        of_new = rng.binomial(calls, np.array(STEPS)[steps] / BASIS_POINTS)
        for arm, (nature, had) in enumerate(zip(natures, (calls - of_new, of_new), strict=True)):
            sums[np.arange(count)[busy], steps[busy], arm] += _drawn(rng, nature, had, outage)[busy]
        if hour > LOOKS_EACH_HOUR and hour % 4:
            continue
        for key in running:
            arms = [[Arm(*of.tolist()) for of in both] for both in sums[key]]
            shown[key] = [Pair(share, *both) for share, both in zip(SHARES, arms, strict=True)]
        all_of_them = Pool(shown, shown, Rules())
        for key in sorted(running):
            step = steps[key]
            others = all_of_them.calls_without(key, SHARES[step])
            stage = Stage(SHARES[step], shown[key][step].new.calls, hour - begun[key], others)
            verdict = judge(shown[key], stage, Rules(), all_of_them.evidence_without(key))
            if verdict.step == "next_step":
                steps[key], begun[key] = step + 1, hour
            is_moved = STEPS[steps[key]] == BASIS_POINTS
            if verdict.step == "worse" or is_moved:
                running.remove(key)
                bad = sum(int(pair.new.calls) for pair in shown[key])
                ended[key] = Ended(fault, pool[key], bad, *((None, hour) if is_moved else (hour, None)))
        if not running:
            break
    assert not running, "the clock ends a trial that nothing else does"
    return [ended[key] for key in sorted(ended) if pool[key] >= LEAST_HOURLY]


def _drawn(rng: np.random.Generator, nature: Nature, calls: Counts, outage: float) -> Floats:
    """What so many calls of each organization show, in the order of the fields of `Arm`."""
    failed = rng.binomial(calls, min(nature.failed + outage, 1.0))
    timed = calls - failed
    mean = nature.log_ms + rng.normal(0, SPREAD, len(calls)) / np.sqrt(np.maximum(timed, 1))
    rates = (min(nature.retried + outage, 1.0), nature.cut, nature.disliked)
    events = [rng.binomial(calls, rate) for rate in rates]
    return np.stack([calls, failed, *events, timed, timed * mean, timed * (mean**2 + SPREAD**2)], axis=1)
