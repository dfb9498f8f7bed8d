"""A million calls of one tenant on PostgreSQL: building their sums, and every page about them in bounded time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoDbBlocker

from accounts.models import User
from billing.partitions import ensure_partitions
from billing.rollups import Days, differences, entries_behind
from billing.usage_queries import UsageFilter, usage_page
from komilion.common.clock import utc_now
from tests.billing.ledger_database import django_uses, migrate
from tests.billing.rolling import roll_forward
from tests.people import new_owner

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(600)]

CALLS = 1_000_000
KEYS = 20
DAYS = 30
BEHIND = 500
PAGE_MS = 100
LISTING_MS = 50
QUERIES = 12
ROLL_UP_S = 120
TRIES = 7

# One call every 2.6 seconds, over KEYS keys, 8 models at 2 providers; one in 50 has a tag, one in 10,000 fails.
ROWS = """
    INSERT INTO billing_usagerow (created_at, request_id, client_request_id, organization_id, key_id, member_id,
        end_user, tags, app_url, app_title, endpoint, requested_model, model, provider, streamed, outcome,
        usage_source, usage, price_id, cost_nano, fee_nano, charge_nano, savings_nano, first_content_ms, duration_ms,
        detail)
    SELECT at, 'gen-' || lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || lpad(n::text, 18, '0'), '',
        %(organization)s, 1 + n %% %(keys)s, 1, CASE WHEN n %% 40 = 0 THEN 'user-' || n %% 5000 ELSE '' END,
        CASE WHEN n %% 50 = 0 THEN jsonb_build_array('batch', 'team-' || n %% 7) ELSE '[]'::jsonb END, '', '',
        'chat.completions', 'acme/model-' || n %% 8, 'acme/model-' || n %% 8, 'provider-' || n %% 2, n %% 3 = 0,
        CASE WHEN n %% 10000 = 7 THEN 'provider_failed' ELSE 'completed' END, 'provider',
        jsonb_build_object('input', 200 + n %% 3000, 'output', n %% 700), 1, 1000 + n %% 5000, 250 + n %% 1250,
        1250 + n %% 6250, 0, n %% 900, n %% 9000,
        jsonb_build_object('adjusted', '[]'::jsonb, 'attempts', jsonb_build_array(jsonb_build_object('provider',
        'provider-' || n %% 2, 'model', 'acme/model-' || n %% 8, 'status', 200, 'ms', n %% 9000)))
      FROM (SELECT n, %(start)s + n * %(step)s AS at FROM generate_series(1, %(calls)s) n) s
"""
ENTRIES = """
    INSERT INTO billing_ledgerentry (reference, kind, ordinal, wallet_id, amount_nano, memo, created_at)
    SELECT request_id, 'settle', 0, organization_id, charge_nano, '', created_at FROM billing_usagerow u
     WHERE organization_id = %s AND created_at >= %s
       AND NOT EXISTS (SELECT 1 FROM billing_ledgerentry e WHERE e.reference = u.request_id) ORDER BY created_at
"""
POSTINGS = """
    INSERT INTO billing_posting (entry_id, wallet_id, source, target, amount_nano)
    SELECT id, wallet_id, 'paid', 'provider_cost', amount_nano FROM billing_ledgerentry e
     WHERE wallet_id = %s AND created_at >= %s AND NOT EXISTS (SELECT 1 FROM billing_posting p WHERE p.entry_id = e.id)
"""


@dataclass(frozen=True)
class Crowd:
    """The tenant with the calls, and how long the first sums took."""

    organization_id: int
    browser: Client
    secret: str  # of a key that may manage, so it sees the calls of every key
    roll_up_s: float


def fill(organization_id: int, calls: int, days: float = DAYS) -> None:
    """So many calls, from so many days ago to now, with their entries and postings."""
    span = timedelta(days=days)
    start = utc_now() - span
    values = {"organization": organization_id, "start": start, "step": span / calls, "calls": calls, "keys": KEYS}
    with connection.cursor() as cursor:
        cursor.execute(ROWS, values)
        cursor.execute(ENTRIES, [organization_id, start])
        cursor.execute(POSTINGS, [organization_id, start])


@pytest.fixture(scope="module")
def crowd(
    new_postgres_database: Callable[[], str], django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[Crowd]:
    with django_db_blocker.unblock(), django_uses(migrate(new_postgres_database())):
        ensure_partitions((utc_now() - timedelta(days=DAYS)).date())
        alice, charlie = new_owner("alice@example.com"), new_owner("charlie@example.com")
        fill(alice.organization_id, CALLS)
        fill(charlie.organization_id, CALLS // 10)
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        before = perf_counter()
        roll_forward()
        roll_up_s = perf_counter() - before
        assert entries_behind() == 0
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        secrets = [alice.key(f"key {number}", can_manage=True).secret for number in range(KEYS)]
        yield Crowd(alice.organization_id, alice.browser, secrets[0], roll_up_s)


def measure(browser: Client, address: str) -> tuple[float, int]:
    """The milliseconds that the address takes to answer, and its queries.

    The quickest try counts: what comes on top in the others is the machine's, which other programs use too.
    """
    times = []
    for _ in range(TRIES):
        before = perf_counter()
        response = browser.get(address)
        times.append((perf_counter() - before) * 1_000)
        assert response.status_code == 200, response.content
    with CaptureQueriesContext(connection) as queries:
        browser.get(address)
    return min(times), len(queries)


def query(sql: str, *params: Any) -> Any:
    """The one value of a query."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()[0]


