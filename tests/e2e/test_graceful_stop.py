"""SIGTERM: running calls get their grace, then they are cut and settled; nothing stays held."""

import signal
import time

import pytest

from tests.e2e.conftest import Install
from tests.e2e.ledger_rows import LedgerRows, select
from tests.e2e.load import Kind, call_at_once
from tests.e2e.oracle import Case, judge
from tests.e2e.server import ENDED_PROPERLY, UpstreamProcess, has_ended
from tests.e2e.settings import SHORTER
from tests.e2e.test_failpoints import in_background
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SHORT, LONG = "drip,frames=12,gap=0.1", "drip,frames=400,gap=0.05"  # within and beyond the grace
OPEN_HOLDS = "SELECT COUNT(*) FROM billing_hold WHERE state = 'open'"


def test_running_streams_get_their_grace_then_are_settled_as_cut(
    database: str, install: Install, upstream: UpstreamProcess
):
    installation = install(database)
    key = installation.tenant("stop@example.com", "100.00")
    kinds = []
    for provider in ("draining", "cancelling"):
        for name, script in (("short", SHORT), ("long", LONG)):
            model = installation.add_model(f"{provider}/{name}", provider, script)
            kinds += [Kind(model, streamed=True)] * 3
    slow = Kind(installation.add_model("draining/slow", "draining", "ok,wait=30"))
    installation.start()
    result = in_background(lambda: call_at_once(installation.url, key, [*kinds, slow]))
    wait_until(lambda: len(upstream.calls()) > len(kinds), what="the calls to reach the provider")
    wait_until(lambda: select(installation.database_url, OPEN_HOLDS)[0][0] > len(kinds), what="the holds")
    started_at = time.time()
    installation.web.send(signal.SIGTERM)
    received = result()
    wait_until(has_ended(installation.web), 20, "the process to end")
    assert installation.web.exit_code in ENDED_PROPERLY
    assert time.time() - started_at < SHORTER["SHUTDOWN_GRACE_S"] + SHORTER["SETTLEMENT_WAIT_S"] + 10
    rows = LedgerRows.read(installation.database_url)  # nobody reaped: the process settled everything itself
    judge(Case(received, upstream.calls()), rows)
    for call in received:
        row = next(row for row in rows.usage if row.call_id == call.call_id)
        if call.kind.model.endswith("short"):
            assert call.is_answer
        else:
            assert call.reason == "unavailable", call
            assert call.status == (200 if call.kind.streamed else 503)
            assert row.outcome == "server_stopped", row
            assert (row.charge > 0) == call.kind.streamed
    installation.manage("ledger", "verify")
