"""Who asks the gateway and for what, where a test does not care; and a database that a test may take away."""

import pytest

from billing.ledger.open_store import open_store
from tests.billing.committing import Database
from tests.fakes.replies import Reply
from tests.stand import Gateway, Tenant


@pytest.fixture(autouse=True)
def _no_pause(settings: object) -> None:
    """An offer that failed is tried again at once, or nearly."""
    settings.RETRY_PAUSE_S = 0.005


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


@pytest.fixture(scope="module")
def model(gateway: Gateway) -> str:
    """A model that answers."""
    return gateway.add_model(Reply())


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    """The ledger's database of every server that starts from now on; the test may take it away."""
    database = Database(open_store)
    monkeypatch.setattr("routing.gateway.services.open_store", database.open_store)
    return database
