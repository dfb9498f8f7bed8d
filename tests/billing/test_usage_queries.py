"""Pages of calls: every call that matches, once, newest first, whatever comes in meanwhile and however few match."""

from datetime import UTC, datetime, timedelta

import pytest

from billing import usage_pages
from billing.models import UsageRow
from billing.usage_queries import (
    UsageFilter,
    has_usage,
    spend_by_key,
    spend_by_tag,
    usage_page,
    usage_row,
    usage_rows,
)
from komilion.common.clock import utc_now
from komilion.common.errors import BadRequest
from tests.billing.calling import Calls
from tests.billing.ledger_database import LedgerDatabase
from tests.billing.rolling import roll_forward

NOON = datetime(2026, 3, 4, 12, 0, 0, 0, tzinfo=UTC)
ALL = {"start": NOON - timedelta(days=9), "end": NOON + timedelta(days=9)}
FILTERS = {
    "everything": UsageFilter(**ALL),
    "key": UsageFilter(key_id=3, **ALL),
    "no key": UsageFilter(key_id=0, **ALL),
    "model": UsageFilter(model="vendor/m1", **ALL),
    "provider": UsageFilter(provider="west", **ALL),
    "outcome": UsageFilter(outcome="provider_failed", **ALL),
    "tag": UsageFilter(tag="t3", **ALL),
    "end user": UsageFilter(end_user="u5", **ALL),
    "key and model": UsageFilter(key_id=3, model="vendor/m1", **ALL),
    "tag and end user": UsageFilter(tag="t1", end_user="u1", **ALL),
    "tag and outcome": UsageFilter(tag="t0", outcome="provider_failed", **ALL),
    "a part of the time": UsageFilter(
        provider="west", start=NOON + timedelta(minutes=50), end=NOON + timedelta(minutes=200, seconds=1)
    ),
    "nothing": UsageFilter(end_user="nobody", **ALL),
    "nothing of a key": UsageFilter(key_id=3, tag="none", **ALL),
}


