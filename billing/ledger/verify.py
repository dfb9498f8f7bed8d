"""The audit: every balance derived again from postings, every charge from usage x price, every hold from its entries.

Reads inside one transaction, so that a running server does not look like a difference.
"""

from collections.abc import Iterator
from typing import Any

from django.db import connection

from billing.models import LedgerEntry, Posting, Price, UsageRow, Wallet
from billing.prices import PriceVersion, UnpricedUsage
from billing.statement import DELTA
from komilion.common.db import read_snapshot
from komilion.common.money import format_usd
from komilion.common.usage import Usage

TENANT_ACCOUNTS = ("paid", "promo", "debt")

BALANCES = """
    SELECT w.organization_id, w.paid_nano, w.promo_nano, w.debt_nano, w.held_nano, w.available_nano,
           COALESCE(SUM(CASE 'paid' WHEN p.target THEN p.amount_nano WHEN p.source THEN -p.amount_nano END), 0),
           COALESCE(SUM(CASE 'promo' WHEN p.target THEN p.amount_nano WHEN p.source THEN -p.amount_nano END), 0),
           COALESCE(SUM(CASE 'debt' WHEN p.source THEN p.amount_nano WHEN p.target THEN -p.amount_nano END), 0)
      FROM billing_wallet w LEFT JOIN billing_posting p ON p.wallet_id = w.organization_id
     GROUP BY w.organization_id, w.paid_nano, w.promo_nano, w.debt_nano, w.held_nano, w.available_nano
"""
HELD = "SELECT wallet_id, SUM(amount_nano) FROM billing_hold WHERE state = 'open' GROUP BY wallet_id"
LOTS = "SELECT wallet_id, SUM(remaining_nano) FROM billing_promolot GROUP BY wallet_id"
UNBALANCED_SETTLEMENTS = """
    SELECT e.reference, e.amount_nano, COALESCE(SUM(p.amount_nano), 0)
      FROM billing_ledgerentry e LEFT JOIN billing_posting p
        ON p.entry_id = e.id AND p.target IN ('provider_cost', 'platform_fee') AND p.source IN ('paid', 'promo', 'debt')
     WHERE e.kind = 'settle' GROUP BY e.id, e.reference, e.amount_nano
    HAVING e.amount_nano <> COALESCE(SUM(p.amount_nano), 0)
"""
COST_POSTED_ELSEWHERE = """
    SELECT u.request_id, u.cost_nano, COALESCE(SUM(p.amount_nano), 0)
      FROM billing_usagerow u JOIN billing_ledgerentry e ON e.reference = u.request_id AND e.kind = 'settle'
      LEFT JOIN billing_posting p
        ON p.entry_id = e.id AND p.target = 'provider_cost' AND p.source IN ('paid', 'promo', 'debt')
     GROUP BY u.request_id, u.cost_nano
    HAVING u.cost_nano <> COALESCE(SUM(p.amount_nano), 0)
"""
LOSSES_OFF = """
    SELECT u.request_id, u.attempt_loss_nano, COALESCE(SUM(p.amount_nano), 0)
      FROM billing_usagerow u JOIN billing_ledgerentry e ON e.reference = u.request_id AND e.kind = 'settle'
      LEFT JOIN billing_posting p
        ON p.entry_id = e.id AND p.target = 'provider_cost' AND p.source = 'attempt_loss'
     GROUP BY u.request_id, u.attempt_loss_nano
    HAVING u.attempt_loss_nano <> COALESCE(SUM(p.amount_nano), 0)
"""
UNBALANCED_MOVEMENTS = """
    SELECT e.kind, e.reference, e.amount_nano, COALESCE(SUM(p.amount_nano), 0)
      FROM billing_ledgerentry e LEFT JOIN billing_posting p
        ON p.entry_id = e.id AND NOT (p.source = 'paid' AND p.target = 'debt')
     WHERE e.kind NOT IN ('settle', 'void', 'expire', 'extend')
     GROUP BY e.id, e.kind, e.reference, e.amount_nano
    HAVING e.amount_nano <> COALESCE(SUM(p.amount_nano), 0)
"""
STATE_WITHOUT_ENTRY = """
    SELECT h.request_id, h.state FROM billing_hold h
     WHERE h.state <> 'open' AND NOT EXISTS (
        SELECT 1 FROM billing_ledgerentry e WHERE e.reference = h.request_id
           AND e.kind = CASE h.state WHEN 'settled' THEN 'settle' WHEN 'voided' THEN 'void' ELSE 'expire' END)
"""
SETTLED_WITHOUT_STATE = """
    SELECT e.reference, COALESCE(h.state, 'missing') FROM billing_ledgerentry e
      LEFT JOIN billing_hold h ON h.request_id = e.reference
     WHERE e.kind = 'settle' AND (h.state IS NULL OR h.state <> 'settled')
"""
ENTRIES_WITHOUT_USAGE = """
    SELECT e.reference, e.amount_nano, u.charge_nano FROM billing_ledgerentry e
      LEFT JOIN billing_usagerow u ON u.request_id = e.reference
     WHERE e.kind = 'settle' AND (u.charge_nano IS NULL OR u.charge_nano <> e.amount_nano)
"""
USAGE_WITHOUT_ENTRY = """
    SELECT u.request_id FROM billing_usagerow u WHERE NOT EXISTS (
        SELECT 1 FROM billing_ledgerentry e WHERE e.reference = u.request_id AND e.kind = 'settle')
"""

