"""Building the evidence of days. docs/advisor.md says when a day is due and how little of the database this takes."""

from datetime import date, datetime
from threading import Event
from typing import Any

from django.db import connection, transaction
from django.db.models import Sum

from advisor.day_sql import REMOVE, Part, parts
from advisor.days import KEPT_FOR, days_due, parameters
from advisor.models import DayEvidence, EvidenceDay
from billing.cubes import is_postgres
from komilion.common.clock import utc_now

# One core's worth at most, no more memory than a page's query, and no commit that settlements would wait behind.
MODEST = (
    "SET LOCAL max_parallel_workers_per_gather = 0",
    "SET LOCAL work_mem = '32MB'",
    "SET LOCAL synchronous_commit = off",  # a day that a crash takes is due again
)
PAUSE_S = 0.2  # between two days, for whoever waits for the disk


def do_build_due(now: datetime) -> list[date]:
    """Build every day that is due, the oldest first, and forget what is too old; returns the days."""
    built: list[date] = []
    for day in days_due(now):
        if built:
            Event().wait(PAUSE_S)
            if day not in days_due(now):  # another worker was there meanwhile
                continue
        do_build_day(day)
        built.append(day)
    DayEvidence.objects.filter(day__lt=now.date() - KEPT_FOR).delete()
    return built


def do_build_day(day: date) -> int:
    """Make one UTC day's evidence anew, in one transaction; how many calls it holds.

    Two workers at one day take turns by its row, on SQLite by the write lock. There the sums are made before the
    transaction begins, since nobody else can write while it runs.
    """
    prepared = [] if is_postgres() else [(part, _select(part, day)) for part in parts()]
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in MODEST if is_postgres() else ():
            cursor.execute(statement)
        EvidenceDay.objects.update_or_create(day=day, defaults={"built_at": utc_now(), "calls": 0})
        cursor.execute(REMOVE, parameters(day)[:1])
        for part in parts() if is_postgres() else ():
            cursor.execute(part.insert, parameters(day))
        for part, rows in prepared:
            cursor.executemany(part.insert_values, rows)
        calls = _calls_of(day)
        EvidenceDay.objects.filter(day=day).update(calls=calls)
    return calls


def _select(part: Part, day: date) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(part.query, parameters(day))
        return list(cursor.fetchall())


def _calls_of(day: date) -> int:
    requests = DayEvidence.objects.filter(day=day).aggregate(total=Sum("requests", default=0))
    return int(requests["total"])
