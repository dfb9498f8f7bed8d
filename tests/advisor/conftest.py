"""Tests of SQL run on SQLite and on PostgreSQL, as those of the ledger do."""

from collections.abc import Iterator

import pytest
from django.db import transaction

from advisor.landscape import forget_landscape
from tests.billing.conftest import ledger as ledger_alone
from tests.billing.conftest import ledger_vendor, postgres_ledger_url, sqlite_ledger_url
from tests.billing.ledger_database import LedgerDatabase

TABLES = ("advisor_upgrade", "advisor_dayevidence", "advisor_evidenceday", "routing_feedback")
__all__ = ["books", "ledger_alone", "ledger_vendor", "postgres_ledger_url", "sqlite_ledger_url"]


@pytest.fixture(autouse=True)
def _no_landscape_of_another_test() -> None:
    forget_landscape()


@pytest.fixture
def books(ledger_alone: LedgerDatabase) -> Iterator[LedgerDatabase]:
    """An empty ledger, and the advisor's tables beside it."""
    yield ledger_alone
    with transaction.atomic():
        for table in TABLES:
            ledger_alone.execute(f"DELETE FROM {table}")
