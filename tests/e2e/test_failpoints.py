"""The process dies, or stands still until its holds have expired, at each place that matters."""

import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Install
from tests.e2e.ledger_rows import LedgerRows, select
from tests.e2e.load import Kind, Received, call_at_once
from tests.e2e.oracle import Case, judge
from tests.e2e.server import ENDED_PROPERLY, Installation, UpstreamProcess, has_ended
from tests.e2e.settings import SHORTER
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

COMMITS = ("before-hold-commit", "after-hold-commit", "before-settle-commit", "after-settle-commit")
BYTES = ("upstream-head", "first-byte", "last-byte")
PLACES = (*COMMITS, *BYTES)
PAUSES = [(place, True) for place in PLACES] + [(place, False) for place in BYTES]  # a commit has no streamed kind
# Where the process holds credit for a call while it stands still; elsewhere the hold is not made yet, or settled.
HOLDING = {"after-hold-commit", "upstream-head", "before-settle-commit"}
BEATS = "SELECT heartbeat_at FROM billing_gatewayprocess"
EMAIL = "failpoints@example.com"


@pytest.fixture
def prepared(database: str, install: Install) -> tuple[Installation, str, list[Kind]]:
    """An installation that is not started yet, a key, and four calls: streamed and not, drained and cancelled."""
    installation = install(database)
    kinds = []
    for provider in ("draining", "cancelling"):
        model = installation.add_model(f"{provider}/ok", provider, "ok")
        kinds += [Kind(model), Kind(model, streamed=True)]
    return installation, installation.tenant(EMAIL, "100.00"), kinds


def in_background(work: Callable[[], list[Received]]) -> Callable[[], list[Received]]:
    """Start `work` on a thread; the result, when it is there."""
    results: list[list[Received]] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()

    def result() -> list[Received]:
        thread.join()
        return results[0]

    return result


@pytest.mark.parametrize("place", PLACES)
def test_killed_at(place: str, prepared: tuple[Installation, str, list[Kind]], upstream: UpstreamProcess):
    installation, key, kinds = prepared
    installation.start(failpoints=f"{place}=kill")
    received = call_at_once(installation.url, key, kinds)
    wait_until(has_ended(installation.web), what=f"the process to die at {place}")
    crash = time.time()
    assert installation.web.exit_code == -signal.SIGKILL
    installation.manage("holds", "reap")
    judge(Case(received, upstream.calls(), [crash]), LedgerRows.read(installation.database_url))
    installation.manage("ledger", "verify")


@pytest.mark.parametrize(("place", "streamed"), PAUSES)
def test_paused_past_expiry_at(
    place: str,
    streamed: bool,
    prepared: tuple[Installation, str, list[Kind]],
    upstream: UpstreamProcess,
):
    """A process that comes back late settles what it did, in full, though its holds were given back meanwhile."""
    installation, key, kinds = prepared
    kinds = [kind for kind in kinds if kind.streamed == streamed][:1]  # others could be inside a transaction
    installation.start(failpoints=f"{place}=stop")
    beat = select(installation.database_url, BEATS)
    # Just after a heartbeat, the next one is far: the pause does not catch it inside a transaction.
    wait_until(lambda: select(installation.database_url, BEATS) != beat, what=f"a heartbeat after {beat}")
    result = in_background(lambda: call_at_once(installation.url, key, kinds))
    wait_until(installation.web.is_paused, what=f"the process to pause at {place}")
    wait_until(lambda: not open_holds_in_time(installation), SHORTER["HOLD_LIFETIME_S"] + 10, "the holds to expire")
    installation.manage("holds", "reap")
    expired = list(LedgerRows.read(installation.database_url).holds.values()).count("expired")
    installation.web.send(signal.SIGCONT)
    received = result()
    assert installation.web.terminate() in ENDED_PROPERLY
    assert all(call.is_answer for call in received), received
    assert expired or place not in HOLDING
    judge(Case(received, upstream.calls(), may_be_pending=True), LedgerRows.read(installation.database_url))
    installation.manage("ledger", "verify")


def open_holds_in_time(installation: Installation) -> bool:
    """Whether some hold is neither closed nor due yet, by the database's own clock."""
    now = "strftime('%Y-%m-%d %H:%M:%f', 'now')" if "sqlite" in installation.database_url else "now()"
    return bool(
        select(installation.database_url, f"SELECT 1 FROM billing_hold WHERE state = 'open' AND expires_at > {now}")
    )
