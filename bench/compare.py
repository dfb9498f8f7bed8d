"""Komilion against a bare relay, in one run: what governing a request costs, by a key without caps and by one with,
and what it costs to choose its model.

Rounds alternate, so that a slow moment of the machine hits both. BENCH_S is the length of a round in seconds,
BENCH_ROUNDS their number.
"""

import os
from statistics import median

from bench.load import Measured, Target, put_load
from bench.stand import INPUT_TOKENS, OUTPUT_TOKENS, Stand, stand
from tests.e2e.ledger_rows import LedgerRows
from tests.e2e.oracle import price_nano
from tests.e2e.server import CommandFailed, Installation

MANY = 64
RELAY = "bare relay"
MOST_CPU, LEAST_RATE, MOST_ADDED_MS = 2.0, 0.4, 3.0
LEAST_CHOSEN = 0.6  # of the requests/s with the model named


def main() -> bool:
    """Whether every mark was met and the money is right."""
    seconds, rounds = int(os.environ.get("BENCH_S", "6")), int(os.environ.get("BENCH_ROUNDS", "3"))
    with stand() as running:
        many = [_round(running, MANY, seconds) for _ in range(rounds)]
        single = [_round(running, 1, seconds) for _ in range(2)]
        is_fast = all(
            [
                _report(running.komilion, many, single),
                _report(running.capped, many, single),
                _report_choice(running, many, single),
            ]
        )
        return _money_is_right(running.installation) and is_fast


type Round = dict[str, Measured]  # by the target's name


def _round(running: Stand, connections: int, seconds: int) -> Round:
    targets = (running.relay, running.komilion, running.capped, running.chosen)
    return {target.name: _measure(target, connections, seconds, running) for target in targets}


def _measure(target: Target, connections: int, seconds: int, running: Stand) -> Measured:
    measured = put_load(target, connections, seconds, running.folder)
    print(f"{target.name:12} {connections:3} connections {measured}", flush=True)
    return measured


def _report(target: Target, many: list[Round], single: list[Round]) -> bool:
    """One target against the relay of the same round; whether it met the marks."""
    name = target.name
    cpu = median(measured[name].cpu_us / measured[RELAY].cpu_us for measured in many)
    rate = median(measured[name].rate / measured[RELAY].rate for measured in many)
    added_ms = min(measured[name].p50_ms - measured[RELAY].p50_ms for measured in single)
    bad = sum(measured[each].bad for measured in (*many, *single) for each in (RELAY, name))
    print(f"{name}:")
    print(f"  CPU a request    {cpu:5.2f} x the relay's (mark: at most {MOST_CPU})")
    print(f"  requests/s       {rate:5.2f} of the relay's (mark: at least {LEAST_RATE})")
    print(f"  added p50        {added_ms:5.2f} ms at one connection (mark: at most {MOST_ADDED_MS})")
    print(f"  bad answers      {bad:5}")
    return cpu <= MOST_CPU and rate >= LEAST_RATE and added_ms <= MOST_ADDED_MS and not bad


def _report_choice(running: Stand, many: list[Round], single: list[Round]) -> bool:
    """With the model chosen, against the same server with the model named; whether it met the mark."""
    name, named = running.chosen.name, running.komilion.name
    rate = median(measured[name].rate / measured[named].rate for measured in many)
    added_us = median(measured[name].cpu_us - measured[named].cpu_us for measured in many)
    added_ms = min(measured[name].p50_ms - measured[named].p50_ms for measured in single)
    bad = sum(measured[name].bad for measured in (*many, *single))
    print(f"{name}, against a named model:")
    print(f"  requests/s       {rate:5.2f} of those (mark: at least {LEAST_CHOSEN})")
    print(f"  CPU a request    {added_us:5.0f} us more")
    print(f"  added p50        {added_ms:5.2f} ms at one connection")
    print(f"  bad answers      {bad:5}")
    return rate >= LEAST_CHOSEN and not bad


def _money_is_right(installation: Installation) -> bool:
    """The ledger agrees with itself, and what was charged is what was used, by price."""
    try:
        print("ledger             " + installation.manage("ledger", "verify"))
    except CommandFailed as error:
        print(f"ledger             {error}")
        return False
    rows = LedgerRows.read(installation.database_url)
    charged = sum(row.charge for row in rows.usage)
    used = len(rows.usage) * price_nano(INPUT_TOKENS, OUTPUT_TOKENS)
    left = sum(wallet.available for wallet in rows.wallets.values())
    print(f"charged            {charged} nano-USD for {len(rows.usage)} calls; usage x price is {used}")
    return charged == used == rows.paid_in - left
