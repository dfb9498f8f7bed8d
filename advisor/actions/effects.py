"""Measuring, after each week, what accepted advice brought in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import QuerySet, Sum

from advisor.advice import PINS
from advisor.day_sql import BUCKETS
from advisor.effect import without
from advisor.evidence import Landscape, Tally
from advisor.landscape import recent_landscape
from advisor.models import Advice, DayEvidence, Effect, EvidenceDay
from advisor.weeks import monday_of, week_of

MEASURED_WEEKS = 13  # after it was accepted; by then other things have changed as well
BEFORE_DAYS = 28  # that signals are compared with
WEEK = timedelta(days=7)
ONE_DAY = timedelta(days=1)
SIGNALS = ("requests", "failed", "retried", "votes", "score", "answered", "log_ms")


@dataclass(frozen=True, slots=True)
class _Span:
    """Whole UTC days, both ends included."""

    first: date
    last: date


def do_measure_effects(now: datetime) -> int:
    """Note what is missing of the weeks that are over and whose evidence is built; how many rows that made.

    A week is whole: the first is the one that begins after the advice was accepted. It is measured when the day after
    it is built, as its own last day then is so for the second time. Two workers note the same.
    """
    built = set(EvidenceDay.objects.values_list("day", flat=True).filter(day__gt=now.date() - WEEK * MEASURED_WEEKS))
    landscape = recent_landscape(now.date())
    rows = Advice.objects.filter(
        state=Advice.State.ACCEPTED,
        kind__in=PINS,
        state_at__gte=now - WEEK * (MEASURED_WEEKS + 1),
    ).exclude(model="")
    done = 0
    for advice in rows.order_by("pk").iterator():
        known = set(Effect.objects.filter(advice=advice).values_list("week", flat=True))
        missing = [week for week in _weeks(advice, now) if week not in known and _sunday(week) + ONE_DAY in built]
        effects = [effect for week in missing if (effect := _effect(advice, week, landscape)) is not None]
        Effect.objects.bulk_create(effects, ignore_conflicts=True)
        done += len(effects)
    return done


def _weeks(advice: Advice, now: datetime) -> Iterator[str]:
    """The whole weeks since it was accepted that are over, as many as are measured."""
    monday = monday_of(week_of(advice.state_at)) + WEEK
    for number in range(MEASURED_WEEKS):
        first = monday + WEEK * number
        if first + WEEK > now.date():
            return
        yield week_of(first)


def _sunday(week: str) -> date:
    return monday_of(week) + WEEK - ONE_DAY


def _effect(advice: Advice, week: str, landscape: Landscape) -> Effect | None:
    """None where the model that was in use before has no price any more: nothing is left to compare with."""
    span = _Span(monday_of(week), _sunday(week))
    rows = _rows(advice, advice.model, span).filter(way="pinned")
    tallies = list(_tallies(rows))
    before = landscape.models.get(advice.subject)
    ratio = float(advice.evidence.get("length_ratio", 1.0))
    without_nano = None if before is None else without(tallies, before, ratio)
    if without_nano is None:
        return None
    accepted_on = advice.state_at.date()
    earlier = _rows(advice, advice.subject, _Span(accepted_on - timedelta(days=BEFORE_DAYS), accepted_on - ONE_DAY))
    return Effect(
        advice=advice,
        week=week,
        requests=round(sum(tally.requests for tally in tallies)),
        actual_nano=round(sum(tally.charge_nano for tally in tallies)),
        without_nano=without_nano,
        signals={"now": _signals(rows), "before": _signals(earlier)},
    )


def _rows(advice: Advice, model: str, span: _Span) -> QuerySet[DayEvidence]:
    return DayEvidence.objects.filter(
        organization_id=advice.organization_id, day__range=(span.first, span.last), task=advice.task, model=model
    )


def _tallies(rows: QuerySet[DayEvidence]) -> Iterator[Tally]:
    """One for each day, as prices of long prompts go by the mean prompt."""
    sums = {f"{name}_sum": Sum(name) for name in ("requests", "charge_nano", *BUCKETS)}
    by_day: Any = rows.values("day", "task", "model").annotate(**sums).order_by("day")
    for row in by_day:
        yield Tally(
            task=row["task"],
            model=row["model"],
            way="pinned",
            policy="",
            requests=row["requests_sum"],
            seen=row["requests_sum"],
            tokens={bucket: row[f"{bucket}_sum"] for bucket in BUCKETS},
            charge_nano=row["charge_nano_sum"],
            by_week=(),
        )


def _signals(rows: QuerySet[DayEvidence]) -> dict[str, float]:
    """Calls, what went wrong with them, votes, and the mean of the logarithm of their milliseconds."""
    found: dict[str, Any] = rows.aggregate(**{f"{name}_sum": Sum(name, default=0) for name in SIGNALS})
    answered = found["answered_sum"]
    signals = {name: found[f"{name}_sum"] for name in ("requests", "failed", "retried", "votes", "score")}
    return signals | {"log_ms_mean": found["log_ms_sum"] / answered if answered else 0.0}
