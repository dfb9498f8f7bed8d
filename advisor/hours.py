"""Reading what models did in the last two hours and in the four weeks before, by organization.

The sums of usage do not say it: a call that one model failed and another one answered is a success of the
other there, and what a provider refused with good reason is an error. So rows of chats are added up, as for a day's
evidence.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import batched, groupby
from operator import itemgetter
from typing import Any

from django.db import connection
from django.db.models import F, Sum

from advisor.alarms import WINDOW, Lately, Slot, Tried
from advisor.day_sql import COUNTS, FIGURES, facts
from advisor.models import DayEvidence
from billing.cubes import floor, moment, read_moment
from billing.models.rollup import QUARTER_S

USUAL_DAYS = 28
ORGANIZATIONS_AT_ONCE = 500
ANSWERS = ("log_ms", "log_ms_square", "log_output", "log_output_square")  # sums over `answered`
type Slots = Mapping[str, list[Slot]]  # by model


def read_lately(now: datetime, least_calls: int, organization_id: int | None = None) -> Iterator[tuple[int, Lately]]:
    """The models with at least so many calls in the window, by organization; of one organization if it is named.

    The window ends now. What is usual is from whole UTC days before it.
    """
    since = now.astimezone(UTC) - WINDOW
    start = since.replace(minute=since.minute - since.minute % (QUARTER_S // 60), second=0, microsecond=0)
    rows = _window(start, now, least_calls, organization_id)
    by_organization = ((key, _slots(found)) for key, found in groupby(rows, key=itemgetter(0)))
    for chunk in batched(by_organization, ORGANIZATIONS_AT_ONCE):
        usual = _usual([key for key, _ in chunk], start)
        for key, models in chunk:
            for model, slots in models.items():
                yield key, Lately(model, slots, now, usual.get((key, model), Tried()))


def _slots(rows: Iterator[tuple[Any, ...]]) -> Slots:
    found: dict[str, list[Slot]] = {}
    for _, model, starts_at, *sums in rows:
        found.setdefault(model, []).append(Slot(read_moment(starts_at), Tried(*sums)))
    return found


def _window(start: datetime, now: datetime, least_calls: int, organization_id: int | None) -> list[tuple[Any, ...]]:
    """Rows of (organization, model, start of a quarter-hour, the fields of `Tried`), in order."""
    parameters: list[Any] = [moment(start), moment(now)]
    condition = ""
    if organization_id is not None:
        condition = " WHERE f.organization_id = %s"
        parameters.append(organization_id)
    measures = {
        "fault": COUNTS["failed"],
        "rescued": "CASE WHEN p.passed = 1 AND f.outcome = 'completed' THEN 1 ELSE 0 END",
        "answered": COUNTS["answered"],
        **{name: FIGURES[name] for name in ANSWERS},
    }
    columns = ", ".join(f"{expression} AS {name}" for name, expression in measures.items())
    calls = (  # two rows for a call that was passed on, as in a day's evidence
        "SELECT f.organization_id, CASE WHEN p.passed = 1 THEN f.instead_of ELSE f.model END AS model,"
        f" {floor('f.created_at', QUARTER_S)} AS slot, p.passed, {columns}"
        f" FROM ({facts()}) f JOIN (SELECT 0 AS passed UNION ALL SELECT 1) p ON p.passed = 0 OR f.is_passed_on"
        f"{condition}"
    )
    figures = ", ".join(f"COALESCE(SUM({name}) FILTER (WHERE passed = 0), 0.0)" for name in ANSWERS)
    sums = (
        "SELECT organization_id, model, slot, COUNT(*) AS calls,"
        " CAST(SUM(CASE WHEN passed = 1 THEN 1 ELSE fault END) AS bigint) AS failed, CAST(SUM(rescued) AS bigint) AS"
        " rescued, CAST(COALESCE(SUM(answered) FILTER (WHERE passed = 0), 0) AS bigint) AS answered,"
        f" {figures}, SUM(COUNT(*)) OVER (PARTITION BY organization_id, model) AS of_window"
        f" FROM ({calls}) r GROUP BY organization_id, model, slot"
    )
    query = f"SELECT * FROM ({sums}) s WHERE of_window >= %s ORDER BY organization_id, model, slot"
    with connection.cursor() as cursor:
        cursor.execute(query, [*parameters, least_calls])
        return [row[:-1] for row in cursor.fetchall()]


def _usual(organization_ids: Collection[int], start: datetime) -> Mapping[tuple[int, str], Tried]:
    """By organization and model, over the days that were over when the window began."""
    days = (start.date() - timedelta(days=USUAL_DAYS), start.date() - timedelta(days=1))
    rows = (
        DayEvidence.objects.filter(organization_id__in=organization_ids, day__range=days)
        .values_list("organization_id", "model")
        .annotate(
            calls=Sum(F("requests") + F("passed_on")),
            failures=Sum(F("failed") + F("passed_on")),
            answers=Sum("answered"),
            **{f"{name}_sum": Sum(name) for name in ANSWERS},
        )
        .order_by()
    )
    return {(key, model): Tried(calls, failed, 0, *answers) for key, model, calls, failed, *answers in rows}
