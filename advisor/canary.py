"""Whether a trial of a newer model goes on: two models on shares of the same traffic, compared as the calls come.

A call of the trial goes to the newer model by a hash of its id, with a probability `share` that is known. So if the
newer model fails no more often, a failed call is one of its own with at most that probability, however often calls
fail at the hour, at whatever organization. The likelihood ratio of "it fails k times as often" against this, mixed over
k, is a martingale at failures: that it ever exceeds 1 / a has a probability of at most a (Ville's inequality). Hence it
may be looked at after every call, stopped at will, and multiplied over shares and organizations. The same holds for
calls that were tried again, that were cut, and that got a bad vote. Durations are compared likewise, by the normal
likelihoods of means of logarithms, which are nearly normal from fifty calls on; how much slower the newer model may be
is mixed over equally likely slices of a half-normal distribution, as in the test of Robbins (1970) that Johari et al.
(2017) use.

What an organization's own calls show counts in full. What others show (advisor.trial_pooling) is added in a second
ratio, so that it can never make up for the first; the mean of both counts. What bounds the others makes the second one
inexact: that it gives no more false alarms is shown by tests/advisor/test_trial_pooling.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, fsum, log
from typing import Literal

from advisor.rules import Rules

BASIS_POINTS = 10_000
STEPS = (500, 5_000, BASIS_POINTS)  # shares of a trial, in basis points; at the last one the pin has moved
RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0)  # how many times as often something may happen: equally likely beforehand
SLOWER = (1.05, 1.2, 1.3, 1.5, 1.8, 2.4)  # how many times as long as tolerated it may take: likewise
EVENTS = {"failed": "fails", "retried": "is tried again", "cut": "is cut", "disliked": "is voted down"}
SIGNALS = {**{signal: f"{verb} more often" for signal, verb in EVENTS.items()}, "slow": "takes longer"}

type Step = Literal["go_on", "next_step", "worse"]
type Evidence = Mapping[str, Sequence[float]]
"""By signal the logarithms of the likelihood ratios, one for each of `RATIOS` or `SLOWER`: what speaks for worse."""


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
    """Both models while the newer one had one share, at one organization."""

    share_basis_points: int  # above 0 and below 10,000
    old: Arm
    new: Arm


@dataclass(frozen=True, slots=True)
class Stage:
    """How far one trial is."""

    share_basis_points: int  # one of `STEPS` but the last
    calls: int  # of the newer model at this share, the organization's own
    hours: float  # since this step began
    calls_of_others: int = 0  # likewise, as far as they count


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and why, in a sentence for people: with figures only where the organization's own calls show it."""

    step: Step
    reason: str
    signal: str = ""  # of `SIGNALS`, where it is worse


NOTHING: Evidence = {signal: (0.0,) * len(RATIOS if signal in EVENTS else SLOWER) for signal in SIGNALS}


def judge(own: Sequence[Pair], stage: Stage, rules: Rules, others: Evidence = NOTHING) -> Verdict:
    """Compare all that is known of the two models, and say what becomes of a trial at this stage.

    `own` is everything that the organization's calls show, one pair for each share. It alone may end the trial, and
    nothing that others show makes up for it.
    """
    least = log(1 / rules.false_alarm)
    for signal, shown in evidence_of(own, rules).items():
        alone = mixed(shown)
        together = mixed([mine + theirs for mine, theirs in zip(shown, others[signal], strict=True)])
        if mixed((alone, together)) >= least:
            is_shown = alone >= least
            found = f"the newer model was found worse here of late: it {SIGNALS[signal]}"
            return Verdict("worse", _told(own, signal) if is_shown else found, signal)
    step = STEPS.index(stage.share_basis_points)
    least_calls, least_hours = rules.step_least_calls[step], rules.step_least_hours[step]
    is_long_enough = stage.hours >= least_hours and stage.calls + stage.calls_of_others >= least_calls
    if is_long_enough or stage.hours >= rules.step_most_hours[step]:
        return Verdict("next_step", f"nothing speaks against it after {stage.hours:.0f} hours and {stage.calls} calls")
    return Verdict("go_on", f"{stage.calls} of {least_calls} calls, {stage.hours:.0f} of {least_hours:.0f} hours")


def evidence_of(pairs: Sequence[Pair], rules: Rules) -> Evidence:
    """How much speaks for the newer model being worse, by signal; sums over shares, as their ratios are multiplied."""
    shown = {signal: _sums([_events(pair, signal, rules) for pair in pairs], NOTHING[signal]) for signal in EVENTS}
    return {**shown, "slow": _sums([_slowness(pair, rules) for pair in pairs], NOTHING["slow"])}


def mixed(logs: Sequence[float]) -> float:
    """The logarithm of the mean of the ratios that these are logarithms of."""
    top = max(logs)
    return top + log(fsum(exp(value - top) for value in logs) / len(logs))


def _sums(rows: Sequence[Sequence[float]], nothing: Sequence[float]) -> Sequence[float]:
    return [fsum(column) for column in zip(nothing, *rows, strict=True)]


def _events(pair: Pair, signal: str, rules: Rules) -> Sequence[float]:
    of_new, of_old = getattr(pair.new, signal), getattr(pair.old, signal)
    return [of_new * new + of_old * old for new, old in _weights(pair.share_basis_points, rules.tolerated_ratio)]


@lru_cache
def _weights(share_basis_points: int, tolerated_ratio: float) -> Sequence[tuple[float, float]]:
    """By ratio what one event of the newer model adds to the logarithm, and what one of the older model does."""
    share = share_basis_points / BASIS_POINTS
    least = _share_of_events(share, tolerated_ratio)
    expected = [_share_of_events(share, ratio) for ratio in RATIOS]
    return [(log(each / least), log((1 - each) / (1 - least))) for each in expected]


def _share_of_events(share: float, ratio: float) -> float:
    """Of all events those of the newer model, when it has this share of calls and this many times as many of them."""
    return share * ratio / (share * ratio + 1 - share)


def _slowness(pair: Pair, rules: Rules) -> Sequence[float]:
    """Of one share at a time, as the mix of calls may change from one to the next; nothing where calls are few."""
    old, new = pair.old, pair.new
    if min(old.timed, new.timed) < rules.least_latency_calls:
        return NOTHING["slow"]
    slower = new.log_ms / new.timed - old.log_ms / old.timed - log(rules.tolerated_slower)
    variance = _variance(old) / old.timed + _variance(new) / new.timed
    return [(slower - log(times) / 2) * log(times) / variance for times in SLOWER]


def _variance(arm: Arm) -> float:
    """Of the logarithms, never quite nothing."""
    mean = arm.log_ms / arm.timed
    return max(arm.log_ms_square / arm.timed - mean * mean, 1e-3)


def _told(pairs: Sequence[Pair], signal: str) -> str:
    arms = [pair.new for pair in pairs], [pair.old for pair in pairs]
    if signal == "slow":
        new_s, old_s = (exp(sum(arm.log_ms for arm in of) / sum(arm.timed for arm in of)) / 1_000 for of in arms)
        return f"the newer model takes {new_s:.1f} s where the older one takes {old_s:.1f} s"
    new, old = (_share(sum(getattr(arm, signal) for arm in of), sum(arm.calls for arm in of)) for of in arms)
    return f"the newer model {EVENTS[signal]} in {new} of calls, the older one in {old}"


def _share(hits: int, calls: int) -> str:
    return f"{hits / max(calls, 1):.1%} ({hits} of {calls})"
