"""What tests of the gateway may take away from it."""

import pytest

from billing.ledger.open_store import open_store
from tests.billing.committing import Database


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    """The ledger's database of every server that starts from now on; the test may take it away."""
    database = Database(open_store)
    monkeypatch.setattr("routing.gateway.services.open_store", database.open_store)
    return database
