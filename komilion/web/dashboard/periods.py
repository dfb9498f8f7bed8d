"""The spans of time that the overview speaks of, in the viewer's zone."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from django.utils import timezone

from billing.usage_sums import Window, local_days
from komilion.common.clock import utc_now

CHOICES = {1: "today", 7: "7 days", 30: "30 days", 90: "90 days"}
DEFAULT = 7
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Period:
    """The last `days` days, today included, and the same span before them."""

    days: int
    slots: list[Window]  # one for each bar: days, or the hours of today
    labels: list[str]
    before: Window

    @property
    def window(self) -> Window:
        """All of it, to the end of today."""
        return Window(self.slots[0].start, self.slots[-1].end)

    @property
    def name(self) -> str:
        """`7 days`."""
        return CHOICES[self.days]

    @property
    def name_before(self) -> str:
        """What it is compared with."""
        return "yesterday up to this hour" if self.days == 1 else f"the {self.name} before, up to this hour"

    @property
    def slot_name(self) -> str:
        """What each bar is."""
        return "Hour" if self.days == 1 else "Day"


def period(text: str) -> Period:
    """The period that a link names by its days; the default one for anything else. In the current time zone."""
    zone = timezone.get_current_timezone()
    days = int(text) if text in map(str, CHOICES) else DEFAULT
    now = utc_now()
    today = now.astimezone(zone).date()
    windows = local_days(zone, today - timedelta(days=days - 1), days)
    # As much of the days before as has passed of these, so that half a day is not compared with a whole one.
    earlier = local_days(zone, today - timedelta(days=2 * days - 1), 1)[0].start
    before = Window(earlier, min(windows[0].start, earlier + (now - windows[0].start)))
    if days == 1:
        hours = _hours(windows[0])
        return Period(days, hours, [f"{hour.start.astimezone(zone):%H:%M}" for hour in hours], before)
    return Period(days, windows, [_day(window, zone) for window in windows], before)


def last_days(count: int) -> Window:
    """So many days of the current time zone, today included."""
    zone = timezone.get_current_timezone()
    today = utc_now().astimezone(zone).date()
    windows = local_days(zone, today - timedelta(days=count - 1), count)
    return Window(windows[0].start, windows[-1].end)


def _day(window: Window, zone: tzinfo) -> str:
    local = window.start.astimezone(zone)
    return f"{local:%b} {local.day}"


def _hours(day: Window) -> list[Window]:
    """23 to 25 of them; in zones that are not whole hours from UTC they begin with the zone's hours."""
    starts: list[datetime] = []
    start = day.start.astimezone(UTC)
    while start < day.end:
        starts.append(start)
        start += HOUR
    return [Window(start, min(start + HOUR, day.end)) for start in starts]
