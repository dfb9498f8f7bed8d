"""Which week's digest is due at which moment."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from advisor.weeks import is_over, last_day_told_of, monday_of, week_due, week_of

DAYS = some.dates(date(2000, 1, 1), date(2100, 12, 31))


@pytest.mark.parametrize(
    ("moment", "due"),
    [
        ("2026-11-30T08:59:59", None),
        ("2026-11-30T09:00:00", "2026-W49"),
        ("2026-12-06T23:59:59", "2026-W49"),
        ("2026-12-07T00:00:00", None),
        ("2026-12-28T09:00:00", "2026-W53"),  # a year of 53 weeks
        ("2027-01-01T12:00:00", "2026-W53"),
        ("2027-01-03T23:59:59", "2026-W53"),
        ("2027-01-04T08:59:59", None),
        ("2027-01-04T09:00:00", "2027-W01"),
    ],
)
def test_a_digest_is_due_from_nine_on_monday_to_the_end_of_its_week(moment: str, due: str | None):
    assert week_due(datetime.fromisoformat(moment).replace(tzinfo=UTC)) == due


@pytest.mark.parametrize("monday", [date(2026, 3, 23), date(2026, 3, 30), date(2026, 10, 19), date(2026, 10, 26)])
def test_no_clock_that_is_put_forward_or_back_moves_it(monday: date):
    """The two Mondays before and after each change in Berlin: the same moment in UTC, another hour there."""
    at_nine = datetime(monday.year, monday.month, monday.day, 9, tzinfo=UTC).astimezone(ZoneInfo("Europe/Berlin"))
    assert week_due(at_nine - timedelta(seconds=1)) is None
    assert week_due(at_nine) == week_of(monday)


def test_the_day_of_a_moment_is_that_in_utc():
    assert week_of(datetime(2026, 11, 30, 1, tzinfo=ZoneInfo("Asia/Tokyo"))) == "2026-W48"


@given(DAYS)
def test_a_week_begins_on_its_monday_and_tells_of_the_one_before(day: date):
    week = week_of(day)
    assert monday_of(week) <= day < monday_of(week) + timedelta(days=7)
    assert monday_of(week).weekday() == 0
    assert week_of(last_day_told_of(week)) < week


@given(DAYS, DAYS)
def test_names_sort_as_weeks_do(one: date, other: date):
    assert (week_of(one) < week_of(other)) == (monday_of(week_of(one)) < monday_of(week_of(other)))


@pytest.mark.parametrize("name", ["2027-W53", "2026-W00", "2026-47", "2026-11-30", "2026-W471", "", "2026-w47"])
def test_what_names_no_week_is_refused(name: str):
    with pytest.raises(ValueError, match="is no ISO week"):
        monday_of(name)


def test_letters_of_a_week_are_late_when_the_next_begins():
    assert not is_over("2026-W53", datetime(2027, 1, 3, 23, 59, 59, tzinfo=UTC))
    assert is_over("2026-W53", datetime(2027, 1, 4, tzinfo=UTC))
