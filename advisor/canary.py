"""Whether a trial of a newer model goes on: two models on shares of the same traffic, compared as the calls come.

A call of the trial goes to the newer model by a hash of its id, with a probability `share` that is known. So if the
newer model fails no more often, a failed call is one of its own with at most that probability, however often calls
fail at the hour, at whatever organization. The likelihood ratio of "it fails k times as often" against this, mixed over
k, is a martingale at failures: that it ever exceeds 1 / a has a probability of at most a (Ville's inequality). Hence it
may be looked at after every call, stopped at will, and multiplied over shares and organizations. The same holds for
calls that were tried again, that were cut, and that got a bad vote. Durations are compared by the mixture sequential
probability ratio test of Robbins (1970), as Johari et al. (2017) use it, on means of logarithms, which are nearly
normal from fifty calls on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, fsum, log, sqrt
from typing import Literal

from advisor.rules import Rules
from advisor.statistics import normal_cdf

BASIS_POINTS = 10_000
STEPS = (500, 5_000, BASIS_POINTS)  # shares of a trial, in basis points; at the last one the pin has moved
RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0)  # how many times as often something may happen: equally likely beforehand
FASTEST = -30.0  # standard errors: beyond it the normal distribution is 0 to a float

type Step = Literal["go_on", "next_step", "worse"]


@dataclass(frozen=True, slots=True)
class Arm:
    """What one model did in a trial."""

    calls: int = 0
    failed: int = 0  # by the provider's fault
    retried: int = 0  # took more than one attempt
    cut: int = 0  # ended by their own limit of output
    disliked: int = 0  # got a vote below a half
    timed: int = 0  # calls that ended well
    log_ms: float = 0.0  # sums over those of the natural logarithm of their milliseconds, and of its square
    log_ms_square: float = 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Both models while the newer one had one share, over all organizations that tried it with that share."""

    share_basis_points: int  # above 0 and below 10,000
    old: Arm
    new: Arm


@dataclass(frozen=True, slots=True)
class Stage:
    """How far one trial is."""

    share_basis_points: int  # one of `STEPS` but the last
    calls: int  # of the newer model at this share, whoever tried it
    hours: float  # since this step began


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and why, in a sentence for people."""

    step: Step
    reason: str


SIGNALS = {"failed": "fails", "retried": "is tried again", "cut": "is cut", "disliked": "is voted down"}


def judge(pairs: Sequence[Pair], stage: Stage, rules: Rules) -> Verdict:
    """Compare all that is known of the two models, and say what becomes of a trial at this stage.

    `pairs` is everything since the first organization began to try, one for each share.
    """
    for signal, verb in SIGNALS.items():
        if events_evidence(pairs, signal, rules) >= log(1 / rules.false_alarm):
            return Verdict("worse", _rates(pairs, signal, verb))
    if latency_evidence(pairs, rules) >= log(1 / rules.false_alarm):
        old, new = (exp(_mean(arms)) / 1_000 for arms in _arms(pairs))
        return Verdict("worse", f"the newer model takes {new:.1f} s where the older one takes {old:.1f} s")
    step = STEPS.index(stage.share_basis_points)
    least_calls, least_hours = rules.step_least_calls[step], rules.step_least_hours[step]
    is_long_enough = stage.hours >= least_hours and stage.calls >= least_calls
    if is_long_enough or stage.hours >= rules.step_most_hours[step]:
        return Verdict("next_step", f"nothing speaks against it after {stage.hours:.0f} hours and {stage.calls} calls")
    return Verdict("go_on", f"{stage.calls} of {least_calls} calls, {stage.hours:.0f} of {least_hours:.0f} hours")


def events_evidence(pairs: Iterable[Pair], signal: str, rules: Rules) -> float:
    """The logarithm of the mixed likelihood ratio: how much speaks for the newer model being worse in this."""
    ratios = [0.0] * len(RATIOS)
    for pair in pairs:
        share = pair.share_basis_points / BASIS_POINTS
        of_new, of_old = getattr(pair.new, signal), getattr(pair.old, signal)
        least = _share_of_events(share, rules.tolerated_ratio)
        for i, ratio in enumerate(RATIOS):
            expected = _share_of_events(share, ratio)
            ratios[i] += of_new * log(expected / least) + of_old * log((1 - expected) / (1 - least))
    top = max(ratios)
    return top + log(fsum(exp(value - top) for value in ratios) / len(RATIOS))


def _share_of_events(share: float, ratio: float) -> float:
    """Of all events those of the newer model, when it has this share of calls and this many times as many of them."""
    return share * ratio / (share * ratio + 1 - share)


def latency_evidence(pairs: Sequence[Pair], rules: Rules) -> float:
    """The same for durations, mixed over a half-normal slowness; nothing where there are too few calls.

    One share at a time, as the mix of calls may change from one to the next; their ratios are multiplied.
    """
    return sum(_slowness(pair, rules) for pair in pairs)


def _slowness(pair: Pair, rules: Rules) -> float:
    old, new = pair.old, pair.new
    if min(old.timed, new.timed) < rules.least_latency_calls:
        return 0.0
    slower = new.log_ms / new.timed - old.log_ms / old.timed - log(rules.tolerated_slower)
    variance = _variance(old) / old.timed + _variance(new) / new.timed
    mixed = rules.latency_scale**2
    z = max(slower * sqrt(mixed / (variance * (variance + mixed))), FASTEST)
    return z * z / 2 + log(2 * normal_cdf(z)) - 0.5 * log((variance + mixed) / variance)


def _variance(arm: Arm) -> float:
    """Of the logarithms, never quite nothing."""
    mean = arm.log_ms / arm.timed
    return max(arm.log_ms_square / arm.timed - mean * mean, 1e-3)


def _arms(pairs: Sequence[Pair]) -> tuple[list[Arm], list[Arm]]:
    return [pair.old for pair in pairs], [pair.new for pair in pairs]


def _mean(arms: Sequence[Arm]) -> float:
    return sum(arm.log_ms for arm in arms) / sum(arm.timed for arm in arms)


def _rates(pairs: Sequence[Pair], signal: str, verb: str) -> str:
    old, new = ((sum(getattr(arm, signal) for arm in arms), sum(arm.calls for arm in arms)) for arms in _arms(pairs))
    return f"the newer model {verb} in {_share(*new)} of calls, the older one in {_share(*old)}"


def _share(hits: int, calls: int) -> str:
    return f"{hits / max(calls, 1):.1%} ({hits} of {calls})"
