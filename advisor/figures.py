"""Where an organization's money went, as its letter shows it. Pure; amounts are nano-USD with the fee."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, timedelta

import msgspec

from advisor.evidence import Evidence, Tally

DAYS_DRAWN = 28
LINES_MOST = 5  # of task types or of models; what is left is one line more


class Line(msgspec.Struct, frozen=True):
    """One task type or model: in the week that is told of, and in the week before. `name` is empty for the rest."""

    name: str
    nano: int
    before_nano: int


class Figures(msgspec.Struct, frozen=True):
    """What a digest tells beside its advice; stored with it, so that a letter that repeats says the same."""

    last_day: date  # the Sunday that ends the week
    nano: int
    before_nano: int
    tasks: list[Line]
    models: list[Line]
    days: list[int]  # of the last `DAYS_DRAWN` days, the oldest first

    @property
    def first_day(self) -> date:
        """The Monday of that week."""
        return self.last_day - timedelta(days=6)


def figures_of(evidence: Evidence, daily_nano: Sequence[int]) -> Figures:
    """The letter's figures from what is known of an organization, and its charges of each day up to `through`.

    The sums are the days', which are exact; of the task types some is estimated (`advisor.evidence.Tally`).
    """
    days = [0] * (DAYS_DRAWN - len(daily_nano)) + list(daily_nano[-DAYS_DRAWN:])
    return Figures(
        last_day=evidence.through,
        nano=sum(days[-7:]),
        before_nano=sum(days[-14:-7]),
        tasks=_lines(evidence.tallies, lambda tally: tally.task),
        models=_lines(evidence.tallies, lambda tally: tally.model),
        days=days,
    )


def _lines(tallies: Sequence[Tally], name_of: Callable[[Tally], str]) -> list[Line]:
    """The largest by what they took in the two weeks, and one for the rest; none for what took nothing."""
    now: defaultdict[str, float] = defaultdict(float)
    before: defaultdict[str, float] = defaultdict(float)
    for tally in tallies:
        weeks = [0.0, 0.0, *tally.by_week]
        now[name_of(tally)] += weeks[-1]
        before[name_of(tally)] += weeks[-2]
    names = sorted((name for name in now if now[name] + before[name] >= 1), key=lambda name: (-now[name], name))
    lines = [Line(name, round(now[name]), round(before[name])) for name in names]
    if len(lines) <= LINES_MOST + 1:
        return lines
    rest = lines[LINES_MOST:]
    return [*lines[:LINES_MOST], Line("", sum(line.nano for line in rest), sum(line.before_nano for line in rest))]
