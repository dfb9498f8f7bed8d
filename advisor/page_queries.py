"""What `/dashboard/advisor` shows of one organization."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import msgspec
from django.db.models import Count, F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from accounts.models import Tier
from advisor.actions.samples import CASES_MOST
from advisor.advice import PINS
from advisor.effect import (
    LEAST_WEEKS,
    Compared,
    HitRate,
    Verdict,
    Week,
    a_month,
    hit_rate,
    judge,
    promised_a_month,
    savings,
)
from advisor.models import Advice, DayEvidence, Effect, EvaluationCase, PromptSample, SampleChoice
from advisor.moved import Moved, Signals
from advisor.words import Said, said

MOST = 100  # pieces of advice
HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class Outcome:
    """An accepted advice with what it brought so far."""

    advice: Advice
    words: Said
    weeks: Sequence[Week]
    before: Signals | None  # how the calls went that the pin moved, in the window of the advice
    verdict: Verdict

    @property
    def a_month_nano(self) -> int | None:
        """What it really saves a month; None where that is not known."""
        return a_month(self.weeks)

    @property
    def least_a_month_nano(self) -> int | None:
        """The low end of what was promised for as much work as there was, a month; None where that is not known."""
        return promised_a_month(self.weeks)

    @property
    def saved_nano(self) -> int:
        """Over all weeks in which that is known."""
        return sum(savings(self.weeks))

    @property
    def weeks_compared(self) -> int:
        """In how many weeks that is known."""
        return len(savings(self.weeks))

    @property
    def has_nothing_to_compare(self) -> bool:
        """Whether a model that was in use before had no price any more in some of the weeks."""
        return self.weeks_compared < len(self.weeks)


@dataclass(frozen=True, slots=True)
class Board:
    """Advice by what became of it."""

    waiting: Sequence[Advice]  # the newest week first, in it the most valuable
    outcomes: Sequence[Outcome]  # what was accepted last, first


@dataclass(frozen=True, slots=True)
class Prompts:
    """Whether prompts may be kept, and how many are. `choice` is None where nobody was asked."""

    choice: SampleChoice | None
    kept: int


def board_of(organization_id: int, now: datetime) -> Board:
    """What can be answered, and what was accepted."""
    is_open = Q(state=Advice.State.OPEN, expires_on__gte=now.date())
    was_accepted = Q(state=Advice.State.ACCEPTED, kind__in=PINS)
    rows = list(Advice.objects.filter(is_open | was_accepted, organization_id=organization_id).order_by("-pk")[:MOST])
    accepted = [row for row in rows if row.state == Advice.State.ACCEPTED]
    newest_first = sorted(accepted, key=lambda row: row.state_at, reverse=True)
    waiting = sorted((row for row in rows if row.state == Advice.State.OPEN), key=lambda row: row.rank)
    waiting.sort(key=lambda row: row.week, reverse=True)
    return Board(waiting, outcomes_of(newest_first))


def outcomes_of(accepted: Sequence[Advice]) -> list[Outcome]:
    """What each of these brought, in the same order; one query."""
    weeks: defaultdict[int, list[Week]] = defaultdict(list)
    for effect in Effect.objects.filter(advice__in=accepted).order_by("week") if accepted else ():
        weeks[effect.advice_id].append(_week(effect))
    return [_outcome(row, weeks[row.pk]) for row in accepted]


def _week(effect: Effect) -> Week:
    amounts = (effect.without_nano, effect.low_nano, effect.high_nano)
    known = [nano for nano in amounts if nano is not None]  # all or none, the database sees to it
    return Week(
        week=effect.week,
        requests=effect.requests,
        actual_nano=effect.actual_nano,
        compared=Compared(*known) if known else None,
        signals=msgspec.convert(effect.signals, Signals),
    )


def _outcome(row: Advice, weeks: Sequence[Week]) -> Outcome:
    moved = row.evidence.get("moved")
    before = None if moved is None else msgspec.convert(moved, Moved).signals
    return Outcome(row, said(row), weeks, before, judge(weeks))


def hits_of(outcomes: Iterable[Outcome]) -> HitRate:
    """The hit rate over these."""
    return hit_rate(each.verdict for each in outcomes if each.advice.saving_mid_nano > 0)


def hits_of_all(now: datetime) -> HitRate:
    """The same over all organizations; counted once an hour in each process."""
    return _hits_in_hour(int(now.timestamp()) // HOUR_S)


@lru_cache(maxsize=1)
def _hits_in_hour(hour: int) -> HitRate:
    """`hour` only says how long it holds."""
    paying = Effect.objects.exclude(advice__organization__tier=Tier.FREE)  # whoever pays nothing says nothing to others
    weeks = paying.filter(advice__saving_mid_nano__gt=0, without_nano__isnull=False).order_by()
    saved = Sum(F("without_nano") - F("actual_nano"))
    advice = weeks.values("advice_id").annotate(
        busy=Count("pk", filter=Q(requests__gt=0)), saved=saved, low=Sum("low_nano")
    )
    judged = advice.filter(busy__gte=LEAST_WEEKS)
    found = judged.aggregate(judged=Count("advice_id"), hit=Count("advice_id", filter=Q(saved__gte=F("low"))))
    return HitRate(found["judged"], found["hit"])


def has_evidence(organization_id: int) -> bool:
    """Whether any call of its was looked at yet."""
    return DayEvidence.objects.filter(organization_id=organization_id).exists()


def prompts_of(organization_id: int) -> Prompts:
    """What was chosen, and what is kept."""
    kept = PromptSample.objects.filter(organization_id=OuterRef("pk")).order_by().values("organization_id")
    counted = Coalesce(Subquery(kept.annotate(number=Count("pk")).values("number")), 0)
    choice = SampleChoice.objects.filter(pk=organization_id).annotate(kept=counted).first()
    return Prompts(choice, 0 if choice is None else choice.kept)


def cases_of(organization_id: int) -> list[EvaluationCase]:
    """By task type and name."""
    return list(EvaluationCase.objects.filter(organization_id=organization_id).order_by("task", "name")[:CASES_MOST])
