"""kill -9 at random moments with 64 calls in flight: every call is accounted for, in all three journals."""

import os
import threading
import time
from random import Random

import pytest

from tests.e2e.conftest import Install
from tests.e2e.ledger_rows import LedgerRows
from tests.e2e.load import Kind, Load
from tests.e2e.oracle import Case, judge
from tests.e2e.server import ENDED_PROPERLY, Installation, UpstreamProcess
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROUNDS = int(os.environ.get("KOMILION_CRASH_ROUNDS", "30"))
IN_FLIGHT = 64
LONGEST_LIFE_S = 1.5
SCRIPTS = ("ok", "slow", "drip", "drip,frames=12,gap=0.02", "ok,first=0.3")
EMAIL = "kill9@example.com"


def kinds_of(installation: Installation) -> list[Kind]:
    """Streamed and not, at a provider that is drained and at one that is cancelled; some streams are left."""
    kinds = []
    for provider in ("draining", "cancelling"):
        for number, script in enumerate(SCRIPTS):
            model = installation.add_model(f"{provider}/model-{number}", provider, script)
            kinds += [Kind(model), Kind(model, streamed=True)] * 2
        kinds.append(Kind(f"{provider}/model-2", streamed=True, leaves_after=5))
    for name, first in (("failing/one", "503"), ("breaking/two", "drip,cut=20")):
        installation.add_model(name, "draining", first)
        installation.add_model(name, "cancelling", "drip")
        kinds.append(Kind(name, streamed=True, tries=3))
    return kinds


def test_kill_9_at_random_moments(
    database: str, install: Install, upstream: UpstreamProcess, capsys: pytest.CaptureFixture[str]
):
    installation = install(database)
    load = Load(installation.url, installation.tenant(EMAIL, "1000.00"), kinds_of(installation), IN_FLIGHT)
    random = Random(database)
    crashes = []
    installation.start()
    load.start()
    for _ in range(ROUNDS):
        so_far = load.answers()
        wait_until(lambda so_far=so_far: load.answers() > so_far, 20, "answers")
        threading.Event().wait(random.uniform(0, LONGEST_LIFE_S))
        crashes.append(time.time())
        installation.web.kill()
        load.rest()
        installation.web.start_and_wait()
        load.go_on()
    received = load.stop()
    wait_until(lambda: all(call.outcome != "running" for call in upstream.calls()), 10, "drained calls to end")
    assert installation.web.terminate() in ENDED_PROPERLY
    installation.manage("holds", "reap")
    counts = judge(Case(received, upstream.calls(), crashes), LedgerRows.read(installation.database_url))
    installation.manage("ledger", "verify")
    with capsys.disabled():
        print(f"\n{ROUNDS} kills on {database}, {len(received)} calls: {dict(counts)}")
    assert counts["answered"] > ROUNDS
    assert counts["lost with its process, not charged"] > ROUNDS
