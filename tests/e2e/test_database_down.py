"""PostgreSQL is away for a while under load: nothing is sent to a provider on credit, nothing that was sent is lost."""

import os
import threading
import time

import httpx
import pytest

from tests.e2e.conftest import Install
from tests.e2e.ledger_rows import LedgerRows
from tests.e2e.load import Kind, Load, Received
from tests.e2e.oracle import Case, judge
from tests.e2e.server import ENDED_PROPERLY, Installation, UpstreamProcess
from tests.services.cluster import Cluster
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

AWAY_S = float(os.environ.get("KOMILION_DATABASE_DOWN_S", "8"))
IN_FLIGHT = 24
EMAIL = "down@example.com"


@pytest.fixture
def installation(install: Install, private_postgres: Cluster) -> Installation:
    """On a server of its own, which may be stopped."""
    return install(private_postgres.url())


@pytest.fixture
def load(installation: Installation) -> Load:
    """Running calls of all lengths; the web process is started."""
    kinds = []
    for provider in ("draining", "cancelling"):
        for script in ("ok", "drip", "ok,first=0.5"):
            model = installation.add_model(f"{provider}/{script.replace(',', '-').replace('=', '-')}", provider, script)
            kinds += [Kind(model), Kind(model, streamed=True)]
    load = Load(installation.url, installation.tenant(EMAIL, "1000.00"), kinds, IN_FLIGHT)
    installation.start()
    load.start()
    wait_until(lambda: load.answers() > IN_FLIGHT, 20, "answers")
    return load


def is_ready(installation: Installation) -> bool:
    """Whether the server says so itself."""
    try:
        return httpx.get(f"{installation.url}/health/readiness", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def journals(installation: Installation) -> int:
    """Bytes of settlements that wait in journals."""
    folder = installation.folder / "data" / "journal"
    return sum(path.stat().st_size for path in folder.glob("*.jsonl"))


def unavailable(received: list[Received]) -> list[Received]:
    """The calls that were refused because the ledger was away."""
    return [call for call in list(received) if call.status == 503 and call.reason == "ledger_unavailable"]


def test_calls_are_refused_and_settled_later(
    installation: Installation, load: Load, private_postgres: Cluster, upstream: UpstreamProcess
):
    private_postgres.stop()
    wait_until(lambda: unavailable(load.received), 15, "calls to be refused")
    wait_until(lambda: journals(installation), 15, "a settlement in the journal")
    threading.Event().wait(AWAY_S)
    refused = len(unavailable(load.received))
    wait_until(lambda: len(unavailable(load.received)) > refused, 15, "calls to be refused still")
    private_postgres.start()
    wait_until(lambda: is_ready(installation), 30, "the server to be ready again")
    answers = load.answers()
    wait_until(lambda: load.answers() > answers + IN_FLIGHT, 20, "answers again")
    received = load.stop()
    assert installation.web.terminate() in ENDED_PROPERLY
    installation.manage("holds", "reap")
    case = Case(received, upstream.calls(), may_be_pending=True, may_lose_holds=True)
    counts = judge(case, LedgerRows.read(installation.database_url))
    installation.manage("ledger", "verify")
    assert counts["answered with a pending settlement"], counts


def test_a_process_that_dies_with_settlements_in_its_journal(
    installation: Installation, load: Load, private_postgres: Cluster, upstream: UpstreamProcess
):
    private_postgres.stop()
    wait_until(lambda: journals(installation), 15, "a settlement in the journal")
    crash = time.time()
    installation.web.kill()
    received = load.stop()
    private_postgres.start()
    installation.web.start_and_wait()
    wait_until(lambda: not journals(installation), 15, "the journal to be replayed")
    assert installation.web.terminate() in ENDED_PROPERLY
    installation.manage("holds", "reap")
    case = Case(received, upstream.calls(), [crash], may_be_pending=True, may_lose_holds=True)
    judge(case, LedgerRows.read(installation.database_url))
    installation.manage("ledger", "verify")
