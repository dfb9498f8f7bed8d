"""Usage rows by month: made ahead on PostgreSQL, never in the way of a settlement, absent on SQLite."""

from datetime import date

import pytest
from django.db import connection

from billing.ledger.items import Done
from billing.models import UsageRow
from billing.partitions import ensure_partitions
from billing.tasks import ensure_partitions as scheduled
from tests.billing.ledger_database import LedgerDatabase, Tenant, new_name, settle

TODAY = date(2041, 11, 30)
MONTHS = [f"billing_usagerow_{month}" for month in ("2041_11", "2041_12", "2042_01", "2042_02")]


def drop_months(ledger: LedgerDatabase) -> None:
    ledger.execute("DELETE FROM billing_usagerow")
    for name in partitions():
        if not name.endswith("_default"):
            ledger.execute(f"DROP TABLE {name}")


@pytest.fixture
def ledger(postgres_ledger: LedgerDatabase):
    drop_months(postgres_ledger)
    yield postgres_ledger
    drop_months(postgres_ledger)


@pytest.fixture
def alice(ledger: LedgerDatabase) -> Tenant:
    return ledger.open_wallet(paid=1_000)


def partitions() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'billing_usagerow'::regclass ORDER BY 1"
        )
        return [name for (name,) in cursor.fetchall()]


def settle_at(ledger: LedgerDatabase, alice: Tenant, moment: str) -> str:
    """Settle a call of that moment; returns the partition in which its row is."""
    request_id = new_name("gen")
    (outcome,) = ledger.commit(settle(alice, request_id, ledger.price(), 1, created_at=moment))
    assert isinstance(outcome, Done)
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM billing_usagerow WHERE request_id = %s", [request_id])
        return cursor.fetchone()[0]


def test_this_month_and_the_next_three_are_made_once(ledger):
    assert partitions() == ["billing_usagerow_default"], "as the first migration leaves it"
    assert ensure_partitions(TODAY) == MONTHS
    assert ensure_partitions(TODAY) == []
    assert partitions() == [*MONTHS, "billing_usagerow_default"]


def test_a_row_goes_to_the_month_of_its_request(ledger, alice):
    ensure_partitions(TODAY)
    assert settle_at(ledger, alice, "2041-12-31 23:59:59.999999") == MONTHS[1]
    assert settle_at(ledger, alice, "2042-01-01 00:00:00.000000") == MONTHS[2]


def test_a_month_that_nobody_made_stops_no_settlement(ledger, alice):
    assert settle_at(ledger, alice, "2041-12-05 00:00:00") == "billing_usagerow_default"
    assert ensure_partitions(TODAY) == [MONTHS[0], *MONTHS[2:]], "rows are not moved"
    assert UsageRow.objects.count() == 1


def test_a_request_has_one_row_in_every_partition(ledger, alice):
    ensure_partitions(TODAY)
    end = settle(alice, "gen-1", ledger.price(), 1, created_at="2041-11-05 00:00:00")
    ledger.commit(end, end)
    assert UsageRow.objects.count() == 1


def test_the_daily_job_makes_them(ledger):
    scheduled()
    assert len(partitions()) == 5


def test_sqlite_has_one_table(sqlite_ledger):
    assert ensure_partitions(TODAY) == []
    scheduled()
