"""The periods of caps: days and months of UTC, and ever."""

from datetime import date, timedelta

from billing.models import EVER, Cap

PERIODS: tuple[str, ...] = tuple(Cap.Period.values)


def current_start(period: str, today: date) -> date:
    """The first day of the period that `today` (UTC) is in."""
    if period == Cap.Period.DAY:
        return today
    return today.replace(day=1) if period == Cap.Period.MONTH else EVER


def resets_on(period: str, starts_on: date) -> date | None:
    """The first day of the next period; None where there is none."""
    if period == Cap.Period.DAY:
        return starts_on + timedelta(days=1)
    if period == Cap.Period.MONTH:
        return (starts_on + timedelta(days=31)).replace(day=1)
    return None
