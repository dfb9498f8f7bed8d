"""When which price of an offer holds: rows by their date, and of these the times of the day."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from routing.catalog.models import OfferPrice

# A call that begins so shortly before a dear time of the day may end in it, and be billed by the provider as such.
WINDOW_LEAD_MINUTES = 10
MINUTES_A_DAY = 1_440
SATURDAY = 5
A_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
SHARE_STEP_MINUTES = 5


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the day, in minutes of it (UTC), with the id of its price."""

    start: int
    end: int
    weekdays_only: bool
    price: int

    def holds_at(self, now: datetime) -> bool:
        """Whether it does."""
        minute = now.hour * 60 + now.minute
        if (minute - self.start) % MINUTES_A_DAY >= (self.end - self.start) % MINUTES_A_DAY:
            return False
        return not self.weekdays_only or now.weekday() < SATURDAY

    def next_change(self, now: datetime) -> datetime:
        """When it may begin or end next."""
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        moments = [today + timedelta(minutes=minute) for minute in (self.start, self.end)]
        return min(moment if moment > now else moment + timedelta(days=1) for moment in moments)


@dataclass(slots=True)
class Schedule:
    """The prices of one offer that came into force last: of the whole day, and of times of it in minutes."""

    since: datetime
    whole_day: int | None = None
    windows: list[Window] = field(default_factory=list)

    def price_at(self, now: datetime) -> int | None:
        """The id of the price at that moment."""
        return next((window.price for window in self.windows if window.holds_at(now)), self.whole_day)

    def shares(self) -> dict[int, float]:
        """The share of a week for which each price holds, by its id; of the time in which there is one."""
        if not self.windows:
            return {} if self.whole_day is None else {self.whole_day: 1.0}
        moments = (A_MONDAY + timedelta(minutes=minute) for minute in range(0, 7 * MINUTES_A_DAY, SHARE_STEP_MINUTES))
        held = Counter(price for moment in moments if (price := self.price_at(moment)) is not None)
        return {price: count / held.total() for price, count in held.items()}

    @property
    def prices(self) -> list[int]:
        """Every price that it has at some time of the day."""
        found = [window.price for window in self.windows]
        return found if self.whole_day is None else [self.whole_day, *found]


def read_schedules(now: datetime) -> tuple[dict[int, Schedule], datetime | None]:
    """Offer -> its prices in force, and when the next one of any offer begins or ends; None where that is never."""
    schedules: dict[int, Schedule] = {}
    moments: list[datetime] = []
    rows = OfferPrice.objects.order_by("effective_from", "pk")
    for offer, since, start, end, weekdays_only, price in rows.values_list(
        "offer_id", "effective_from", "from_minute", "to_minute", "weekdays_only", "price_id"
    ):
        if since > now:
            moments.append(since)
            break  # the first of them; the others come later
        schedule = schedules.get(offer)
        if schedule is None or schedule.since != since:
            schedule = schedules[offer] = Schedule(since)
        if start is None or end is None:
            schedule.whole_day = price
        else:
            schedule.windows.append(_window(start, end, weekdays_only, price))
    moments += [window.next_change(now) for schedule in schedules.values() for window in schedule.windows]
    return schedules, min(moments, default=None)


def _window(start: int, end: int, weekdays_only: bool, price: int) -> Window:
    return Window((start - WINDOW_LEAD_MINUTES) % MINUTES_A_DAY, end, weekdays_only, price)


def rows_at(rows: Sequence[OfferPrice], moment: datetime) -> list[OfferPrice]:
    """Of an offer's prices, the earliest first, those that hold on the day of a moment."""
    past = [row for row in rows if row.effective_from <= moment]
    return [row for row in past if row.effective_from == past[-1].effective_from]


def in_force(rows: Sequence[OfferPrice], now: datetime) -> OfferPrice | None:
    """Of an offer's prices, the earliest first, the one that a call pays which is routed now."""
    whole_day = None
    for row in rows_at(rows, now):
        if row.from_minute is None or row.to_minute is None:
            whole_day = row
        elif _window(row.from_minute, row.to_minute, row.weekdays_only, row.price_id).holds_at(now):
            return row
    return whole_day