@pytest.fixture
def alice(ledger: LedgerDatabase) -> Calls:
    """60 calls, five at each moment, a few minutes apart; half of them in the sums, one older than all settled last."""
    calls = Calls(ledger, ledger.open_wallet(paid=10**9))
    items = [
        calls.item(
            NOON + timedelta(minutes=20 * (number // 5)),
            request_id=f"gen-{number:04d}",
            key_id=number % 4 or None,
            model=f"vendor/m{number % 3}",
            provider="west" if number % 7 else "east",
            outcome="provider_failed" if number % 11 == 0 else "completed",
            tags=[f"t{number % 5}", "x"] if number % 2 else [],
            end_user=f"u{number % 6}",
        )
        for number in range(60)
    ]
    ledger.commit(*items[:40])
    roll_forward()
    ledger.commit(*items[40:])
    calls.add(NOON - timedelta(days=1), request_id="gen-late", key_id=3, provider="west", tags=["t3"])
    return calls


def pages(calls: Calls, filters: UsageFilter, limit: int) -> list[str]:
    """Request ids of all pages; none may be longer than the limit."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = usage_page(calls.tenant.wallet_id, filters, cursor, limit)
        assert len(page.rows) <= limit
        found += [row.request_id for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            return found


def matching(calls: Calls, filters: UsageFilter) -> list[str]:
    """What the pages should hold, chosen by Python."""
    rows = UsageRow.objects.filter(organization_id=calls.tenant.wallet_id)
    kept = [
        row
        for row in rows
        if filters.window.start <= row.created_at < filters.window.end
        and all((getattr(row, name) or 0) == value for name, value in filters.columns.items())
        and (filters.tag is None or filters.tag in row.tags)
        and (filters.end_user is None or row.end_user == filters.end_user)
    ]
    return [row.request_id for row in sorted(kept, key=lambda row: (row.created_at, row.request_id), reverse=True)]


def test_every_call_that_matches_is_on_one_page(alice):
    for name, filters in FILTERS.items():
        wanted = matching(alice, filters)
        assert pages(alice, filters, 4) == wanted, name
        assert pages(alice, filters, 100) == wanted, name


def test_a_page_that_looks_only_so_far_back_says_where_to_go_on(alice, monkeypatch):
    roll_forward()
    for slots in (1, 2):
        monkeypatch.setattr(usage_pages, "SLOTS_A_PAGE", slots)
        for name in ("model", "tag and outcome", "nothing of a key"):
            assert pages(alice, FILTERS[name], 4) == matching(alice, FILTERS[name]), (name, slots)


def test_pages_do_not_shift_when_calls_come_in(alice):
    first = usage_page(alice.tenant.wallet_id, FILTERS["everything"], None, 7)
    alice.add(NOON + timedelta(days=1), request_id="gen-new")
    rest = pages_from(alice, first.next_cursor)
    assert [row.request_id for row in first.rows] + rest == [
        request_id for request_id in matching(alice, FILTERS["everything"]) if request_id != "gen-new"
    ]


def pages_from(calls: Calls, cursor: str | None) -> list[str]:
    found = []
    while cursor is not None:
        page = usage_page(calls.tenant.wallet_id, FILTERS["everything"], cursor, 7)
        found += [row.request_id for row in page.rows]
        cursor = page.next_cursor
    return found


@pytest.mark.parametrize("cursor", ["x", "%%%", "4pyT", "bm9uZSBhIGI", "é"])
def test_a_cursor_that_is_none_of_ours_is_refused(alice, cursor):
    with pytest.raises(BadRequest, match="The cursor is not one"):
        usage_page(alice.tenant.wallet_id, UsageFilter(), cursor, 7)


def test_without_a_window_the_last_seven_days_are_searched(ledger):
    calls = Calls(ledger, ledger.open_wallet(paid=10**9))
    now = utc_now()
    ages = {"today": timedelta(), "week": timedelta(days=6, hours=23), "older": timedelta(days=7, minutes=1)}
    for name, age in ages.items():
        calls.add(now - age, request_id=f"gen-{name}")
    assert pages(calls, UsageFilter(), 9) == ["gen-today", "gen-week"]
    assert pages(calls, UsageFilter(end=now - timedelta(days=1)), 9) == ["gen-week", "gen-older"]
    assert pages(calls, UsageFilter(key_id=calls.tenant.key_id), 9) == ["gen-today", "gen-week"]


def test_an_export_reads_every_page(alice, monkeypatch):
    monkeypatch.setattr("billing.usage_queries.EXPORT_ROWS_AT_ONCE", 8)
    rows = usage_rows(alice.tenant.wallet_id, FILTERS["provider"])
    assert [row.request_id for row in rows] == matching(alice, FILTERS["provider"])


def test_a_stranger_finds_nothing(alice):
    charlie = Calls(alice.ledger, alice.ledger.open_wallet())
    for filters in FILTERS.values():
        assert pages(charlie, filters, 50) == []
    assert usage_row(charlie.tenant.wallet_id, "gen-0001") is None
    assert not has_usage(charlie.tenant.wallet_id)
    window = (ALL["start"], ALL["end"])
    assert spend_by_key(charlie.tenant.wallet_id, *window) == spend_by_tag(charlie.tenant.wallet_id, *window) == []


def test_one_call(alice):
    row = usage_row(alice.tenant.wallet_id, "gen-0001")
    assert row is not None
    assert (row.key_id, row.model) == (1, "vendor/m1")
    assert has_usage(alice.tenant.wallet_id)
    assert usage_row(alice.tenant.wallet_id, "gen-none") is None


def test_spending_by_key_and_by_tag(alice):
    rows = UsageRow.objects.filter(organization_id=alice.tenant.wallet_id)
    keys = {spend.key_id: spend.sums for spend in spend_by_key(alice.tenant.wallet_id, ALL["start"], ALL["end"])}
    assert set(keys) == {None, 1, 2, 3}
    for key_id, sums in keys.items():
        assert sums.charge_nano == sum(row.charge_nano for row in rows if row.key_id == key_id)
    tags = spend_by_tag(alice.tenant.wallet_id, ALL["start"], ALL["end"])
    assert tags[0].tag == "x"
    assert {spend.tag: spend.sums.requests for spend in tags} == {
        tag: sum(tag in row.tags for row in rows) for tag in ("x", "t0", "t1", "t2", "t3", "t4")
    }
