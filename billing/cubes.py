"""The SQL of the sums in billing.models.rollup, in the dialect of the database at hand; rows never pass through Python.

A cube is a table of sums: what is counted apart (its dimensions) and what is added up (its measures). Usage rows become
sums by quarter-hour, and those become every grain, in one statement. Times are UTC.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from billing.models.rollup import GRAINS_S, LATENCY_COLUMNS, LATENCY_EDGES_MS, QUARTER_S
from komilion.common.usage import CACHED_BUCKETS, INPUT_BUCKETS, OUTPUT_BUCKETS

# Outcomes that are the provider's fault or ours (docs/charging-policy.md); the others are answers.
ERROR_OUTCOMES = ("provider_failed", "provider_cut", "server_stopped")
MARK = "COALESCE((SELECT entry_id FROM billing_usagemark WHERE id = 1), 0)"


@dataclass(frozen=True, slots=True)
class Source:
    """Which usage rows: `tables` names them `u`, `condition` chooses; together they take the parameters in order."""

    tables: str
    condition: str


def is_postgres() -> bool:
    """Which dialect to write."""
    return connection.vendor == "postgresql"


def entry_calls() -> str:
    """Joins to each ledger entry `e` its call `u`, by the index on request ids whatever the planner expects.

    It takes ids behind the mark for a third of all, and would read the whole table of usage rows for a few of them.
    """
    if is_postgres():
        return "CROSS JOIN LATERAL (SELECT * FROM billing_usagerow WHERE request_id = e.reference LIMIT 1) u"
    return "JOIN billing_usagerow u ON u.request_id = e.reference"


def range_calls() -> str:
    """Joins to each span `r` (see billing.usage_sums) an organization's calls `u` in it; parameter: the organization.

    By the index for each span on its own: nothing is known to the planner of how short they are.
    """
    condition = "organization_id = %s AND created_at >= r.since AND created_at < r.until"
    if is_postgres():
        return f"CROSS JOIN LATERAL (SELECT * FROM billing_usagerow WHERE {condition} OFFSET 0) u"
    return f"JOIN billing_usagerow u ON {condition}"


def settled_rows() -> Source:
    """By their settlements; parameters: ledger entries after and up to which."""
    return Source(f"billing_ledgerentry e {entry_calls()}", "e.kind = 'settle' AND e.id > %s AND e.id <= %s")


# Those of a window that the sums hold: all but those whose settlement is behind the mark; parameters: from, to, mark.
ROLLED_ROWS = Source(
    "billing_usagerow u",
    "u.created_at >= %s AND u.created_at < %s AND NOT EXISTS (SELECT 1 FROM billing_ledgerentry e"
    " WHERE e.kind = 'settle' AND e.reference = u.request_id AND e.id > %s)",
)


@dataclass(frozen=True, slots=True)
class Cube:
    """One table of sums."""

    table: str
    dimensions: tuple[str, ...]
    measures: tuple[str, ...]

    @property
    def keys(self) -> str:
        """The columns that tell its rows apart."""
        return ", ".join(("organization_id", "grain_s", "starts_at", *self.dimensions))

    def rows(self, head: str, source: Source) -> str:
        """The usage rows in `source` with `head`, the dimensions and the measures: for labels one row for each."""
        if self is CALLS:
            columns = f"COALESCE(u.key_id, 0) AS key_id, u.model, u.provider, u.outcome, {_call_measures()}"
            return f"SELECT {head}, {columns} FROM {source.tables} WHERE {source.condition}"
        columns = f"k.kind, t.value AS label, {_label_measures()}"
        return (
            f"SELECT {head}, {columns} FROM {source.tables} {_label_tables()}"
            f" WHERE {source.condition} AND t.value <> ''"
        )

    def quarters(self, source: Source) -> str:
        """Sums of the usage rows in `source` by their quarter-hour."""
        rows = self.rows("u.organization_id, u.created_at", source)
        return (
            f"SELECT organization_id, {floor('created_at', QUARTER_S)} AS starts_at, {self._names},"
            f" {self.totals} FROM ({rows}) r GROUP BY 1, 2, {self._names}"
        )

    def add(self, source: Source) -> str:
        """Add the usage rows in `source` to their slots of every grain."""
        grains = " UNION ALL ".join(f"SELECT {grain} AS grain_s" for grain in GRAINS_S)
        changes = ", ".join(f"{name} = {self.table}.{name} + excluded.{name}" for name in self.measures)
        return (  # SQLite needs a WHERE to know that ON begins no join condition
            f"INSERT INTO {self.table} ({self.keys}, {', '.join(self.measures)})"
            f" SELECT organization_id, g.grain_s, {floor('starts_at', 'g.grain_s')}, {self._names}, {self.totals}"
            f" FROM ({self.quarters(source)}) q CROSS JOIN ({grains}) g WHERE g.grain_s > 0"
            f" GROUP BY 1, 2, 3, {self._names} ON CONFLICT ({self.keys}) DO UPDATE SET {changes}"
        )

    def remove(self, grain_s: int) -> str:
        """Take the slots of a window out; parameters: from, to."""
        return f"DELETE FROM {self.table} WHERE grain_s = {grain_s} AND starts_at >= %s AND starts_at < %s"

    def insert(self, grain_s: int) -> str:
        """Put them in as they should be; parameters: those of `span`."""
        return f"INSERT INTO {self.table} ({self.keys}, {', '.join(self.measures)}) {self._wanted(grain_s)}"

    def wrong(self, grain_s: int) -> str:
        """Starts of the slots of a window that are not as they should be; parameters: from, to, those of `span`."""
        minus = ", ".join(f"-{name}" for name in self.measures)
        differ = " OR ".join(f"SUM({name}) <> 0" for name in self.measures)
        columns = f"{self.keys}, {', '.join(self.measures)}"
        return (
            f"SELECT DISTINCT starts_at FROM (SELECT {self.keys} FROM (SELECT {columns} FROM {self.table}"
            f" WHERE grain_s = {grain_s} AND starts_at >= %s AND starts_at < %s UNION ALL"
            f" SELECT {self.keys}, {minus} FROM (WITH wanted ({columns}) AS ({self._wanted(grain_s)})"
            f" SELECT * FROM wanted) w) b GROUP BY {self.keys} HAVING {differ}) d ORDER BY 1"
        )

    @staticmethod
    def span(grain_s: int, start: datetime, end: datetime, mark: int) -> list[Any]:
        """The parameters of a window for what makes the slots of a grain."""
        window = [moment(start), moment(end)]
        return [*window, mark] if grain_s == QUARTER_S else window

    def _wanted(self, grain_s: int) -> str:
        """The slots of a window as the usage rows, or those of the next finer grain, make them."""
        if grain_s == QUARTER_S:
            listed = ", ".join((*self.dimensions, *self.measures))
            return f"SELECT organization_id, {QUARTER_S}, starts_at, {listed} FROM ({self.quarters(ROLLED_ROWS)}) q"
        finer_s = GRAINS_S[GRAINS_S.index(grain_s) - 1]
        return (
            f"SELECT organization_id, {grain_s}, {floor('starts_at', grain_s)}, {self._names}, {self.totals}"
            f" FROM {self.table} WHERE grain_s = {finer_s} AND starts_at >= %s AND starts_at < %s"
            f" GROUP BY 1, 3, {self._names}"
        )

    @property
    def _names(self) -> str:
        return ", ".join(self.dimensions)

    @property
    def totals(self) -> str:
        """Every measure added up."""
        return ", ".join(f"{total(name)} AS {name}" for name in self.measures)


CALLS = Cube(
    "billing_usagesum",
    ("key_id", "model", "provider", "outcome"),
    (
        *("requests", "input_tokens", "cached_tokens", "output_tokens"),
        *("cost_nano", "fee_nano", "charge_nano", "savings_nano"),
        *("duration_ms", "first_content_ms", "first_contents"),
        *LATENCY_COLUMNS,
    ),
)
LABELS = Cube("billing_labelsum", ("kind", "label"), ("requests", "input_tokens", "output_tokens", "charge_nano"))
CUBES = (CALLS, LABELS)


def moment(value: datetime) -> Any:
    """A time as a parameter of raw SQL."""
    return connection.ops.adapt_datetimefield_value(value)


def read_moment(value: datetime | str) -> datetime:
    """A time as raw SQL returns it, in UTC."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value.astimezone(UTC)


