"""What recommendations for one organization are made of, put in the order in which they are made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from math import fsum

from advisor.advice import Kind
from advisor.evidence import Candidate, Evidence, Landscape, Tally
from advisor.lengths import Lengths, lengths_of
from advisor.rules import Rules
from advisor.statistics import Bar, Normal

MONTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class Said:
    """An earlier recommendation, and what became of it: a state of `advisor.models.Advice`."""

    week: str  # ISO week, such as 2026-W47
    kind: Kind
    subject: str
    task: str
    model: str
    state: str
    saving_nano: int  # the expected one

    @property
    def monday(self) -> date:
        """The first day of its week."""
        year, week = self.week.split("-W")
        return date.fromisocalendar(int(year), int(week), 1)


@dataclass(frozen=True, slots=True)
class Work:
    """The calls of a task type that a pin would move: those that name `model`, and all that a policy or a pin answers.

    A pin holds for every call of its task type that does not name a model. So what another model would do to those is a
    part of any advice about the task, and the calls that name other models are not.
    """

    task: str
    model: str
    tallies: Sequence[Tally]

    @property
    def requests(self) -> float:
        """Of the window."""
        return fsum(tally.requests for tally in self.tallies)

    @property
    def seen(self) -> int:
        """Calls whose task type is known."""
        return sum(tally.seen for tally in self.tallies)

    @property
    def charge_nano(self) -> float:
        """Of the window."""
        return fsum(tally.charge_nano for tally in self.tallies)

    @property
    def by_week(self) -> list[float]:
        """Nano-USD of each week, the oldest first."""
        return [fsum(week) for week in zip(*(tally.by_week for tally in self.tallies), strict=True)]

    @property
    def is_named(self) -> bool:
        """Whether callers name the model, so that a pin moves only those who stop."""
        return any(tally.way == "named" for tally in self.tallies)

    @property
    def moved(self) -> "Work":
        """What a pin moves by itself, without what callers do: all that they do not name the model for.

        Where they name it for all of this work, whoever stops that brings it to the pin.
        """
        routed = [tally for tally in self.tallies if tally.way != "named"]
        return replace(self, tallies=routed) if 0 < len(routed) < len(self.tallies) else self

    def tokens(self, bucket: str) -> float:
        """Of the window."""
        return fsum(tally.tokens.get(bucket, 0.0) for tally in self.tallies)

    def weighty(self, share: float) -> list[Tally]:
        """The tallies that make up at least this share of the charge."""
        least = share * self.charge_nano
        return [tally for tally in self.tallies if tally.charge_nano >= least]


@dataclass(frozen=True, slots=True)
class Costs:
    """What one tally's work costs at some model, nano-USD of the window."""

    input: float
    output: float


@dataclass(frozen=True)
class Brief:
    """One organization's evidence, what there is to choose from, what was said before, and the thresholds."""

    evidence: Evidence
    landscape: Landscape
    history: Sequence[Said]
    rules: Rules
    # What advisor.promise and advisor.cost have found out already: one model is looked at for many kinds of work.
    able: dict[tuple[str, str], Sequence[Candidate]] = field(default_factory=dict)
    best_lows: dict[tuple[str, str, float], tuple[float, str]] = field(default_factory=dict)
    floors: dict[tuple[Normal, str, float], Bar] = field(default_factory=dict)
    votes: dict[tuple[str, str], tuple[float, float, float]] = field(default_factory=dict)
    costs: dict[tuple[str, str, str, str, str], Costs | None] = field(default_factory=dict)

    @cached_property
    def tallies(self) -> Sequence[Tally]:
        """In an order of their own, so that nothing depends on how they came."""
        return sorted(self.evidence.tallies, key=lambda tally: (tally.task, tally.model, tally.way, tally.policy))

    @cached_property
    def lengths(self) -> Lengths:
        """How much models write."""
        return lengths_of(self.landscape)

    @property
    def per_month(self) -> float:
        """From sums of the window to sums of a month."""
        return MONTH_DAYS / self.evidence.days

    @cached_property
    def candidates(self) -> Sequence[Candidate]:
        """The models that the organization may be told of: those its keys may call, and that are there to stay."""
        may_call = self.evidence.may_call
        return [
            model
            for id_, model in sorted(self.landscape.models.items())
            if (may_call is None or id_ in may_call) and model.deprecated_on is None and model.sunset_on is None
        ]

    @cached_property
    def works(self) -> Sequence[Work]:
        """Every kind of work there is, the dearest first; with however few calls."""
        found = [Work(task, model, tallies) for task, model, tallies in self._grouped()]
        return sorted(found, key=lambda work: (-work.charge_nano, work.task, work.model))

    def _grouped(self) -> Iterator[tuple[str, str, Sequence[Tally]]]:
        by_task: dict[str, list[Tally]] = {}
        for tally in self.tallies:
            if tally.task:
                by_task.setdefault(tally.task, []).append(tally)
        for task, tallies in by_task.items():
            named: dict[str, list[Tally]] = {}
            routed = [tally for tally in tallies if tally.way != "named"]
            if routed:
                dearest = max(routed, key=lambda tally: (tally.charge_nano, tally.model))
                named[dearest.model] = []
            for tally in tallies:
                if tally.way == "named":
                    named.setdefault(tally.model, []).append(tally)
            yield from ((task, model, [*own, *routed]) for model, own in named.items())

    def is_worth_a_word(self, work: Work) -> bool:
        """Whether there is enough of it, long enough, and still."""
        rules, weeks = self.rules, work.by_week
        much = work.requests >= rules.least_calls or work.charge_nano >= rules.least_charge_nano
        busy = sum(week > 0 for week in weeks) >= rules.least_weeks
        goes_on = busy and weeks[-1] >= rules.going_share * fsum(weeks) / len(weeks)
        return much and goes_on and work.seen >= rules.least_seen_calls

    def used(self) -> Mapping[str, float]:
        """Calls of the window by model."""
        calls: dict[str, float] = {}
        for tally in self.tallies:
            calls[tally.model] = calls.get(tally.model, 0.0) + tally.requests
        return calls
