"""Reads of an organization's calls for pages and APIs: pages of them, one of them, and what they add up to.

Every page is served within a bounded window of time. A filter that few calls match is no scan of the window either: the
sums of the quarter-hours say where such calls are (billing.cubes).
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Count, Sum

from billing.models import LabelSum, UsageRow
from billing.usage_pages import Position, Wanted, newest
from billing.usage_sums import LabelSums, Sums, Window, call_sums, label_sums
from komilion.common.clock import utc_now
from komilion.common.errors import BadRequest

DEFAULT_DAYS = 7
EXPORT_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which calls: each field that is not None must match. `start` (inclusive) and `end` (exclusive) are aware.

    `key_id` 0 is for calls without a key. Without `start` it is `DEFAULT_DAYS` before `end`; without `end` it is now
    and later.
    """

    key_id: int | None = None
    model: str | None = None
    provider: str | None = None
    outcome: str | None = None
    tag: str | None = None
    end_user: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    @property
    def window(self) -> Window:
        """From when to when; a call that comes in meanwhile is in a window without an end."""
        end = self.end or utc_now() + timedelta(days=1)
        return Window(self.start or min(end, utc_now()) - timedelta(days=DEFAULT_DAYS), end)

    @property
    def wanted(self) -> Wanted:
        """As `billing.usage_pages` takes it."""
        return Wanted(self.columns, self.labels, self.window)

    @property
    def columns(self) -> dict[str, int | str]:
        """The fields that are columns of usage rows and of `UsageSum`, with what they must be."""
        wanted = {"key_id": self.key_id, "model": self.model, "provider": self.provider, "outcome": self.outcome}
        return {name: value for name, value in wanted.items() if value is not None}

    @property
    def labels(self) -> dict[str, str]:
        """Likewise those of `LabelSum`, by kind."""
        wanted = {LabelSum.Kind.TAG.value: self.tag, LabelSum.Kind.END_USER.value: self.end_user}
        return {kind: value for kind, value in wanted.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Page:
    """Calls, newest first, and where the next older page begins; None on the last one."""

    rows: list[UsageRow]
    next_cursor: str | None


def usage_page(organization_id: int, filters: UsageFilter, cursor: str | None, limit: int) -> Page:
    """One page of at most `limit` calls. Raises `BadRequest` for a cursor that is none of ours.

    Pages do not shift when calls come in. A page may be short, even empty, and still have a next one: where hardly
    anything matches, a page looks only so far back.
    """
    found = newest(organization_id, filters.wanted, _read_cursor(cursor) if cursor else None, limit + 1)
    if len(found.rows) > limit:
        last = found.rows[limit - 1]
        return Page(found.rows[:limit], _cursor_of(Position(last.created_at, last.request_id)))
    return Page(found.rows, None if found.searched_to is None else _cursor_of(Position(found.searched_to)))


def _cursor_of(position: Position) -> str:
    text = f"{position.created_at.astimezone(UTC).isoformat()} {position.request_id}"
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> Position:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        created_at, _, request_id = text.partition(" ")
        return Position(datetime.fromisoformat(created_at).astimezone(UTC), request_id)
    except (binascii.Error, ValueError, OverflowError) as error:
        raise BadRequest("The cursor is not one that this API gave out.", param="cursor") from error


def usage_rows(organization_id: int, filters: UsageFilter) -> Iterator[UsageRow]:
    """Every call, newest first, read in parts: for exports."""
    cursor: str | None = ""
    while cursor is not None:
        page = usage_page(organization_id, filters, cursor, EXPORT_ROWS_AT_ONCE)
        yield from page.rows
        cursor = page.next_cursor


def usage_row(organization_id: int, request_id: str) -> UsageRow | None:
    """The call with this id; None where the organization has none, or it is not settled yet."""
    return UsageRow.objects.filter(request_id=request_id, organization_id=organization_id).first()


def has_usage(organization_id: int) -> bool:
    """Whether any call was ever settled."""
    return UsageRow.objects.filter(organization_id=organization_id).exists()


def sums_by_request_for(organization_id: int, window: Window, names: Collection[str]) -> Sums:
    """Requests, charge and savings of the calls that asked for one of `names` in place of a model.

    From the rows themselves, since no sum is kept by what was asked for.
    """
    rows = UsageRow.objects.filter(
        organization_id=organization_id,
        created_at__gte=window.start,
        created_at__lt=window.end,
        requested_model__in=names,
    )
    found = rows.aggregate(requests=Count("pk"), charge_nano=Sum("charge_nano"), savings_nano=Sum("savings_nano"))
    return Sums(
        found["requests"], charge_nano=int(found["charge_nano"] or 0), savings_nano=int(found["savings_nano"] or 0)
    )


@dataclass(frozen=True, slots=True)
class KeySpend:
    """What one key's calls add up to; `key_id` is None for calls without a key."""

    key_id: int | None
    sums: Sums


def spend_by_key(organization_id: int, start: datetime, end: datetime) -> list[KeySpend]:
    """Sums by key of the calls that came in from `start` up to but without `end`, dearest first."""
    found = call_sums(organization_id, [Window(start, end)], ["key_id"])
    rows = [KeySpend(key_id or None, sums) for (_, key_id), sums in found.items()]
    return sorted(rows, key=lambda row: (-row.sums.charge_nano, row.key_id or 0))


@dataclass(frozen=True, slots=True)
class TagSpend:
    """What the calls with one tag add up to; a call with two tags counts for both."""

    tag: str
    sums: LabelSums


def spend_by_tag(organization_id: int, start: datetime, end: datetime) -> list[TagSpend]:
    """Sums by tag of the calls that came in from `start` up to but without `end`, dearest first."""
    found = label_sums(organization_id, Window(start, end), LabelSum.Kind.TAG)
    return [TagSpend(tag, sums) for tag, sums in found.items()]
