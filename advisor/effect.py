"""What accepted advice brought, against what would have been without it. Pure; amounts are nano-USD with the fee.

Without the advice the models that answered before would have answered these calls too, each its part of them, and used
for each what they used in the window of the advice: read what they read, from a cache or not, for as many tokens of
input; and written what they wrote for as many answers. So how much the new model writes and caches shows as it is, and
the promise grows and shrinks with the work: more or fewer calls neither keep nor break it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from advisor.brief import Costs
from advisor.cost import costs_at
from advisor.evidence import Candidate, Tally
from advisor.moved import Moved, Signals, answered

MONTH_DAYS = 30
WEEK_DAYS = 7
LEAST_WEEKS = 2  # with calls, that are measured before anything is called kept or broken


class Verdict(StrEnum):
    """How a promise came out so far."""

    EARLY = "early"  # too few weeks with calls
    MORE = "more"  # above the interval that was promised
    KEPT = "kept"  # inside of it
    LESS = "less"  # below its low end
    UNKNOWN = "unknown"  # a model that was in use before has no price any more, so nothing can be compared


@dataclass(frozen=True, slots=True)
class Compared:
    """The same work without the advice, and the ends of what was promised for as much of it."""

    without_nano: int
    low_nano: int
    high_nano: int


@dataclass(frozen=True, slots=True)
class Week:
    """One measured week of one advice."""

    week: str  # such as 2026-W47
    requests: int
    actual_nano: int
    compared: Compared | None  # None where nothing can be compared
    signals: Signals

    @property
    def without_nano(self) -> int | None:
        """None where that cannot be known."""
        return None if self.compared is None else self.compared.without_nano

    @property
    def saved_nano(self) -> int | None:
        """Below zero where the advice made it dearer; None where that cannot be known."""
        return None if self.without_nano is None else self.without_nano - self.actual_nano


def costs_before(moved: Moved, models: Mapping[str, Candidate]) -> Costs | None:
    """What the work of the window would cost at today's prices of its models.

    None where one of them has no price for it any more, or nothing of it was answered: then nothing can be compared.
    """
    reading, writing = 0.0, 0.0
    for name, used in moved.models.items():
        alone = Tally("", name, "pinned", "", used.requests, 0, used.tokens, 0.0, ())
        costs = costs_at(models[name], alone) if name in models else None
        if costs is None:
            return None
        reading += costs.input
        writing += costs.output
    return Costs(reading, writing) if moved.answered and moved.input_tokens else None


def compare(moved: Moved, before: Costs, now: Tally) -> Compared:
    """What the calls of `now` would have cost without the advice, and what was promised for as much work.

    `before`: `costs_before` of the same work.
    """
    answers = answered(now) / moved.answered
    without = before.input * now.input_tokens / moved.input_tokens + before.output * answers
    was = before.input + before.output
    volume = without / was if was else answers
    return Compared(round(without), round(moved.low_nano * volume), round(moved.high_nano * volume))


def savings(weeks: Iterable[Week]) -> list[int]:
    """Of the weeks whose saving is known."""
    return [week.saved_nano for week in weeks if week.saved_nano is not None]


def a_month(weeks: Iterable[Week]) -> int | None:
    """The saving of these weeks as that of 30 days, those without a call as well; None where none is known."""
    return _of_30_days(savings(weeks))


def promised_a_month(weeks: Iterable[Week]) -> int | None:
    """The low end of what was promised for as much work as in these weeks, likewise."""
    return _of_30_days([week.compared.low_nano for week in weeks if week.compared is not None])


def _of_30_days(by_week: Sequence[int]) -> int | None:
    return sum(by_week) * MONTH_DAYS // (WEEK_DAYS * len(by_week)) if by_week else None


def judge(weeks: Iterable[Week]) -> Verdict:
    """How a promise came out, over all weeks together."""
    measured = list(weeks)
    known = [week.compared for week in measured if week.compared is not None]
    if sum(week.requests > 0 for week in measured if week.compared is not None) < LEAST_WEEKS:
        return Verdict.EARLY if len(known) == len(measured) else Verdict.UNKNOWN
    saved = sum(savings(measured))
    if saved > sum(compared.high_nano for compared in known):
        return Verdict.MORE
    return Verdict.KEPT if saved >= sum(compared.low_nano for compared in known) else Verdict.LESS


@dataclass(frozen=True, slots=True)
class HitRate:
    """Of the promises that can be judged by now, those that were kept or outdone."""

    judged: int
    hit: int

    @property
    def percent(self) -> int | None:
        """None without any."""
        return round(100 * self.hit / self.judged) if self.judged else None


def hit_rate(verdicts: Iterable[Verdict]) -> HitRate:
    """Over these promises."""
    judged = [verdict for verdict in verdicts if verdict not in {Verdict.EARLY, Verdict.UNKNOWN}]
    return HitRate(len(judged), sum(verdict is not Verdict.LESS for verdict in judged))
