"""What `/dashboard/advisor` shows of one organization."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from django.db.models import Count, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from advisor.actions.samples import CASES_MOST
from advisor.advice import PINS
from advisor.effect import HitRate, Verdict, Week, a_month, hit_rate, judge
from advisor.models import Advice, DayEvidence, Effect, EvaluationCase, PromptSample, SampleChoice, Upgrade
from advisor.words import Said, said

MOST = 100  # pieces of advice
UPGRADES_MOST = 20
HOUR_S = 3_600
ADVICE_COLUMNS = ("advice_id", "advice__saving_low_nano", "advice__saving_high_nano")
WEEK_COLUMNS = ("week", "requests", "actual_nano", "without_nano")


@dataclass(frozen=True, slots=True)
class Outcome:
    """An accepted advice with what it brought so far."""

    advice: Advice
    words: Said
    weeks: Sequence[Week]
    verdict: Verdict

    @property
    def a_month_nano(self) -> int:
        """What it really saves a month."""
        return a_month(self.weeks)

    @property
    def saved_nano(self) -> int:
        """Over all measured weeks."""
        return sum(week.saved_nano for week in self.weeks)


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
    weeks: defaultdict[int, list[Week]] = defaultdict(list)
    effects = Effect.objects.filter(advice__in=accepted).order_by("week")
    for advice_id, *columns in effects.values_list("advice_id", *WEEK_COLUMNS) if accepted else ():
        weeks[advice_id].append(Week(*columns))
    newest_first = sorted(accepted, key=lambda row: row.state_at, reverse=True)
    waiting = sorted((row for row in rows if row.state == Advice.State.OPEN), key=lambda row: row.rank)
    waiting.sort(key=lambda row: row.week, reverse=True)
    return Board(waiting, [_outcome(row, weeks[row.pk]) for row in newest_first])


def _outcome(row: Advice, weeks: Sequence[Week]) -> Outcome:
    return Outcome(row, said(row), weeks, judge((row.saving_low_nano, row.saving_high_nano), weeks))


def hits_of(outcomes: Iterable[Outcome]) -> HitRate:
    """The hit rate over these."""
    return hit_rate(
        {
            (each.advice.pk, each.advice.saving_low_nano, each.advice.saving_high_nano): each.weeks
            for each in outcomes
            if each.advice.saving_mid_nano > 0
        }
    )


def hits_of_all(now: datetime) -> HitRate:
    """The same over all organizations; counted once an hour in each process."""
    return _hits_in_hour(int(now.timestamp()) // HOUR_S)


@lru_cache(maxsize=1)
def _hits_in_hour(hour: int) -> HitRate:
    """`hour` only says how long it holds."""
    promises: defaultdict[tuple[int, int, int], list[Week]] = defaultdict(list)
    rows = Effect.objects.filter(advice__saving_mid_nano__gt=0).order_by("advice_id", "week")
    for advice_id, low, high, *columns in rows.values_list(*ADVICE_COLUMNS, *WEEK_COLUMNS).iterator():
        promises[advice_id, low, high].append(Week(*columns))
    return hit_rate(promises)


def has_evidence(organization_id: int) -> bool:
    """Whether any call of its was looked at yet."""
    return DayEvidence.objects.filter(organization_id=organization_id).exists()


def upgrades_of(organization_id: int) -> list[Upgrade]:
    """Those under way first, then the ones that ended last."""
    rows = Upgrade.objects.filter(organization_id=organization_id)
    return list(rows.order_by(F("ended_at").desc(nulls_first=True), "task")[:UPGRADES_MOST])


def prompts_of(organization_id: int) -> Prompts:
    """What was chosen, and what is kept."""
    kept = PromptSample.objects.filter(organization_id=OuterRef("pk")).order_by().values("organization_id")
    counted = Coalesce(Subquery(kept.annotate(number=Count("pk")).values("number")), 0)
    choice = SampleChoice.objects.filter(pk=organization_id).annotate(kept=counted).first()
    return Prompts(choice, 0 if choice is None else choice.kept)


def cases_of(organization_id: int) -> list[EvaluationCase]:
    """By task type and name."""
    return list(EvaluationCase.objects.filter(organization_id=organization_id).order_by("task", "name")[:CASES_MOST])
