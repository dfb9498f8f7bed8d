"""Finding the newest calls that match a filter, without a scan of its window and without an index for every filter.

The sums say in which quarter-hours an organization has calls of a key, model, provider, outcome, tag or end user, and
how many. Those quarters are read, newest first, until the page is full. What the sums do not hold yet is found by the
ledger's entries behind their mark, which is asked first: what the job passes meanwhile is then seen twice, not never.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection
from django.db.models import Q, QuerySet, Sum

from billing.cubes import MARK, entry_calls, floor, is_postgres, moment, range_calls, read_moment
from billing.models import LabelSum, UsageRow, UsageSum
from billing.models.rollup import QUARTER_S
from billing.usage_sums import ROWS, Window, ranges_json, ranges_table

SLOTS_A_PAGE = 64  # quarter-hours that one page looks into at most, even if it is then short; the next one goes on
INSTANT = timedelta(microseconds=1)
NO_TIME = timedelta()
QUARTER = timedelta(seconds=QUARTER_S)


@dataclass(frozen=True, slots=True)
class Position:
    """Behind which call a page begins; without a request id, behind all of that moment and later."""

    created_at: datetime
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What calls must be: values of columns, labels by kind, and when they came in."""

    columns: dict[str, int | str]
    labels: dict[str, str]
    window: Window

    @property
    def condition(self) -> tuple[str, list[Any]]:
        """As SQL about a usage row `u`, with its parameters; empty without columns and labels."""
        parts = [f"{'COALESCE(u.key_id, 0)' if name == 'key_id' else f'u.{name}'} = %s" for name in self.columns]
        params: list[Any] = list(self.columns.values())
        for kind, label in self.labels.items():
            if kind == LabelSum.Kind.END_USER:
                parts.append("u.end_user = %s")
                params.append(label)
            elif is_postgres():
                parts.append("u.tags @> %s::jsonb")
                params.append(orjson.dumps([label]).decode())
            else:
                parts.append("EXISTS (SELECT 1 FROM json_each(u.tags) t WHERE t.value = %s)")
                params.append(label)
        return "".join(f" AND {part}" for part in parts), params


@dataclass(frozen=True, slots=True)
class Found:
    """Calls, newest first; `searched_to` is where the search was given up for this page, None when it was not."""

    rows: list[UsageRow]
    searched_to: datetime | None = None


def newest(organization_id: int, wanted: Wanted, after: Position | None, limit: int) -> Found:
    """The newest calls behind `after`, at most `limit`."""
    window = wanted.window
    if after is not None:
        window = Window(window.start, min(window.end, after.created_at + (INSTANT if after.request_id else NO_TIME)))
    if not wanted.columns and not wanted.labels:
        return Found(list(_of(organization_id, window, after)[:limit]))
    slots, horizon = _slots(organization_id, wanted, window)
    keys: list[tuple[str, datetime]] = []
    for part in _portions(slots, limit):
        keys += _scan(organization_id, wanted, _spans(part, window), after, limit - len(keys))
        if len(keys) == limit:
            horizon = None
            break
    if not keys:
        return Found([], horizon)
    moments = [created_at for _, created_at in keys]
    rows = _of(organization_id, Window(min(moments), max(moments) + INSTANT), None)
    return Found(list(rows.filter(request_id__in=[request_id for request_id, _ in keys])), horizon)


def _of(organization_id: int, window: Window, after: Position | None) -> QuerySet[UsageRow]:
    """Ranges only: SQLite keeps moments as text, of which an equality may fail."""
    rows = UsageRow.objects.filter(
        organization_id=organization_id, created_at__gte=window.start, created_at__lt=window.end
    )
    if after is not None:
        same = Q(created_at__gte=after.created_at, request_id__lt=after.request_id)
        rows = rows.filter(Q(created_at__lt=after.created_at) | same)
    return rows.order_by("-created_at", "-request_id")