def floor(column: str, grain_s: int | str) -> str:
    """The start of the slot of `grain_s` seconds in which `column` lies."""
    if is_postgres():
        return f"date_bin(make_interval(secs => {grain_s}), {column}, TIMESTAMPTZ '2000-01-01 00:00:00+00')"
    seconds = f"CAST(strftime('%%s', substr({column}, 1, 19)) AS integer)"  # it would round 59.999999 up
    return f"datetime({seconds} / {grain_s} * {grain_s}, 'unixepoch')"


def total(name: str) -> str:
    """A sum as an integer; PostgreSQL's own of bigint is numeric."""
    return f"CAST(SUM({name}) AS bigint)"


def units(buckets: Iterable[str]) -> str:
    """The units of these buckets of a usage row, added up."""
    if is_postgres():
        return " + ".join(f"COALESCE(CAST(u.usage ->> '{bucket}' AS bigint), 0)" for bucket in buckets)
    return " + ".join(f"COALESCE(u.usage ->> '$.{bucket}', 0)" for bucket in buckets)


def is_error(column: str) -> str:
    """Whether an outcome is an error."""
    return f"{column} IN ({', '.join(f"'{name}'" for name in ERROR_OUTCOMES)})"


def _call_measures() -> str:
    """What one usage row `u` adds to the measures of `CALLS`, in their order."""
    classes = []
    lower = -1
    for column, edge in zip(LATENCY_COLUMNS, (*LATENCY_EDGES_MS, 2**31), strict=True):
        within = f"u.duration_ms > {lower} AND u.duration_ms <= {edge}"
        classes.append(f"CASE WHEN {within} AND NOT {is_error('u.outcome')} THEN 1 ELSE 0 END AS {column}")
        lower = edge
    return (
        f"1 AS requests, {units(INPUT_BUCKETS)} AS input_tokens, {units(CACHED_BUCKETS)} AS cached_tokens,"
        f" {units(OUTPUT_BUCKETS)} AS output_tokens, u.cost_nano, u.fee_nano, u.charge_nano, u.savings_nano,"
        " u.duration_ms, COALESCE(u.first_content_ms, 0) AS first_content_ms,"
        f" CASE WHEN u.first_content_ms IS NULL THEN 0 ELSE 1 END AS first_contents, {', '.join(classes)}"
    )


def _label_tables() -> str:
    """What joins `u` to its labels: a row `k.kind`, `t.value` for each tag, and one for the end user (maybe '')."""
    kinds = "CROSS JOIN (SELECT 'tag' AS kind UNION ALL SELECT 'end_user') k CROSS JOIN"
    if is_postgres():
        array = "CASE k.kind WHEN 'tag' THEN u.tags ELSE jsonb_build_array(u.end_user) END"
        return f"{kinds} LATERAL jsonb_array_elements_text({array}) AS t(value)"
    return f"{kinds} json_each(CASE k.kind WHEN 'tag' THEN u.tags ELSE json_array(u.end_user) END) AS t"


def _label_measures() -> str:
    """What one label of one usage row adds to the measures of `LABELS`, in their order."""
    return (
        f"1 AS requests, {units(INPUT_BUCKETS)} AS input_tokens, {units(OUTPUT_BUCKETS)} AS output_tokens,"
        " u.charge_nano"
    )