# A hold stores what it reserved with each cap; that of a cap which was removed since is of no interest.
CAP_ENTRIES = {
    "postgresql": "jsonb_array_elements(h.caps) AS e(value)",
    "sqlite": "json_each(h.caps) AS e",
}
CAPS = """
    SELECT u.cap_id, u.starts_on, u.reserved_nano, u.spent_nano, COALESCE(d.reserved, 0), COALESCE(d.spent, 0)
      FROM billing_capuse u LEFT JOIN (
        SELECT CAST(e.value ->> 0 AS bigint) AS cap_id, CAST(e.value ->> 1 AS text) AS starts_on,
               SUM(CASE WHEN h.state = 'open' THEN CAST(e.value ->> 2 AS bigint) ELSE 0 END) AS reserved,
               SUM(COALESCE(s.amount_nano, 0)) AS spent
          FROM billing_hold h CROSS JOIN {entries}
          LEFT JOIN billing_ledgerentry s ON s.reference = h.request_id AND s.kind = 'settle'
         GROUP BY 1, 2) d ON d.cap_id = u.cap_id AND d.starts_on = CAST(u.starts_on AS text)
     WHERE u.reserved_nano <> COALESCE(d.reserved, 0) OR u.spent_nano <> COALESCE(d.spent, 0)
     ORDER BY u.cap_id, u.starts_on
"""
CAPS_OF_NOTHING = """
    SELECT h.request_id, c.id FROM billing_hold h CROSS JOIN {entries}
      JOIN billing_cap c ON c.id = CAST(e.value ->> 0 AS bigint)
     WHERE c.wallet_id <> h.wallet_id OR NOT EXISTS (
        SELECT 1 FROM billing_capuse u
         WHERE u.cap_id = c.id AND CAST(u.starts_on AS text) = CAST(e.value ->> 1 AS text))
"""
STRAYS = """
    SELECT 'posting', CAST(p.id AS text) FROM billing_posting p LEFT JOIN billing_ledgerentry e ON e.id = p.entry_id
     WHERE e.id IS NULL OR e.wallet_id <> p.wallet_id
     UNION ALL
    SELECT 'entry', CAST(e.id AS text) FROM billing_ledgerentry e
     WHERE NOT EXISTS (SELECT 1 FROM billing_wallet w WHERE w.organization_id = e.wallet_id)
     UNION ALL
    SELECT 'hold', h.request_id FROM billing_hold h
     WHERE NOT EXISTS (SELECT 1 FROM billing_wallet w WHERE w.organization_id = h.wallet_id)
"""

MARKS_OFF = f"""
    SELECT m.wallet_id, m.entry_id, m.balance_nano, e.balance FROM billing_balancemark m
      LEFT JOIN (SELECT wallet_id, id, SUM({DELTA}) OVER (PARTITION BY wallet_id ORDER BY id) AS balance
                   FROM billing_ledgerentry) e ON e.id = m.entry_id AND e.wallet_id = m.wallet_id
     WHERE e.balance IS NULL OR e.balance <> m.balance_nano
"""


