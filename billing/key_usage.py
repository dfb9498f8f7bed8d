"""What keys have spent and when they were used last, for pages and APIs."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db.models import Max, Q, Sum

from billing.cap_periods import PERIODS
from billing.models import UsageSum, Wallet
from billing.models.rollup import DAY_S, QUARTER_S
from billing.queries import CapStatus, caps_of_keys
from billing.usage_queries import UsageFilter, spend_by_key, usage_page
from billing.usage_sums import Sums, Window, call_sums
from komilion.common.clock import utc_now

BEFORE_ALL = datetime(2020, 1, 1, tzinfo=UTC)  # earlier than the first call of any installation
QUARTER = timedelta(seconds=QUARTER_S)


def month_so_far() -> Window:
    """The running month (UTC), to a moment that is still to come."""
    now = utc_now()
    return Window(datetime(now.year, now.month, 1, tzinfo=UTC), now + timedelta(days=1))


def spent_this_month(organization_id: int) -> dict[int, int]:
    """Nano-USD by key."""
    window = month_so_far()
    rows = spend_by_key(organization_id, window.start, window.end)
    return {row.key_id: row.sums.charge_nano for row in rows if row.key_id is not None}


def last_days(organization_id: int, key_ids: Collection[int]) -> dict[int, date]:
    """The last day (UTC) on which each of these keys was used; a key that never was is not there."""
    sums = UsageSum.objects.filter(organization_id=organization_id, grain_s=DAY_S, key_id__in=key_ids)
    found = {key_id: last.date() for key_id, last in sums.values_list("key_id").annotate(Max("starts_at"))}
    today = utc_now().date()
    midnight = datetime.combine(today, time(), UTC)
    todays = call_sums(organization_id, [Window(midnight, midnight + timedelta(days=1))], ["key_id"])
    return found | {key_id: today for _, key_id in todays if key_id in key_ids}


@dataclass(frozen=True, slots=True)
class KeyActivity:
    """When a key was used last (a UTC day), and what it was charged in a span of days."""

    key_id: int
    last_on: date
    charge_nano: int


def key_activity(organization_ids: Collection[int], since: date, through: date) -> Iterator[KeyActivity]:
    """Of every key of these organizations that was ever used, for jobs that look at all of them, some at a time.

    The span is from `since` through `through`. Calls of the last seconds may be in no sum yet.
    """
    start = datetime.combine(since, time(), UTC)
    end = datetime.combine(through, time(), UTC) + timedelta(days=1)
    sums = UsageSum.objects.filter(organization_id__in=organization_ids, grain_s=DAY_S, key_id__gt=0)
    charged = Sum("charge_nano", filter=Q(starts_at__gte=start, starts_at__lt=end), default=0)
    rows = sums.values_list("key_id").annotate(last_at=Max("starts_at"), charged=charged).order_by("key_id")
    for key_id, last_at, charge_nano in rows:
        yield KeyActivity(key_id, last_at.date(), charge_nano)


def last_quarters(organization_id: int, key_ids: Collection[int]) -> dict[int, datetime]:
    """The start of the last quarter of an hour in which each of these keys was used: days of all zones begin at one."""
    days = last_days(organization_id, key_ids)
    on_these_days = Q(pk__isnull=True)
    for day in set(days.values()):
        start = datetime.combine(day, time(), UTC)
        on_these_days |= Q(starts_at__gte=start, starts_at__lt=start + timedelta(days=1))
    sums = UsageSum.objects.filter(on_these_days, organization_id=organization_id, grain_s=QUARTER_S)
    found = dict(sums.filter(key_id__in=list(days)).values_list("key_id").annotate(Max("starts_at")))
    now = utc_now()
    midnight = datetime.combine(now.date(), time(), UTC)
    if now.date() in days.values():  # some of today's calls may be in no sum yet
        quarters = [midnight + number * QUARTER for number in range((now - midnight) // QUARTER + 1)]
        windows = [Window(at, at + QUARTER) for at in quarters]
        todays = call_sums(organization_id, windows, ["key_id"], measures=["requests"])
        found |= {key_id: quarters[number] for number, key_id in sorted(todays) if key_id in days}
    return found


def last_call_at(organization_id: int, key_id: int) -> datetime | None:
    """When the last call with this key came in."""
    day = last_days(organization_id, [key_id]).get(key_id)
    if day is None:
        return None
    start = datetime.combine(day, time(), UTC)
    rows = usage_page(organization_id, UsageFilter(key_id=key_id, start=start), None, 1).rows
    return rows[0].created_at if rows else start


def spent_by_key(organization_id: int, key_id: int) -> tuple[Sums, Sums, Sums, Sums]:
    """What one key used today, this week (from Monday), this month and ever (UTC)."""
    now = utc_now()
    midnight = datetime.combine(now.date(), time(), UTC)
    end = now + timedelta(days=1)
    starts = (midnight, midnight - timedelta(days=midnight.weekday()), midnight.replace(day=1), BEFORE_ALL)
    windows = [Window(start, end) for start in starts]
    found = call_sums(organization_id, windows, only={"key_id": key_id})
    today, week, month, ever = (found.get((number,), Sums()) for number in range(4))
    return today, week, month, ever


def used_ever(organization_id: int) -> Sums:
    """All calls of the organization."""
    window = Window(BEFORE_ALL, utc_now() + timedelta(days=1))
    return call_sums(organization_id, [window]).get((0,), Sums())


def caps_in_order(organization_id: int, key_ids: Collection[int]) -> dict[int, dict[str, CapStatus]]:
    """The caps of these keys, those of the shortest period first."""
    found = caps_of_keys(organization_id, key_ids)
    return {key_id: {period: caps[period] for period in PERIODS if period in caps} for key_id, caps in found.items()}


def owned_nano(organization_id: int) -> int:
    """What the organization's wallet holds, held credit too, less its debt; in nano-USD."""
    wallet = Wallet.objects.filter(organization_id=organization_id).first()
    return 0 if wallet is None else wallet.paid_nano + wallet.promo_nano - wallet.debt_nano
