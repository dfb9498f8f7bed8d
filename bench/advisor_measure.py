"""What `bench.advisor_scale` measures, in a process that did nothing else."""

import json
import os
import resource
import sys
from datetime import UTC, date, datetime, time, timedelta
from time import perf_counter, process_time

import psutil
from django.db import connection

from advisor.actions.evidence import do_build_due
from advisor.collect import organizations_at_work, read_evidence
from advisor.days import differences
from advisor.landscape import read_landscape
from advisor.models import DayEvidence, EvidenceDay
from billing.rollups import Days

NICE = 19  # as the worker is


def measure(today: date) -> dict[str, float]:
    """Build and read everything; seconds, megabytes (of this process at its peak) and how much there was."""
    os.nice(NICE)
    begun, begun_cpu = perf_counter(), process_time()
    do_build_due(datetime.combine(today, time(2), UTC))
    built = perf_counter()
    landscape = read_landscape(today)
    known = perf_counter()
    tallies = organizations = 0
    for evidence in read_evidence(organizations_at_work(today - timedelta(days=1)), today - timedelta(days=1)):
        organizations += 1
        tallies += len(evidence.tallies)
    read = perf_counter()
    database_s = _database_s()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    days = EvidenceDay.objects.values_list("calls", flat=True)
    last = today - timedelta(days=1)
    return {
        "calls": sum(days),
        "days": len(days),
        "organizations": organizations,
        "evidence_rows": DayEvidence.objects.count(),
        "tallies": tallies,
        "lengths": len(landscape.outputs),
        "build_s": round(built - begun, 1),
        "landscape_s": round(known - built, 1),
        "read_s": round(read - known, 1),
        "all_s": round(read - begun, 1),
        "our_cpu_s": round(process_time() - begun_cpu, 1),
        "database_cpu_s": round(database_s, 1),
        "peak_mb": round(peak_mb),
        "differences_of_the_last_day": len(list(differences(Days(last, last)))),
    }


def _database_s() -> float:
    """The processor time that the database's process of our connection has taken; the server is on this machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        times = psutil.Process(cursor.fetchone()[0]).cpu_times()
    return times.user + times.system


def main(today: str) -> None:
    """Measure up to that date (YYYY-MM-DD) and tell it as JSON."""
    sys.stdout.write(json.dumps(measure(date.fromisoformat(today))))