def pages(organization_id: int) -> list[str]:
    """Every kind of page; filters that most calls match, few, none, and two that hardly ever meet."""
    request_id = query(
        "SELECT request_id FROM billing_usagerow WHERE organization_id = %s ORDER BY created_at LIMIT 1 OFFSET 500000",
        organization_id,
    )
    month = f"from={utc_now() - timedelta(days=DAYS - 1):%Y-%m-%dT%H:%M}"
    return [
        *(f"/dashboard?days={days}" for days in (1, 7, 30, 90)),
        "/dashboard/usage",
        "/dashboard/usage?key=7",
        "/dashboard/usage?model=acme/model-3",
        "/dashboard/usage?key=1&model=acme/model-7",
        f"/dashboard/usage?{month}&outcome=provider_failed",
        f"/dashboard/usage?{month}&tag=batch",
        f"/dashboard/usage?{month}&tag=team-3&key=1",
        f"/dashboard/usage?{month}&user=user-80&tag=team-6",
        f"/dashboard/usage?{month}&user=nobody",
        f"/dashboard/usage/{request_id}",
    ]


def test_a_million_calls_are_summed_in_seconds(crowd):
    assert crowd.roll_up_s < ROLL_UP_S
    rolled, rows = (
        query(f"SELECT SUM(requests) FROM billing_usagesum WHERE grain_s = {grain}") for grain in (900, 86_400)
    )
    assert rolled == rows == CALLS + CALLS // 10
    last_week = Days(utc_now().date() - timedelta(days=2), utc_now().date())
    assert list(differences(last_week)) == []


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_every_page_comes_in_bounded_time_with_few_queries(crowd, zone):
    User.objects.update(time_zone=zone)
    measured = {page: measure(crowd.browser, page) for page in pages(crowd.organization_id)}
    assert {page: round(ms) for page, (ms, _) in measured.items() if ms >= PAGE_MS} == {}
    assert {page: count for page, (_, count) in measured.items() if count > QUERIES} == {}


def test_pages_are_as_quick_while_the_job_is_behind(crowd):
    """Twenty seconds of 25 calls a second that no sum holds yet."""
    User.objects.update(time_zone="UTC")
    fill(crowd.organization_id, BEHIND, days=0.01)
    assert entries_behind() == BEHIND
    measured = {page: measure(crowd.browser, page)[0] for page in pages(crowd.organization_id)}
    roll_forward()
    assert {page: round(ms) for page, ms in measured.items() if ms >= PAGE_MS} == {}


def test_old_pages_are_as_quick_as_new_ones(crowd):
    """The cursor leads into the middle of the month."""
    cursor = usage_page(
        crowd.organization_id, UsageFilter(end=utc_now() - timedelta(days=DAYS / 2)), None, 50
    ).next_cursor
    assert cursor is not None
    month = f"from={utc_now() - timedelta(days=DAYS - 1):%Y-%m-%dT%H:%M}"
    ms, count = measure(crowd.browser, f"/dashboard/usage?{month}&cursor={cursor}")
    assert ms < PAGE_MS
    assert count <= QUERIES


def test_the_list_of_the_rest_api_comes_in_half_the_time(crowd):
    """By a key, with each filter and none, the newest calls and those of two weeks ago, 50 and 200 at a time."""
    two_weeks_ago = UsageFilter(end=utc_now() - timedelta(days=DAYS / 2))
    cursor = usage_page(crowd.organization_id, two_weeks_ago, None, 50).next_cursor
    questions = [
        "",
        "?limit=200",
        "?key=7",
        "?model=acme/model-3",
        "?user=user-80",
        "?user=nobody",
        "?tag=team-3",
        "?tag=team-3&key=1&limit=200",
        f"?from={utc_now() - timedelta(days=7):%Y-%m-%dT%H:%M}&key=2",
        f"?cursor={cursor}",
        f"?cursor={cursor}&tag=batch&limit=200",
    ]
    by_key = Client(headers={"authorization": f"Bearer {crowd.secret}"})
    measured = {question: measure(by_key, f"/api/usage{question}") for question in questions}
    assert {question: round(ms) for question, (ms, _) in measured.items() if ms >= LISTING_MS} == {}
    assert {question: count for question, (_, count) in measured.items() if count > QUERIES} == {}
