"""Reading what the sums of usage rows hold and whether it is right; billing.actions.rollups builds them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db import connection
from django.db.models import Min

from billing.cubes import CUBES, MARK, Cube, is_postgres, moment, read_moment
from billing.models import LabelSum, LedgerEntry, UsageMark, UsageRow, UsageSum
from billing.models.rollup import GRAINS_S
from komilion.common.clock import utc_now
from komilion.common.db import read_snapshot
from komilion.common.money import format_usd

DAY = timedelta(days=1)

# Both sides of the day's sums per organization; parameters: from, to, from, to.
AGAINST_THE_LEDGER = f"""
    SELECT organization_id, CAST(SUM(rolled) AS bigint), CAST(SUM(settled) AS bigint) FROM (
        SELECT organization_id, charge_nano AS rolled, 0 AS settled FROM billing_usagesum
         WHERE grain_s = 86400 AND starts_at >= %s AND starts_at < %s
         UNION ALL
        SELECT u.organization_id, 0, (SELECT e.amount_nano FROM billing_ledgerentry e
                WHERE e.reference = u.request_id AND e.kind = 'settle' AND e.id <= {MARK})
          FROM billing_usagerow u WHERE u.created_at >= %s AND u.created_at < %s) both_sides
     GROUP BY organization_id HAVING SUM(rolled) <> SUM(settled) ORDER BY organization_id
"""


@dataclass(frozen=True, slots=True)
class Days:
    """Whole UTC days from `first` up to and with `last`."""

    first: date
    last: date

    def __iter__(self) -> Iterator[tuple[datetime, datetime]]:
        """Start and end of each day."""
        start = datetime.combine(self.first, time(), UTC)
        while start.date() <= self.last:
            yield start, start + DAY
            start += DAY


def filled(days: Days) -> Iterator[tuple[datetime, datetime]]:
    """The days that have calls, or sums that say so."""
    for start, end in days:
        rows = UsageRow.objects.filter(created_at__gte=start, created_at__lt=end)
        sums = UsageSum.objects.filter(grain_s__in=GRAINS_S, starts_at__gte=start, starts_at__lt=end)
        labels = LabelSum.objects.filter(grain_s__in=GRAINS_S, starts_at__gte=start, starts_at__lt=end)
        if any(found.exists() for found in (rows, sums, labels)):
            yield start, end


def newest_entry_id() -> int:
    """The highest id that a ledger entry has; on PostgreSQL also one that is not committed yet, or never will be."""
    newest = "SELECT COALESCE(MAX(id), 0) FROM billing_ledgerentry"
    if is_postgres():  # a sequence that was never used shows the id that comes first
        newest = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM billing_ledgerentry_id_seq"
    with connection.cursor() as cursor:
        cursor.execute(newest)
        return int(cursor.fetchone()[0])


def have_ended(before_xid: int) -> bool:
    """Whether every transaction with a lower id has; always so on SQLite, where one writes at a time."""
    if not is_postgres():
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= %s", [before_xid])
        return bool(cursor.fetchone()[0])


def entries_behind() -> int:
    """How many ledger entries the sums do not hold yet; what a page has to add from the rows themselves."""
    return LedgerEntry.objects.filter(pk__gt=mark_entry_id()).count()


def mark_entry_id() -> int:
    """The ledger entry up to which the sums hold all settlements."""
    return UsageMark.objects.filter(pk=1).values_list("entry_id", flat=True).first() or 0


def days_with_usage() -> Days | None:
    """From the oldest usage row to today; None without any."""
    oldest = UsageRow.objects.aggregate(oldest=Min("created_at"))["oldest"]
    return None if oldest is None else Days(oldest.date(), utc_now().date())


def last_days(count: int) -> Days:
    """So many UTC days up to today."""
    today = utc_now().date()
    return Days(today - timedelta(days=count - 1), today)


def wrong_slots(cube: Cube, grain_s: int, start: datetime, end: datetime) -> list[datetime]:
    """Starts of the slots of a window that differ from the usage rows (or from the next finer grain)."""
    with read_snapshot(), connection.cursor() as cursor:
        params = [moment(start), moment(end), *cube.span(grain_s, start, end, mark_entry_id())]
        cursor.execute(cube.wrong(grain_s), params)
        return [read_moment(starts_at) for (starts_at,) in cursor.fetchall()]


def differences(days: Days) -> Iterator[str]:
    """One line for each sum that is not what it should be; none when all are right. Safe beside a running server."""
    for start, end in filled(days):
        window = [moment(start), moment(end)]
        with connection.cursor() as cursor:
            cursor.execute(AGAINST_THE_LEDGER, [*window, *window])
            rows = cursor.fetchall()
        for organization_id, rolled, settled in rows:
            yield (
                f"organization {organization_id}, {start:%Y-%m-%d}: sums say {format_usd(rolled)},"
                f" the ledger {format_usd(settled)}"
            )
        for cube in CUBES:
            for grain_s in GRAINS_S:
                for slot in wrong_slots(cube, grain_s, start, end):
                    yield f"{cube.table}, {grain_s} s from {slot:%Y-%m-%d %H:%M}: not the sum of its rows"