def differences() -> Iterator[str]:
    """One line per difference; none when the books are right."""
    with read_snapshot():
        yield from _balances()
        for request_id, posted, charged in _rows(UNBALANCED_SETTLEMENTS):
            yield f"request {request_id}: entry {format_usd(posted)}, postings {format_usd(int(charged))}"
        yield from _costs()
        for kind, reference, posted, moved in _rows(UNBALANCED_MOVEMENTS):
            yield f"{kind} {reference}: entry {format_usd(posted)}, postings {format_usd(int(moved))}"
        for request_id, state in _rows(STATE_WITHOUT_ENTRY):
            yield f"request {request_id}: hold is {state} but the ledger has no such entry"
        for request_id, state in _rows(SETTLED_WITHOUT_STATE):
            yield f"request {request_id}: settled in the ledger, but its hold is {state}"
        for request_id, posted, charged in _rows(ENTRIES_WITHOUT_USAGE):
            shown = "missing" if charged is None else format_usd(charged)
            yield f"request {request_id}: settled {format_usd(posted)}, usage row {shown}"
        for (request_id,) in _rows(USAGE_WITHOUT_ENTRY):
            yield f"request {request_id}: usage row without a settlement"
        for kind, name in _rows(STRAYS):
            yield f"{kind} {name}: belongs to nothing in the ledger"
        for wallet, entry_id, marked, derived in _rows(MARKS_OFF):
            again = "no such entry" if derived is None else f"derived {format_usd(int(derived))}"
            yield f"wallet {wallet}: balance after entry {entry_id} is marked {format_usd(marked)}, {again}"
        yield from _caps()
        yield from _charges()


def _rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def _balances() -> Iterator[str]:
    held = dict(_rows(HELD))
    lots = dict(_rows(LOTS))
    for wallet, paid, promo, debt, wallet_held, available, *derived in _rows(BALANCES):
        wanted = {
            "paid": (paid, derived[0]),
            "promo": (promo, derived[1]),
            "debt": (debt, derived[2]),
            "held": (wallet_held, held.get(wallet, 0)),
            "promo lots": (promo, lots.get(wallet, 0)),
            "available": (available, derived[0] + derived[1] - held.get(wallet, 0)),
        }
        for name, (stored, again) in wanted.items():
            if stored != again:
                yield (
                    f"wallet {wallet}: {name} is {format_usd(stored)}, derived {format_usd(int(again))}"
                    f" (difference {format_usd(int(again) - stored)})"
                )


def _costs() -> Iterator[str]:
    for request_id, cost, posted in _rows(COST_POSTED_ELSEWHERE):
        yield f"request {request_id}: cost {format_usd(cost)}, postings to the provider {format_usd(int(posted))}"
    for request_id, lost, posted in _rows(LOSSES_OFF):
        yield f"request {request_id}: failed attempts {format_usd(lost)}, postings {format_usd(int(posted))}"


def _caps() -> Iterator[str]:
    entries = CAP_ENTRIES[connection.vendor]
    for cap, start, reserved, spent, *derived in _rows(CAPS.format(entries=entries)):
        for name, stored, again in (("reserved", reserved, derived[0]), ("spent", spent, derived[1])):
            if stored != again:
                yield f"cap {cap} from {start}: {name} is {format_usd(stored)}, derived {format_usd(int(again))}"
    for request_id, cap in _rows(CAPS_OF_NOTHING.format(entries=entries)):
        yield f"request {request_id}: its hold counts on cap {cap}, which has no such period or another wallet"


def _charges() -> Iterator[str]:
    prices = {row.pk: PriceVersion.from_row(row) for row in Price.objects.all()}
    fields = ("request_id", "price_id", "usage", "cost_nano", "fee_nano", "charge_nano")
    for request_id, price_id, usage, cost, fee, charge in UsageRow.objects.values_list(*fields).iterator(
        chunk_size=2_000
    ):
        if price_id not in prices:
            yield f"request {request_id}: price version {price_id} is gone"
            continue
        try:
            again = prices[price_id].charge(Usage(**usage))
        except (UnpricedUsage, TypeError) as error:
            yield f"request {request_id}: {error}"
            continue
        if (again.cost, again.fee, again.charge) != (cost, fee, charge):
            yield (f"request {request_id}: charged {format_usd(charge)}, usage x price is {format_usd(again.charge)}")


def totals() -> dict[str, int]:
    """How much was looked at, for the report."""
    return {
        "wallets": Wallet.objects.count(),
        "entries": LedgerEntry.objects.count(),
        "postings": Posting.objects.count(),
        "calls": UsageRow.objects.count(),
    }
