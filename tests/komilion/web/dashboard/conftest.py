"""Alice owns an organization, Bob is her team mate who may only read, Charlie owns another one.

Nothing is rolled back, since the ledger commits by itself: everybody has an address and an organization of her own.
"""

from collections.abc import Iterator
from itertools import count

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.billing.calling import Calls
from tests.billing.ledger_database import LedgerDatabase, Tenant
from tests.people import Person, new_member, new_owner

_numbers = count(1)


@pytest.fixture(autouse=True)
def database(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def alice() -> Person:
    return new_owner(f"alice-{next(_numbers)}@dashboard.example.com")


@pytest.fixture
def bob(alice: Person) -> Person:
    return new_member(f"bob-{next(_numbers)}@dashboard.example.com", alice.organization_id, "viewer")


@pytest.fixture
def charlie() -> Person:
    return new_owner(f"charlie-{next(_numbers)}@dashboard.example.com")


@pytest.fixture
def calls(alice: Person) -> Iterator[Calls]:
    """Puts calls of Alice's key, called `batch`, into the ledger; some do not add up, so none may stay."""
    key = alice.key("batch").row
    ledger = LedgerDatabase(connection.vendor)
    yield Calls(ledger, Tenant(alice.organization_id, key.pk))
    owner = f"= {alice.organization_id}"
    ledger.execute(f"DELETE FROM billing_usagerow WHERE organization_id {owner}")
    for table in ("billing_posting", "billing_ledgerentry", "billing_hold"):
        ledger.execute(f"DELETE FROM {table} WHERE wallet_id {owner}")
    ledger.execute("DELETE FROM billing_usagemark")  # it counts entries, whose numbers SQLite gives out again
    ledger.execute(
        "UPDATE billing_wallet SET available_nano = 0, held_nano = 0, paid_nano = 0, promo_nano = 0, debt_nano = 0"
        f" WHERE organization_id {owner}"
    )
