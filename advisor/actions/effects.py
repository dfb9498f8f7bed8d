"""Measuring, after each week, what accepted advice brought in it, for as long as its pin holds."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from advisor.advice import PINS
from advisor.effect import compare, costs_before
from advisor.evidence import Candidate, Tally
from advisor.landscape import read_models
from advisor.models import Advice, DayEvidence, Effect, EvidenceDay
from advisor.moved import Moved, Signals
from advisor.sharing import SUMMED, Sums, tallies_of
from advisor.weeks import WEEK, monday_of, week_of
from routing.selection.queries import PinChange, pin_changes

MEASURED_WEEKS = 13  # after it was accepted; by then other things have changed as well
LOOKED_AT_WEEKS = 13  # back, for what was missed
REMEMBERED_WEEKS = MEASURED_WEEKS + LOOKED_AT_WEEKS + 1  # since it was accepted: then nothing more is measured
AT_ONCE = 500  # pieces of advice
ONE_DAY = timedelta(days=1)

type Place = tuple[int, str]  # organization, task type: it has one pin


def do_measure_effects(now: datetime) -> int:
    """Note what is missing of the weeks that are over and whose evidence is built; how many rows that made.

    A week is measured when the day after it is built, as its own last day then is so for the second time. Two workers
    note the same.
    """
    do_note_ends(now)
    this_monday = monday_of(week_of(now))
    mondays = [this_monday - WEEK * number for number in range(LOOKED_AT_WEEKS, 0, -1)]
    built = set(EvidenceDay.objects.filter(day__in=[day + WEEK for day in mondays]).values_list("day", flat=True))
    due = {monday: _due(monday) for monday in mondays if monday + WEEK in built}
    models = None
    done = 0
    for monday, rows in due.items():
        for chunk in _chunks(rows):
            models = read_models(now.date()).models if models is None else models
            Effect.objects.bulk_create(list(_effects(monday, chunk, models)), ignore_conflicts=True)
            done += len(chunk)
    return done


def do_note_ends(now: datetime) -> int:
    """Note of accepted advice since when its pin is another one, or newer advice counts for it; of how many it is so.

    What is pinned again later is somebody's new decision.
    """
    since = now - WEEK * REMEMBERED_WEEKS
    accepted: defaultdict[Place, list[Advice]] = defaultdict(list)
    columns = ("organization", "task", "model", "state_at", "pinned_until")
    for advice in _accepted().filter(state_at__gte=since).only(*columns).order_by("state_at", "pk"):
        accepted[advice.organization_id, advice.task].append(advice)
    lasting = {place: found for place, found in accepted.items() if any(row.pinned_until is None for row in found)}
    changes: defaultdict[Place, list[PinChange]] = defaultdict(list)
    for ids in _slices(sorted({organization_id for organization_id, _ in lasting})):
        for change in pin_changes(ids, since):
            changes[change.organization_id, change.task].append(change)
    ended = []
    for place, found in lasting.items():
        for row, newer in zip(found, [*found[1:], None], strict=True):
            ends = [each.at for each in changes[place] if each.at >= row.state_at and each.model != row.model]
            ends += [newer.state_at] if newer else []
            if row.pinned_until is None and ends:
                row.pinned_until = min(ends)
                ended.append(row)
    Advice.objects.bulk_update(ended, ["pinned_until"], batch_size=AT_ONCE)
    return len(ended)


def _accepted() -> QuerySet[Advice]:
    return Advice.objects.filter(state=Advice.State.ACCEPTED, kind__in=PINS).exclude(model="")


def _due(monday: date) -> QuerySet[Advice]:
    """What was accepted before this week, not too long ago, and held through it; and is not noted yet."""
    begins, ends = (datetime.combine(day, time(tzinfo=UTC)) for day in (monday, monday + WEEK))
    noted = Effect.objects.filter(advice=OuterRef("pk"), week=week_of(monday))
    held = Q(pinned_until=None) | Q(pinned_until__gte=ends)
    rows = _accepted().filter(held, ~Exists(noted), state_at__lt=begins, state_at__gte=begins - WEEK * MEASURED_WEEKS)
    return rows.filter(evidence__has_key="moved").order_by("pk")


def _chunks(rows: QuerySet[Advice]) -> Iterator[list[Advice]]:
    """In the order of their keys, so that what is noted meanwhile moves none from one to another."""
    last = 0
    while chunk := list(rows.filter(pk__gt=last)[:AT_ONCE]):
        yield chunk
        last = chunk[-1].pk


def _slices(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))


def _effects(monday: date, rows: Sequence[Advice], models: Mapping[str, Candidate]) -> Iterator[Effect]:
    tallies = _tallies(monday, rows)
    for row in rows:
        moved = msgspec.convert(row.evidence["moved"], Moved)
        nothing = Tally(row.task, row.model, "pinned", "", 0, 0, {}, 0.0, ())
        now = tallies.get((row.organization_id, row.task, row.model), nothing)
        before = costs_before(moved, models)
        compared = None if before is None else asdict(compare(moved, before, now))
        yield Effect(
            advice=row,
            week=week_of(monday),
            requests=round(now.requests),
            actual_nano=round(now.charge_nano),
            signals=asdict(Signals.of([now])),
            **compared or {},
        )


def _tallies(monday: date, rows: Sequence[Advice]) -> Mapping[tuple[int, str, str], Tally]:
    """By organization, task type and model: what their pins had the advised models do in this week.

    Neither what a policy took over from them nor what a newer model answered on trial.
    """
    found: Any = DayEvidence.objects.filter(
        organization_id__in={row.organization_id for row in rows},
        day__range=(monday, monday + WEEK - ONE_DAY),
        model__in={row.model for row in rows},
        way="pinned",
    )
    sums = {f"{name}_sum": Sum(name) for name in SUMMED}
    tallies = {}
    for organization_id, task, model, *values in (
        found.values_list("organization_id", "task", "model").annotate(**sums).order_by()
    ):
        whole = Sums([])
        whole.add(-1, values)
        for tally in tallies_of({(model, "pinned", ""): {task: whole}}):
            tallies[organization_id, task, model] = tally
    return tallies
