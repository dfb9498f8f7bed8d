"""Fifty calls at once on a wallet for ten: never more in flight than the balance covers, debt only by overruns."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from random import Random

import pytest

from tests.e2e.conftest import Install
from tests.e2e.ledger_rows import WALLETS, LedgerRows, Wallet, select
from tests.e2e.load import Kind, Load, Received, call_at_once
from tests.e2e.oracle import Case, judge, price_nano
from tests.e2e.server import Installation, UpstreamProcess
from tests.e2e.test_failpoints import in_background
from tests.fakes.journal import Call
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

NANO = Decimal(10) ** -9
CALLS = 50
ORM_WRITES, ORM_WRITE_LIMIT_S = 20, 0.5
OPEN_HOLDS = "SELECT amount_nano FROM billing_hold WHERE state = 'open'"
SLOW = "slow,wait=2"


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
def running(request: pytest.FixtureRequest, database: str, install: Install) -> Installation:
    """A started installation with one or two web processes; holds last as long as they do in production."""
    installation: Installation = install(database, workers=request.param, settings="komilion.settings")
    installation.start()
    return installation


def hold_of(installation: Installation, kind: Kind) -> Decimal:
    """What one such call holds, in US dollars, seen while it runs."""
    key = installation.tenant("probe@example.com", "5.00")
    result = in_background(lambda: call_at_once(installation.url, key, [kind]))
    amount = wait_until(lambda: select(installation.database_url, OPEN_HOLDS), what="a hold")[0][0]
    assert result()[0].status == 200
    return amount * NANO


@contextmanager
def balances_watched(installation: Installation, seen: list[Wallet]) -> Iterator[None]:
    """Look at the wallets again and again meanwhile."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            seen.extend(Wallet(*amounts) for _, *amounts in select(installation.database_url, WALLETS))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def most_in_flight(calls: list[Call]) -> int:
    """How many calls the provider worked on at the same time, at most."""
    moments = [(call.arrived_at, 1) for call in calls] + [(call.ended_at, -1) for call in calls]
    running = most = 0
    for _, step in sorted(moments):
        running += step
        most = max(most, running)
    return most


def check_books(
    installation: Installation, received: list[Received], upstream: UpstreamProcess, seen: list[Wallet], *, debt: bool
) -> LedgerRows:
    """All journals agree, and no moment saw a balance below zero."""
    rows = LedgerRows.read(installation.database_url)
    ids = {call.call_id for call in received}
    rows.usage = [row for row in rows.usage if row.call_id in ids or row.charge]
    judge(Case(received, upstream.calls(), may_have_debt=debt), rows)
    assert seen
    assert min(wallet.available for wallet in seen) >= 0
    installation.manage("ledger", "verify")
    return rows


@pytest.mark.parametrize("overrun", [0, 200], ids=["at-the-hold", "above-the-hold"])
def test_never_an_eleventh_call_on_a_balance_of_ten_holds(
    overrun: int, running: Installation, upstream: UpstreamProcess
):
    kind = Kind(running.add_model("draining/greedy", "draining", f"{SLOW},overrun={overrun}"))
    probe = Kind(running.add_model("draining/probe", "draining", "slow"))
    hold = hold_of(running, probe)
    probes = upstream.calls()
    key = running.tenant("ten@example.com", hold * Decimal("10.5"))
    seen: list[Wallet] = []
    with balances_watched(running, seen):
        received = call_at_once(running.url, key, [kind] * CALLS)
    calls = upstream.calls()[len(probes) :]
    assert Counter(call.status for call in received) == {200: 10, 402: 40}
    assert len(calls) == most_in_flight(calls) == 10
    wallet = running.wallet("ten@example.com")
    billed = sum(price_nano(call.billed.prompt, call.billed.completion) for call in calls) * NANO
    assert wallet["debt"] == max(Decimal(0), billed - hold * Decimal("10.5"))
    assert (wallet["debt"] > 0) == (overrun > 0)
    assert wallet["held"] == 0
    assert min(wallet.available for wallet in seen) >= 0
    running.manage("ledger", "verify")


def test_random_sizes_never_exceed_the_balance(running: Installation, upstream: UpstreamProcess):
    random = Random(5)
    model = running.add_model("draining/random", "draining", f"{SLOW},seed=7")
    kinds = [Kind(model, streamed=random.random() < 0.5, max_tokens=random.randint(1, 1_000)) for _ in range(CALLS)]
    credit = Decimal("0.10")
    key = running.tenant("random@example.com", credit)
    seen: list[Wallet] = []
    with balances_watched(running, seen):
        received = call_at_once(running.url, key, kinds)
    counts = Counter(call.status for call in received)
    assert set(counts) == {200, 402}
    check_books(running, received, upstream, seen, debt=False)
    asked = {call.call_id: call.kind.max_tokens for call in received}
    # Without any input, what ran at once could have cost this much; all of it was covered.
    least = sum(price_nano(0, asked[call.call_id]) for call in upstream.calls()) * NANO
    assert least <= credit + sum(price_nano(0, 1_000) for call in received if call.kind.streamed) * NANO
    assert max(wallet.held for wallet in seen) * NANO <= credit


def test_other_writers_do_not_wait_long_on_sqlite(install: Install, upstream: UpstreamProcess):
    installation = install("sqlite", workers=2, settings="komilion.settings")
    model = installation.add_model("draining/ok", "draining", "ok")
    key = installation.tenant("busy@example.com", "1000.00")
    installation.start()
    load = Load(installation.url, key, [Kind(model), Kind(model, streamed=True)], CALLS).start()
    wait_until(lambda: load.answers() > CALLS, 20, "answers")
    took_s = []
    for number in range(ORM_WRITES):
        installation.add_provider(f"other-{number}", upstream.url)
        took_s.append(installation.last_command_s)
    received = load.stop()
    judge(Case(received, upstream.calls()), LedgerRows.read(installation.database_url))
    assert max(took_s) < ORM_WRITE_LIMIT_S, sorted(took_s)
