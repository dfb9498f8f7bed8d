"""Sums of an organization's calls in any windows of time, exact to the call of a moment ago.

One statement sees one moment: whole days, hours and quarter-hours come from the sums that a job builds, the ends of a
window that is finer than that from the rows, and what was settled behind the job's mark from the ledger and the rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from typing import Any

import orjson
from django.db import connection

from billing.cubes import CALLS, LABELS, MARK, Cube, Source, entry_calls, is_error, is_postgres, range_calls, total
from billing.models.rollup import GRAINS_S, LATENCY_COLUMNS, LATENCY_EDGES_MS

ROWS = 0  # the grain of the usage rows themselves


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time, from `start` up to but without `end`; both aware."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Sums:
    """What calls add up to; amounts in nano-USD, durations in milliseconds. Two can be added."""

    requests: int = 0
    errors: int = 0  # the provider's or ours
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    fee_nano: int = 0
    charge_nano: int = 0
    savings_nano: int = 0
    duration_ms: int = 0
    first_content_ms: int = 0
    first_contents: int = 0
    classes: tuple[int, ...] = (0,) * len(LATENCY_COLUMNS)  # answers by duration, see LATENCY_EDGES_MS

    def __add__(self, other: "Sums") -> "Sums":
        """Both together."""
        plain = {name: getattr(self, name) + getattr(other, name) for name in PLAIN}
        return Sums(**plain, classes=tuple(map(sum, zip(self.classes, other.classes, strict=True))))

    def latency_ms(self, percent: int) -> int | None:
        """The duration that so many percent of the answers stayed within, read from the histogram; None without any.

        It lies in the right class; where in it, is guessed by how many of the class are needed.
        """
        rank = -(-sum(self.classes) * percent // 100)
        if rank == 0:
            return None
        lower = 0
        for edge, count in zip(LATENCY_EDGES_MS, self.classes, strict=False):
            if rank <= count:
                return lower + (edge - lower) * rank // count
            rank -= count
            lower = edge
        return LATENCY_EDGES_MS[-1]

    @property
    def p50_ms(self) -> int | None:
        """The median."""
        return self.latency_ms(50)

    @property
    def p95_ms(self) -> int | None:
        """What 95 of 100 answers stayed within."""
        return self.latency_ms(95)

    @property
    def mean_first_content_ms(self) -> int | None:
        """How long the first content took on average; None where no call had any."""
        return self.first_content_ms // self.first_contents if self.first_contents else None


ERRORS = f"CASE WHEN {is_error('outcome')} THEN requests ELSE 0 END"
PLAIN = tuple(field.name for field in fields(Sums) if field.name != "classes")


def call_sums(
    organization_id: int,
    windows: Sequence[Window],
    by: Sequence[str] = (),
    only: Mapping[str, object] | None = None,
    measures: Sequence[str] | None = None,
) -> dict[tuple[Any, ...], Sums]:
    """Sums by (number of the window, value of each column in `by`); what has no calls is not there.

    Columns are `key_id` (0: no key), `model`, `provider` and `outcome`; `only` keeps calls that have these values.
    Windows may overlap. With `measures`, names of fields of `Sums`, the others are left 0: that is quicker.
    """
    names = (*PLAIN, *LATENCY_COLUMNS) if measures is None else tuple(measures)
    rows = _select(CALLS, organization_id, windows, _Question(tuple(by), names, only or {}))
    keys = 1 + len(by)
    if measures is None:
        plain = keys + len(PLAIN)
        return {
            row[:keys]: Sums(**dict(zip(PLAIN, row[keys:plain], strict=True)), classes=tuple(row[plain:]))
            for row in rows
        }
    return {row[:keys]: Sums(**dict(zip(names, row[keys:], strict=True))) for row in rows}


@dataclass(frozen=True, slots=True)
class LabelSums:
    """What the calls of one tag or end user add up to."""

    requests: int
    input_tokens: int
    output_tokens: int
    charge_nano: int


def label_sums(organization_id: int, window: Window, kind: str) -> dict[str, LabelSums]:
    """Sums by tag or by end user, dearest first; `kind` is a `LabelSum.Kind`."""
    rows = _select(LABELS, organization_id, [window], _Question(("label",), LABELS.measures, {"kind": kind}))
    found = {label: LabelSums(*values) for _, label, *values in rows}
    return dict(sorted(found.items(), key=lambda item: (-item[1].charge_nano, item[0])))


def local_days(zone: tzinfo, first: date, count: int) -> list[Window]:
    """So many days of a zone as they are there: 23 or 25 hours long where the clock is changed."""
    starts = [
        datetime.combine(first + timedelta(days=number), time(), zone).astimezone(UTC) for number in range(count + 1)
    ]
    return [Window(start, end) for start, end in pairwise(starts)]


@dataclass(frozen=True, slots=True)
class _Question:
    by: tuple[str, ...]
    measures: tuple[str, ...]
    only: Mapping[str, object]

    def of_rows(self) -> str:
        """Columns and measures of one row."""
        return ", ".join((*self.by, *(f"{_measure(name)} AS {name}" for name in self.measures)))

    def of_sums(self) -> str:
        """Columns and the sums of the measures."""
        return ", ".join((*self.by, *(f"{total(_measure(name))} AS {name}" for name in self.measures)))


def _measure(name: str) -> str:
    return ERRORS if name == "errors" else name


def _select(cube: Cube, organization_id: int, windows: Sequence[Window], question: _Question) -> list[tuple[Any, ...]]:
    """Rows of (window, *by, *measures)."""
    edges = Source(f"ranges r {range_calls()}", f"r.grain_s = {ROWS}")
    tail = Source(f"billing_ledgerentry e {entry_calls()}", f"e.wallet_id = %s AND e.kind = 'settle' AND e.id > {MARK}")
    only = "".join(f" AND {name} = %s" for name in question.only)
    parts = (
        _rolled(cube, question, only),
        f"SELECT bucket, {question.of_rows()} FROM ({cube.rows('r.bucket', edges)}) x WHERE bucket >= 0{only}",
        # by quarter-hour first, whose edges are those of every span that sums were read for
        f"SELECT r.bucket, {question.of_rows()} FROM ({cube.quarters(tail)}) q JOIN ranges r"
        f" ON q.starts_at >= r.since AND q.starts_at < r.until WHERE r.grain_s > {ROWS}{only}",
    )
    keys = ", ".join(("bucket", *question.by))
    totals = ", ".join(f"{total(name)} AS {name}" for name in question.measures)
    query = (
        f"WITH ranges AS ({ranges_table()}) SELECT {keys}, {totals}"
        f" FROM ({' UNION ALL '.join(parts)}) p GROUP BY {keys}"
    )
    ranges = ranges_json((bucket, *part) for bucket, window in enumerate(windows) for part in cut(window))
    with connection.cursor() as cursor:
        params: list[Any] = [ranges, *[organization_id, *question.only.values()] * 3]
        cursor.execute(query, params)
        return list(cursor.fetchall())


def _rolled(cube: Cube, question: _Question, only: str) -> str:
    """What the sums say of each span, found by the index for each on its own (see `billing.cubes.range_calls`)."""
    inside = "s.organization_id = %s AND s.grain_s = r.grain_s AND s.starts_at >= r.since AND s.starts_at < r.until"
    if not is_postgres():
        return f"SELECT bucket, {question.of_rows()} FROM ranges r JOIN {cube.table} s ON {inside}{only}"
    groups = f" GROUP BY {', '.join(question.by)}" if question.by else ""
    return (  # added up span by span: to sort all slots of a long window would take longer than to read them
        f"SELECT r.bucket, t.* FROM ranges r CROSS JOIN LATERAL (SELECT {question.of_sums()} FROM {cube.table} s"
        f" WHERE {inside}{only}{groups} HAVING COUNT(*) > 0) t"
    )


def ranges_table() -> str:
    """A query over spans: bucket, grain_s, since, until; its parameter comes from `ranges_json`."""
    if is_postgres():
        columns = "bucket int, grain_s int, since timestamptz, until timestamptz"
        return f"SELECT * FROM jsonb_to_recordset(%s::jsonb) AS j({columns})"
    columns = ", ".join(f"value ->> '$.{name}' AS {name}" for name in ("bucket", "grain_s", "since", "until"))
    return f"SELECT {columns} FROM json_each(%s)"


def ranges_json(ranges: Iterable[tuple[int, int, Window]]) -> str:
    """Spans of (bucket, grain in seconds, window) for `ranges_table`."""
    rows = [
        {"bucket": bucket, "grain_s": grain_s, "since": _text(window.start), "until": _text(window.end)}
        for bucket, grain_s, window in ranges
    ]
    return orjson.dumps(rows).decode()


def cut(window: Window) -> Iterator[tuple[int, Window]]:
    """The window as spans of the coarsest grains that fit, its ends in finer ones, and what is left in rows."""
    return _cut(window.start.astimezone(UTC), window.end.astimezone(UTC), (ROWS, *GRAINS_S))


def _cut(start: datetime, end: datetime, grains_s: tuple[int, ...]) -> Iterator[tuple[int, Window]]:
    if start >= end:
        return
    *finer_s, grain_s = grains_s
    if grain_s == ROWS:
        yield ROWS, Window(start, end)
        return
    inner_start, inner_end = _next(start, grain_s), _next(end + timedelta(microseconds=1), grain_s) - _step(grain_s)
    if inner_start >= inner_end:
        yield from _cut(start, end, tuple(finer_s))
        return
    yield from _cut(start, inner_start, tuple(finer_s))
    yield grain_s, Window(inner_start, inner_end)
    yield from _cut(inner_end, end, tuple(finer_s))


def _step(grain_s: int) -> timedelta:
    return timedelta(seconds=grain_s)


def _next(moment: datetime, grain_s: int) -> datetime:
    """The first start of a slot at or after that moment."""
    epoch = datetime(2000, 1, 1, tzinfo=UTC)
    return epoch - (epoch - moment) // _step(grain_s) * _step(grain_s)


def _text(moment: datetime) -> str:
    """As both databases read it, and as SQLite's texts are in order."""
    return str(moment.astimezone(UTC).replace(tzinfo=None)) + ("+00" if is_postgres() else "")
