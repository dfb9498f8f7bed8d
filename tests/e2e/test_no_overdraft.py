"""Fifty calls at once on a wallet for ten: never more in flight than the balance covers, debt only by overruns."""

import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import accumulate
from math import ceil
from random import Random

import bpe_openai
import pytest

from tests.e2e.conftest import Install
from tests.e2e.ledger_rows import HOLDS, WALLETS, LedgerRows, Wallet, select
from tests.e2e.load import Kind, Load, Received, call_at_once, prompt
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
START_OUTPUT_TOKENS = 256  # these and the others as in docs/money.md, not from the settings
TOKENS_PER_TEXT, TOKENS_PER_REQUEST, MARGIN_PERCENT, LETTERS_PER_TOKEN = 8, 32, 15, 4
AMOUNTS = re.compile(r"needs at least \$([\d.]+) and the wallet has \$([\d.]+) available")


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


def most_at_once(steps: Iterable[tuple[float, int]]) -> int:
    """The highest sum that these changes ever come to, each at its time."""
    return max(accumulate(step for _, step in sorted(steps)))


def most_in_flight(calls: list[Call]) -> int:
    """How many calls the provider worked on at the same time, at most."""
    return most_at_once([(call.arrived_at, 1) for call in calls] + [(call.ended_at, -1) for call in calls])


def counted_input(call_id: str) -> int:
    """The input bound of a call whose tokens were counted."""
    text = prompt(call_id)
    dense = ceil(len(bpe_openai.get_encoding("o200k_base").encode_ordinary(text)) * (100 + MARGIN_PERCENT) / 100)
    shaped = sum(
        ceil(len(run) / LETTERS_PER_TOKEN) if run.isalpha() else len(run.removesuffix(" "))
        for run in re.findall(r"[A-Za-z]+|[^A-Za-z]+", text)
    )
    return max(dense, shaped) + TOKENS_PER_TEXT + TOKENS_PER_REQUEST


def is_the_hold(amount: int, call: Call, asked: int, credit: int) -> bool:
    """Whether docs/money.md lets a call that asked for so much output be made with a hold of `amount` nano-USD."""
    sent = call.body["max_tokens"]
    written_bytes = int(call.headers["content-length"]) + len(str(asked)) - len(str(sent))  # before it was lowered
    bounds = [counted_input(call.call_id)]
    if amount * 10 <= credit:
        bounds.append(written_bytes)
    if sent == asked:
        return amount in [price_nano(bound, asked) for bound in bounds]
    # All that was available, and as many tokens as that pays for.
    return asked > sent >= min(asked, START_OUTPUT_TOKENS) and any(
        price_nano(bound, sent) <= amount < price_nano(bound, sent + 1) for bound in bounds
    )


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


def check_cover(installation: Installation, received: list[Received], calls: list[Call], credit: int) -> None:
    """Each call had the hold that docs/money.md asks for, and at no moment did they add up to more than the credit."""
    holds = {request_id: amount for request_id, _, amount in select(installation.database_url, HOLDS)}
    clients = {client.call_id: client for client in received}
    steps = []
    for call in calls:
        client = clients[call.call_id]
        hold = holds[client.request_id]
        assert is_the_hold(hold, call, client.kind.max_tokens, credit), (hold, call)
        # From its end until its settlement a call still has its hold, afterwards its charge is gone from the balance.
        steps += [(call.arrived_at, hold), (call.ended_at, min(hold, client.charge or 0) - hold)]
    assert most_at_once(steps) <= credit


def check_refusals(refused: list[Received]) -> None:
    """Nobody was refused whose start the wallet covered."""
    for client in refused:
        found = AMOUNTS.search(client.message)
        assert found is not None, client.message
        needed, available = Decimal(found[1]), Decimal(found[2])
        least = price_nano(counted_input(client.call_id), min(client.kind.max_tokens, START_OUTPUT_TOKENS))
        assert available < needed == least * NANO


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
    # The small ones are held by their bytes; what these leave is for large ones, which ask twice: with counted tokens.
    kinds = [Kind(model, streamed=random.random() < 0.5, max_tokens=random.randint(1, 2_000)) for _ in range(CALLS)]
    credit = Decimal("0.10")
    key = running.tenant("random@example.com", credit)
    seen: list[Wallet] = []
    with balances_watched(running, seen):
        received = call_at_once(running.url, key, kinds)
    counts = Counter(call.status for call in received)
    assert set(counts) == {200, 402}
    check_books(running, received, upstream, seen, debt=False)
    check_cover(running, received, upstream.calls(), int(credit / NANO))
    check_refusals([call for call in received if call.status == 402])
    assert max(wallet.held for wallet in seen) * NANO <= credit


@pytest.mark.alone
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
