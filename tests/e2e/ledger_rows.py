"""The ledger's tables as they are on the disk, by plain SQL: this journal owes nothing to the code under test."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg

USAGE = (
    "SELECT request_id, end_user, outcome, usage_source, usage, charge_nano, cost_nano, streamed FROM billing_usagerow"
)
HOLDS = "SELECT request_id, state, amount_nano FROM billing_hold"
ENTRIES = "SELECT id, reference, kind, amount_nano FROM billing_ledgerentry"
CHARGED = """
    SELECT entry_id, SUM(amount_nano) FROM billing_posting
     WHERE source IN ('paid', 'promo', 'debt') AND target IN ('provider_cost', 'platform_fee') GROUP BY entry_id
"""
WALLETS = "SELECT organization_id, available_nano, held_nano, paid_nano, promo_nano, debt_nano FROM billing_wallet"
TOP_UPS = "SELECT COALESCE(SUM(amount_nano), 0) FROM billing_posting WHERE source = 'payment_clearing'"


def select(database_url: str, query: str) -> list[tuple[Any, ...]]:
    """The rows of one query, on a connection of its own."""
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=20)) as connection:
            return connection.execute(query).fetchall()
    with psycopg.connect(database_url, connect_timeout=5) as postgres:
        return postgres.execute(query.encode()).fetchall()


@dataclass(frozen=True)
class UsageRow:
    """One settled call."""

    request_id: str
    call_id: str
    outcome: str
    source: str
    usage: dict[str, int]
    charge: int
    cost: int
    streamed: bool


@dataclass(frozen=True)
class Entry:
    """What happened to a hold; `charged` is what its postings took from the tenant for it."""

    kind: str
    amount: int
    charged: int


@dataclass(frozen=True)
class Wallet:
    """The balances of one organization, in nano-USD."""

    available: int
    held: int
    paid: int
    promo: int
    debt: int


@dataclass
class LedgerRows:
    """Everything that the oracle compares."""

    usage: list[UsageRow] = field(default_factory=list)
    holds: dict[str, str] = field(default_factory=dict)  # request id -> state
    entries: dict[str, list[Entry]] = field(default_factory=dict)  # request id -> what happened
    wallets: dict[int, Wallet] = field(default_factory=dict)
    paid_in: int = 0

    @classmethod
    def read(cls, database_url: str) -> "LedgerRows":
        """The rows as of now."""
        rows = cls()
        for request_id, end_user, outcome, source, usage, *rest in select(database_url, USAGE):
            buckets = json.loads(usage) if isinstance(usage, str) else usage
            rows.usage.append(UsageRow(request_id, end_user, outcome, source, buckets, *rest))
        rows.holds = {request_id: state for request_id, state, _ in select(database_url, HOLDS)}
        charged = {entry_id: int(amount) for entry_id, amount in select(database_url, CHARGED)}
        for entry_id, reference, kind, amount in select(database_url, ENTRIES):
            rows.entries.setdefault(reference, []).append(Entry(kind, amount, charged.get(entry_id, 0)))
        rows.wallets = {wallet_id: Wallet(*amounts) for wallet_id, *amounts in select(database_url, WALLETS)}
        rows.paid_in = int(select(database_url, TOP_UPS)[0][0])
        return rows
