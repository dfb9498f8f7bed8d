"""Marking balances along the ledger, for statements. Runs beside everything else and may run twice."""

from django.db import connection

from billing.models import BalanceMark, LedgerEntry
from billing.statement import DELTA

ENTRIES_PER_MARK = 500  # so many entries, at most, are added up for one line of a statement
MARKS_AT_ONCE = 100  # one short transaction
LOOK_BACK_ENTRIES = 100_000  # ids of several processes become visible out of order

WALLETS = """
    SELECT wallet_id FROM billing_ledgerentry
     WHERE id > (SELECT COALESCE(MAX(entry_id), 0) FROM billing_balancemark) - %s GROUP BY wallet_id
"""
NEXT_SUMS = """
    SELECT id, total FROM (
        SELECT id, SUM({delta}) OVER (ORDER BY id) AS total, ROW_NUMBER() OVER (ORDER BY id) AS number
          FROM (SELECT id, kind, amount_nano FROM billing_ledgerentry
                 WHERE wallet_id = %s AND id > %s ORDER BY id LIMIT %s) AS part
    ) AS counted WHERE number %% %s = 0 ORDER BY id
"""


def do_mark_balances() -> int:
    """Mark every wallet up to its newest whole run of `ENTRIES_PER_MARK` entries; returns how many marks are new."""
    with connection.cursor() as cursor:
        cursor.execute(WALLETS, [LOOK_BACK_ENTRIES])
        wallets = [row[0] for row in cursor.fetchall()]
    return sum(_mark_wallet(wallet_id) for wallet_id in wallets)


def _mark_wallet(wallet_id: int) -> int:
    last = BalanceMark.objects.filter(wallet_id=wallet_id).order_by("-entry_id").first()
    entry_id, balance = (last.entry_id, last.balance_nano) if last else (0, 0)
    made = 0
    while sums := _next_sums(wallet_id, entry_id):
        times = dict(LedgerEntry.objects.filter(pk__in=sums).values_list("pk", "created_at"))
        marks = [
            BalanceMark(
                wallet_id=wallet_id, entry_id=marked, entry_created_at=times[marked], balance_nano=balance + total
            )
            for marked, total in sums.items()
        ]
        BalanceMark.objects.bulk_create(marks, ignore_conflicts=True)  # a second job makes the same ones
        entry_id, balance = marks[-1].entry_id, marks[-1].balance_nano
        made += len(marks)
    return made


def _next_sums(wallet_id: int, after: int) -> dict[int, int]:
    """Entries to be marked next, ascending, with the sum of deltas since `after`; empty where no run is whole."""
    limit = ENTRIES_PER_MARK * MARKS_AT_ONCE
    with connection.cursor() as cursor:
        cursor.execute(NEXT_SUMS.format(delta=DELTA), [wallet_id, after, limit, ENTRIES_PER_MARK])
        return {entry_id: int(total) for entry_id, total in cursor.fetchall()}
