"""Every test that asks for `ledger` runs twice: on SQLite and on PostgreSQL, each with migrated tables of its own."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from pytest_django import DjangoDbBlocker

from billing.ledger import committer as committer_module
from billing.ledger.open_store import open_store
from billing.prices import PriceVersion
from tests.billing.committing import Database
from tests.billing.ledger_database import LedgerDatabase, django_uses, migrate
from tests.conftest import MIGRATED_SQLITE


@pytest.fixture(scope="session")
def sqlite_ledger_url(django_db_setup: None) -> str:
    """A SQLite file with the tables in it, made once per worker."""
    return f"sqlite:///{shutil.copyfile(MIGRATED_SQLITE, settings.DATA_DIR / 'ledger.sqlite3')}"


@pytest.fixture(scope="session")
def postgres_ledger_url(
    new_postgres_database: Callable[[], str], django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> str:
    """A PostgreSQL database with the tables in it, made once per worker."""
    with django_db_blocker.unblock():
        return migrate(new_postgres_database())


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_vendor(request: pytest.FixtureRequest) -> str:
    """Which database the test runs on."""
    return request.param


@pytest.fixture
def ledger(
    request: pytest.FixtureRequest, ledger_vendor: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[LedgerDatabase]:
    """An empty ledger that Django uses as its database for as long as the test runs."""
    with _ledger_at(request.getfixturevalue(f"{ledger_vendor}_ledger_url"), ledger_vendor, django_db_blocker) as ledger:
        yield ledger


@pytest.fixture
def postgres_ledger(postgres_ledger_url: str, django_db_blocker: DjangoDbBlocker) -> Iterator[LedgerDatabase]:
    """As `ledger`, for what only PostgreSQL can do."""
    with _ledger_at(postgres_ledger_url, "postgres", django_db_blocker) as ledger:
        yield ledger


@pytest.fixture
def sqlite_ledger(sqlite_ledger_url: str, django_db_blocker: DjangoDbBlocker) -> Iterator[LedgerDatabase]:
    """As `ledger`, for what only SQLite must prove."""
    with _ledger_at(sqlite_ledger_url, "sqlite", django_db_blocker) as ledger:
        yield ledger


@contextmanager
def _ledger_at(url: str, vendor: str, blocker: DjangoDbBlocker) -> Iterator[LedgerDatabase]:
    with blocker.unblock(), django_uses(url):
        database = LedgerDatabase(vendor)
        yield database
        database.clean()


@pytest.fixture
def database(ledger: LedgerDatabase) -> Database:
    """What hands out the committer's connections."""
    return Database(open_store)


@pytest.fixture
def price(ledger: LedgerDatabase) -> PriceVersion:
    """One nano-dollar a token, and a quarter of that for us."""
    return ledger.price()


@pytest.fixture
def patient_committer(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a settlement waits until it is durable, and the journal is replayed soon."""
    settings.SETTLEMENT_WAIT_S = 60
    monkeypatch.setattr(committer_module, "REPLAY_EVERY_S", 0.05)
