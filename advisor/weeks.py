"""ISO weeks (ISO 8601), by which digests are named: `2026-W53`. Pure; every moment is in UTC, so no clock is put back.

The digest of a week goes out on its Monday at 09:00 UTC and tells of the week before. Names sort as weeks do.
"""

import re
from datetime import UTC, date, datetime, time, timedelta

LETTERS_AT = time(9, tzinfo=UTC)
NAME = re.compile(r"([12][0-9]{3})-W([0-9]{2})")
WEEK = timedelta(days=7)


def week_of(day: date) -> str:
    """The week that a day (of a moment: its day in UTC) lies in; around New Year that may be one of another year."""
    in_utc = day.astimezone(UTC) if isinstance(day, datetime) else day
    year, week, _ = in_utc.isocalendar()
    return f"{year}-W{week:02}"


def monday_of(week: str) -> date:
    """The first day of a week. Raises `ValueError` for what names none, such as `2027-W53`."""
    found = NAME.fullmatch(week)
    try:
        if found is not None:
            return date.fromisocalendar(int(found[1]), int(found[2]), 1)
    except ValueError:  # not every year has a week 53
        found = None
    raise ValueError(f"{week!r} is no ISO week such as 2026-W47")


def last_day_told_of(week: str) -> date:
    """The Sunday before it: the last day of which its digest tells."""
    return monday_of(week) - timedelta(days=1)


def week_due(now: datetime) -> str | None:
    """The week whose digest should be out at this moment; None in the first hours of a Monday."""
    monday = monday_of(week_of(now))
    return week_of(monday) if now >= datetime.combine(monday, LETTERS_AT) else None


def is_over(week: str, now: datetime) -> bool:
    """Whether it is too late for its letters: another week has begun, which has a digest of its own."""
    return now >= datetime.combine(monday_of(week) + WEEK, time(tzinfo=UTC))
