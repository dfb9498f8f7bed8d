"""When a model in use is in trouble now, by one organization's own calls. Pure: no clock, no database, no file.

Compared are the last two hours with the four weeks before. Thresholds are those of advisor.rules.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, log, sqrt

import numpy as np

from advisor.advice import Kind
from advisor.rules import Rules
from advisor.statistics import Floats, normal_cdf, probability_raised

WINDOW = timedelta(hours=2)
LATEST = timedelta(minutes=30)  # of the window: what is over by then is no news
type Figures = Mapping[str, float | int | str]


@dataclass(frozen=True, slots=True)
class Tried:
    """Calls that one model was to answer. Lengths and durations are of answers that were whole."""

    calls: int = 0
    failed: int = 0  # of them: the provider's fault, whatever became of the call
    rescued: int = 0  # of these: another model answered
    answered: int = 0
    log_ms: float = 0.0  # sum of the natural logarithms of durations in milliseconds, and of their squares
    log_ms_square: float = 0.0
    log_output: float = 0.0  # likewise of output tokens
    log_output_square: float = 0.0

    def __add__(self, other: "Tried") -> "Tried":
        """Both together."""
        return Tried(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    @property
    def failed_share(self) -> float:
        """Failures in all calls; 0 without any."""
        return self.failed / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Slot:
    """A quarter of an hour of them."""

    starts_at: datetime
    tried: Tried


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong with a model, with the figures that it rests on, by name."""

    kind: Kind  # failing, slow or ending
    model: str
    confidence: float
    figures: Figures


@dataclass(frozen=True, slots=True)
class Lately:
    """What one model did for one organization in a window that ends with `ends_at`, and what it did before."""

    model: str
    slots: Sequence[Slot]  # those with calls in them, the oldest first
    ends_at: datetime
    usual: Tried

    @property
    def whole(self) -> Tried:
        """The window's sums."""
        return _sum(self.slots)

    @property
    def latest(self) -> Tried:
        """Those of its last half-hour."""
        return _sum(slot for slot in self.slots if slot.starts_at >= self.ends_at - LATEST)

    def since(self, excess: Callable[[Tried], float]) -> Sequence[Slot]:
        """The slots from where it began: those to the end whose excess over what is usual adds up to most (CUSUM)."""
        sums = np.cumsum([excess(slot.tried) for slot in reversed(self.slots)])
        return self.slots[len(self.slots) - 1 - int(np.argmax(sums)) :]


def alarm_of(lately: Lately, rules: Rules) -> Alarm | None:
    """What is wrong with the model now, if anything is: of failing and slow the former."""
    whole, latest = lately.whole, lately.latest
    is_used = latest.calls >= rules.alert_least_share * whole.calls
    if whole.calls < rules.alert_least_calls or not is_used:
        return None
    return _failing(lately, rules) or _slow(lately, rules)


def _failing(lately: Lately, rules: Rules) -> Alarm | None:
    """At least twice as often as usual and by five points, beyond chance in the window, and in its last half-hour."""
    whole, usual = lately.whole, lately.usual

    def least(rates: Floats) -> Floats:
        found: Floats = np.maximum(rates * rules.alert_failing_ratio, rates + rules.alert_failing_more)
        return found

    bar = float(least(np.array(usual.failed_share)))
    if whole.failed < rules.alert_least_failed or min(whole.failed_share, lately.latest.failed_share) < bar:
        return None
    chance = probability_raised((whole.failed, whole.calls), (usual.failed, usual.calls), least)
    if chance < rules.alert_confidence:
        return None
    middle = (usual.failed_share + bar) / 2
    slots = lately.since(lambda tried: tried.failed - tried.calls * middle)
    tried = _sum(slots)
    figures: Figures = {
        **_when(slots, tried),
        "now_failed": tried.failed,
        "now_rescued": tried.rescued,
        "failed_share": round(tried.failed_share, 4),
        "failed_share_before": round(usual.failed_share, 4),
    }
    return Alarm(Kind.FAILING, lately.model, chance, figures)


def _slow(lately: Lately, rules: Rules) -> Alarm | None:
    """Answers take at least twice as long as usual, beyond chance, and more than they are longer."""
    whole, usual = lately.whole, lately.usual
    if min(whole.answered, usual.answered) < rules.alert_least_calls or not lately.latest.answered:
        return None
    ratio = log(rules.alert_slower_ratio)
    slower, error = _slower(whole, usual)
    if min(slower, _slower(lately.latest, usual)[0]) < ratio or error == 0:
        return None
    chance = normal_cdf((slower - ratio) / error)
    if chance < rules.alert_confidence:
        return None
    middle = whole.log_ms / whole.answered - slower + ratio / 2  # between what is usual for their length and twice that
    slots = lately.since(lambda tried: tried.log_ms - tried.answered * middle)
    tried = _sum(slots)
    figures: Figures = {
        **_when(slots, tried),
        "times": round(exp(_slower(tried, usual)[0]), 1),
        "log_ms": round(tried.log_ms / tried.answered, 3),
        "log_ms_before": round(usual.log_ms / usual.answered, 3),
    }
    return Alarm(Kind.SLOW, lately.model, chance, figures)


def _slower(now: Tried, usual: Tried) -> tuple[float, float]:
    """By how much durations grew beyond lengths, as a difference of mean logarithms, and its standard error.

    Answers that are twice as long may take twice as long. Shorter ones do not have to be quicker.
    """
    ms = now.log_ms / now.answered - usual.log_ms / usual.answered
    output = now.log_output / now.answered - usual.log_output / usual.answered
    variance = 0.0
    for tried in (now, usual):
        for total, square in ((tried.log_ms, tried.log_ms_square), (tried.log_output, tried.log_output_square)):
            variance += max(square / tried.answered - (total / tried.answered) ** 2, 0.0) / tried.answered
    return ms - max(output, 0.0), sqrt(variance)


def _when(slots: Sequence[Slot], tried: Tried) -> dict[str, float | int | str]:
    return {"since": slots[0].starts_at.isoformat(), "now_calls": tried.calls}


def _sum(slots: Iterable[Slot]) -> Tried:
    return sum((slot.tried for slot in slots), Tried())
