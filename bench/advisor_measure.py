"""What `bench.advisor_scale` measures, in a process that did nothing else."""

import contextlib
import json
import os
import resource
import sys
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from time import perf_counter, process_time

import psutil
from django.db import connection

from advisor.actions.digests import do_make_digest
from advisor.actions.evidence import do_build_day, do_build_due
from advisor.days import differences
from advisor.findings import find
from advisor.landscape import recent_landscape
from advisor.models import DayEvidence, Digest, EvidenceDay
from advisor.queries import organizations_without
from advisor.weeks import monday_of, week_of
from billing.rollups import Days

NICE = 19  # as the worker is


def measure(today: date) -> dict[str, object]:
    """Build every day and make every digest, as the jobs do, one after the other.

    Seconds, megabytes (of this process at its peak) and how much there was. `today` is a Monday.
    """
    os.nice(NICE)
    now = datetime.combine(today, time(9), UTC)
    week = week_of(today)
    begun, begun_cpu = perf_counter(), process_time()
    do_build_due(now)
    built = perf_counter()
    landscape = recent_landscape(monday_of(week))
    known = perf_counter()
    said: Counter[str] = Counter()
    for organization_id in organizations_without(week):
        found = find(organization_id, week)
        do_make_digest(organization_id, week, found.recommendations, found.figures, now)
        said.update(each.kind.value for each in found.recommendations)
    made = perf_counter()
    last = today - timedelta(days=1)
    days = EvidenceDay.objects.values_list("calls", flat=True)
    return {
        "calls": sum(days),
        "days": len(days),
        "evidence_rows": DayEvidence.objects.count(),
        "digests": Digest.objects.filter(week=week).count(),
        "silent": Digest.objects.filter(week=week, is_silent=True).count(),
        "recommendations": dict(said),
        "lengths": len(landscape.outputs),
        "build_s": round(built - begun, 1),
        "landscape_s": round(known - built, 1),
        "digests_s": round(made - known, 1),
        "all_s": round(made - begun, 1),
        "our_cpu_s": round(process_time() - begun_cpu, 1),
        "database_cpu_s": round(_database_s(), 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "differences_of_the_last_day": len(list(differences(Days(last, last)))),
    }


def _database_s() -> float:
    """The processor time that the database's process of our connection has taken; the server is on this machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        times = psutil.Process(cursor.fetchone()[0]).cpu_times()
    return times.user + times.system


def build_on(today: date) -> None:
    """Build one day after the other, again and again, until somebody stops it."""
    os.nice(NICE)
    with contextlib.suppress(KeyboardInterrupt):
        for number in count():
            do_build_day(today - timedelta(days=1 + number % 28))
            sys.stderr.write(".")


def main(today: str, again: str = "") -> None:
    """Measure up to that date (YYYY-MM-DD) and tell it as JSON; `again`: build until it is stopped."""
    if again:
        build_on(date.fromisoformat(today))
    else:
        sys.stdout.write(json.dumps(measure(date.fromisoformat(today))))
