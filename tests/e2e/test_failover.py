"""Failover with real processes: crashes in the middle of it, and a provider that is down for a minute."""

import signal
import threading
import time

import pytest

from tests.e2e.conftest import Install
from tests.e2e.ledger_rows import LedgerRows
from tests.e2e.load import Kind, call_at_once
from tests.e2e.oracle import Case, judge
from tests.e2e.server import REAL_TIMES, Installation, UpstreamProcess, has_ended
from tests.fakes.client import chat
from tests.fakes.replies import Reply
from tests.fakes.upstream import Upstream
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

EMAIL = "failover@example.com"
# By the time of the fourth head of three calls at least one second attempt is under way.
PLACES = (
    "after-hold-commit",
    "upstream-head:1",
    "upstream-head:4",
    "first-byte",
    "before-settle-commit",
    "after-settle-commit",
    "last-byte",
)
DOWN_S = 60
BACK_WITHIN_S = 30
PAUSE_S = 0.2


def kinds_of(installation: Installation) -> list[Kind]:
    """Two models whose first provider fails at once, and one whose first provider breaks off in the middle."""
    kinds = []
    for name, first in (("failing/one", "503"), ("breaking/two", "ok,cut=5")):
        installation.add_model(name, "draining", first)
        installation.add_model(name, "cancelling", "ok")
        kinds.append(Kind(name, streamed=True, tries=3))
    return [*kinds, Kind("failing/one", tries=3)]


@pytest.mark.parametrize("place", PLACES)
def test_killed_at(place: str, database: str, install: Install, upstream: UpstreamProcess):
    installation = install(database)
    kinds, key = kinds_of(installation), installation.tenant(EMAIL, "100.00")
    installation.start(failpoints=f"{place}=kill")
    received = call_at_once(installation.url, key, kinds)
    wait_until(has_ended(installation.web), what=f"the process to die at {place}")
    crash = time.time()
    assert installation.web.exit_code == -signal.SIGKILL
    installation.manage("holds", "reap")
    judge(Case(received, upstream.calls(), [crash]), LedgerRows.read(installation.database_url))
    installation.manage("ledger", "verify")


def test_without_a_crash(database: str, install: Install, upstream: UpstreamProcess):
    installation = install(database)
    kinds, key = kinds_of(installation), installation.tenant(EMAIL, "100.00")
    installation.start()
    received = call_at_once(installation.url, key, kinds * 8)
    assert all(call.is_answer for call in received), received
    counts = judge(Case(received, upstream.calls()), LedgerRows.read(installation.database_url))
    assert counts == {"answered": len(received)}
    installation.manage("ledger", "verify")


def test_a_provider_that_is_down_for_a_minute(install: Install):
    """Served by the fallback meanwhile, and back on the primary within half a minute; two workers."""
    installation = install("sqlite", settings=REAL_TIMES, workers=2)
    with Upstream() as provider:
        provider.script("primary", Reply())
        installation.add_provider("primary", provider.url)
        model = installation.add_model("acme/one", "primary", "primary")
        installation.add_model("acme/one", "cancelling", "ok")
        key = installation.tenant(EMAIL, "100.00")
        installation.start()

        def answered_by() -> str:
            threading.Event().wait(PAUSE_S)
            answer = chat(installation.url, key, model=model)
            assert answer.status == 200, answer.body
            return str(answer.json["x_komilion"]["provider"])

        assert answered_by() == "primary"
        provider.script("primary", Reply(status=503))
        down_since = time.monotonic()
        asked_before = len(provider.calls)
        while time.monotonic() - down_since < DOWN_S:
            assert answered_by() == "cancelling"
        asked = len(provider.calls) - asked_before
        # The calls that open the breaker in one of the two processes, then a probe every five seconds.
        assert asked <= 2 * 5 + DOWN_S / 5 + 1
        provider.script("primary", Reply())
        up_since = time.monotonic()
        while answered_by() != "primary":
            assert time.monotonic() - up_since < BACK_WITHIN_S
        assert time.monotonic() - up_since < BACK_WITHIN_S
        threading.Event().wait(2)  # until both processes have looked
        assert {answered_by() for _ in range(20)} == {"primary"}
