"""What accepted advice brought, against what would have been without it. Pure; amounts are nano-USD with the fee.

Without the advice the model that was in use before would have answered the same calls: the same input tokens, and the
output tokens divided by the ratio of lengths that the promise assumed. So the volume of a week makes no difference to
whether a promise was kept, and a model that writes more than was thought shows as a smaller saving.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from advisor.cost import costs_at
from advisor.evidence import OUTPUT, Candidate, Tally

MONTH_DAYS = 30
WEEK_DAYS = 7
LEAST_WEEKS = 2  # that are measured before anything is called kept or broken


class Verdict(StrEnum):
    """How a promise came out so far."""

    EARLY = "early"  # too few weeks, or no calls in them
    MORE = "more"  # above the interval that was promised
    KEPT = "kept"  # inside of it
    LESS = "less"  # below its low end


@dataclass(frozen=True, slots=True)
class Week:
    """One measured week of one advice."""

    week: str  # such as 2026-W47
    requests: int
    actual_nano: int
    without_nano: int

    @property
    def saved_nano(self) -> int:
        """Below zero where the advice made it dearer."""
        return self.without_nano - self.actual_nano


def without(tallies: Iterable[Tally], before: Candidate, length_ratio: float) -> int | None:
    """What the model that was in use before would have cost for these calls; None where it has no price for them.

    `length_ratio`: how many tokens the new model was expected to write for each of the old one's.
    """
    total = 0.0
    for tally in tallies:
        tokens = {bucket: units / length_ratio if bucket in OUTPUT else units for bucket, units in tally.tokens.items()}
        costs = costs_at(before, replace(tally, tokens=tokens))
        if costs is None:
            return None
        total += costs.input + costs.output
    return round(total)


def a_month(weeks: Iterable[Week]) -> int:
    """The saving of these weeks as that of 30 days; the weeks without a call count as they are."""
    found = list(weeks)
    return sum(week.saved_nano for week in found) * MONTH_DAYS // (WEEK_DAYS * len(found)) if found else 0


def judge(promised: tuple[int, int], weeks: Iterable[Week]) -> Verdict:
    """How a promise (the low and the high end of its interval, a month) came out."""
    low, high = promised
    measured = list(weeks)
    if len(measured) < LEAST_WEEKS or not any(week.requests for week in measured):
        return Verdict.EARLY
    saved = a_month(measured)
    if saved > high:
        return Verdict.MORE
    return Verdict.KEPT if saved >= low else Verdict.LESS


@dataclass(frozen=True, slots=True)
class HitRate:
    """Of the promises that can be judged by now, those that were kept or outdone."""

    judged: int
    hit: int

    @property
    def percent(self) -> int | None:
        """None without any."""
        return round(100 * self.hit / self.judged) if self.judged else None


def hit_rate(promises: Mapping[tuple[int, int, int], Iterable[Week]]) -> HitRate:
    """Over advice: (any number that tells it from others, low end, high end) -> its measured weeks."""
    verdicts = [judge((low, high), weeks) for (_, low, high), weeks in promises.items()]
    judged = [verdict for verdict in verdicts if verdict is not Verdict.EARLY]
    return HitRate(len(judged), sum(verdict is not Verdict.LESS for verdict in judged))
