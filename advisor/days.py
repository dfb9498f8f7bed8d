"""Which days' evidence is to be built, and whether what was built is right; advisor.actions.evidence builds it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import connection
from django.db.models import Min

from advisor.day_sql import sums_by_organization
from advisor.models import EvidenceDay
from billing.cubes import moment
from billing.models import UsageRow
from billing.rollups import Days
from komilion.common.money import format_usd

DAY = timedelta(days=1)
LATE = timedelta(hours=1)  # after midnight, when what is noted after an answer has arrived
LOOKED_BACK_DAYS = 60  # of calls that have no evidence yet
KEPT_FOR = timedelta(days=400)


def days_due(now: datetime) -> list[date]:
    """UTC days to build, the oldest first: an hour after their end, and once more a day later.

    Calls that came in on a day are settled up to minutes after its end, votes and readings of them noted later still.
    After an outage every day that was missed is due, back to the oldest call, but no more than `LOOKED_BACK_DAYS`.
    """
    oldest = UsageRow.objects.aggregate(oldest=Min("created_at"))["oldest"]
    if oldest is None:
        return []
    today = now.astimezone(UTC).date()
    first = max(oldest.astimezone(UTC).date(), today - LOOKED_BACK_DAYS * DAY)
    built = dict(EvidenceDay.objects.filter(day__gte=first).values_list("day", "built_at"))
    days = [first + number * DAY for number in range((today - first).days)]
    return [day for day in days if _is_due(day, built.get(day), now)]


def _is_due(day: date, built_at: datetime | None, now: datetime) -> bool:
    once = datetime.combine(day + DAY, time(), UTC) + LATE
    again = once + DAY
    if built_at is None or built_at < once:
        return now >= once
    return built_at < again <= now


def parameters(day: date) -> list[Any]:
    """A day, its start and its end as the queries of `advisor.day_sql` take them."""
    start = datetime.combine(day, time(), UTC)
    return [connection.ops.adapt_datefield_value(day), moment(start), moment(start + DAY)]


def differences(days: Days) -> Iterator[str]:
    """One line for each organization and day whose evidence is not the sum of its calls; none when all is right."""
    for start, _ in days:
        with connection.cursor() as cursor:
            cursor.execute(sums_by_organization(), parameters(start.date()))
            rows = cursor.fetchall()
        for organization_id, told, calls, told_nano, nano in rows:
            yield (
                f"organization {organization_id}, {start:%Y-%m-%d}: evidence has {told} calls for"
                f" ${format_usd(told_nano)}, the usage rows {calls} for ${format_usd(nano)}"
            )