def _slots(organization_id: int, wanted: Wanted, window: Window) -> tuple[dict[datetime, int], datetime | None]:
    """Quarter-hours that may have matching calls and how many at most, and how far back that is known."""
    tail = _tail_slots(organization_id, wanted, window)
    since = window.start - QUARTER + INSTANT
    known: list[dict[datetime, int]] = []
    if wanted.columns:
        calls = UsageSum.objects.filter(**wanted.columns)
        known.append(_newest_slots(calls, organization_id, since, window.end))
    for kind, label in wanted.labels.items():
        labelled = LabelSum.objects.filter(kind=kind, label=label)
        known.append(_newest_slots(labelled, organization_id, since, window.end))
    horizon = max((min(slots) for slots in known if len(slots) == SLOTS_A_PAGE), default=None)
    common = set.intersection(*map(set, known))
    counts = {slot: min(slots[slot] for slots in known) for slot in common}
    for slot, count in tail.items():
        counts[slot] = counts.get(slot, 0) + count
    return {slot: counts[slot] for slot in sorted(counts, reverse=True) if horizon is None or slot >= horizon}, horizon


def _newest_slots(
    sums: QuerySet[UsageSum] | QuerySet[LabelSum], organization_id: int, since: datetime, until: datetime
) -> dict[datetime, int]:
    slots = sums.filter(organization_id=organization_id, grain_s=QUARTER_S, starts_at__gte=since, starts_at__lt=until)
    counted = slots.values_list("starts_at").annotate(calls=Sum("requests")).order_by("-starts_at")
    return {starts_at: int(calls) for starts_at, calls in counted[:SLOTS_A_PAGE]}


def _tail_slots(organization_id: int, wanted: Wanted, window: Window) -> dict[datetime, int]:
    condition, params = wanted.condition
    query = (
        f"SELECT {floor('u.created_at', QUARTER_S)}, COUNT(*) FROM billing_ledgerentry e {entry_calls()}"
        f" WHERE e.wallet_id = %s AND e.kind = 'settle' AND e.id > {MARK}"
        f" AND u.created_at >= %s AND u.created_at < %s{condition} GROUP BY 1"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, [organization_id, moment(window.start), moment(window.end), *params])
        return {read_moment(slot): count for slot, count in cursor.fetchall()}


def _portions(slots: dict[datetime, int], limit: int) -> Iterator[list[datetime]]:
    """As many slots as may fill the page, then twice as many more, and so on: the counts are upper bounds."""
    part: list[datetime] = []
    total, target = 0, limit
    for slot, count in slots.items():
        part.append(slot)
        total += count
        if total >= target:
            yield part
            part, total, target = [], 0, 2 * target
    if part:
        yield part


def _spans(slots: Sequence[datetime], window: Window) -> list[Window]:
    """Slots, newest first, as spans of neighbours within the window."""
    spans: list[Window] = []
    for slot in slots:
        start, end = max(slot, window.start), min(slot + QUARTER, window.end)
        if spans and spans[-1].start == end:
            spans[-1] = Window(start, spans[-1].end)
        else:
            spans.append(Window(start, end))
    return spans


def _scan(
    organization_id: int, wanted: Wanted, spans: Sequence[Window], after: Position | None, limit: int
) -> list[tuple[str, datetime]]:
    """Request id and time of the newest matching calls in these spans."""
    condition, params = wanted.condition
    if after is not None:
        condition += " AND (u.created_at < %s OR (u.created_at >= %s AND u.request_id < %s))"
        params += [moment(after.created_at), moment(after.created_at), after.request_id]
    query = (
        f"WITH ranges AS ({ranges_table()}) SELECT u.request_id, u.created_at FROM ranges r"
        f" {range_calls()}"
        f" WHERE r.bucket >= 0{condition} ORDER BY u.created_at DESC, u.request_id DESC LIMIT %s"
    )
    ranges = ranges_json([(0, ROWS, span) for span in spans])
    with connection.cursor() as cursor:
        cursor.execute(query, [ranges, organization_id, *params, limit])
        return [(request_id, read_moment(created_at)) for request_id, created_at in cursor.fetchall()]
