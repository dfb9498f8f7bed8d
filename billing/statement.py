"""The statement: what changed a wallet's balance, with the balance after it. Amounts are nano-USD.

The balance is paid + promo - debt. What one entry did to it follows from its kind and amount alone, which the audit
compares with the postings. A wallet's entries have ascending ids in the order in which they happened, since ids are
taken under the wallet's lock; so everything up to an entry that can be seen is there for good, and a balance once
shown never changes. How far back a page must add up is bounded by the marks that `do_mark_balances` makes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from django.db import connection
from django.db.models import F, OuterRef, QuerySet, Subquery

from billing.models import BalanceMark, Dispute, LedgerEntry, Payment, Refund, UsageRow, Wallet

PAGE_LINES = 50
CSV_LINES_AT_ONCE = 1_000
# Entries take their time from the start of their transaction, their id later, when they have the lock.
CLOCK_SLACK = timedelta(minutes=10)

type Anchor = tuple[int, int]  # id of an entry, balance after it
EMPTY: Anchor = (0, 0)

DELTA_SIGNS: Mapping[str, int] = MappingProxyType(
    {
        "settle": -1,
        "topup": +1,
        "grant": +1,
        "recredit": +1,
        "refund": -1,
        "adjust": -1,
        "breakage": -1,
        "chargeback": -1,
        "chargeback_reversed": +1,
    }
)
CALL_KINDS = ("settle", "extend", "void", "expire")
SHOWN_KINDS = tuple(DELTA_SIGNS)
DELTA = " ".join(
    ["CASE kind", *(f"WHEN '{kind}' THEN {sign} * amount_nano" for kind, sign in DELTA_SIGNS.items()), "ELSE 0 END"]
)

BALANCES = """
    WITH shown AS (
        SELECT id, LAG(id, 1, CAST(%s AS bigint)) OVER (ORDER BY id) AS older,
               (SELECT MAX(m.entry_id) FROM billing_balancemark m
                 WHERE m.wallet_id = e.wallet_id AND m.entry_id <= e.id) AS mark
          FROM billing_ledgerentry e WHERE wallet_id = %s AND id IN ({ids})
    ), ranges AS (
        SELECT id, CASE WHEN mark > older THEN mark ELSE older END AS base FROM shown
    )
    SELECT r.id, r.base,
           (SELECT m.balance_nano FROM billing_balancemark m WHERE m.wallet_id = %s AND m.entry_id = r.base),
           (SELECT COALESCE(SUM({delta}), 0) FROM billing_ledgerentry
             WHERE wallet_id = %s AND id > r.base AND id <= r.id)
      FROM ranges r ORDER BY r.id
"""


@dataclass(frozen=True, slots=True)
class StatementFilter:
    """Which lines: one kind or all; with both times those from `since` up to but not including `until`."""

    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One entry. `delta_nano` is what it did to the balance, `balance_nano` the balance right after it."""

    entry_id: int
    at: datetime
    kind: str
    reference: str  # the request id of a call, the id of a payment, ...
    memo: str
    delta_nano: int
    balance_nano: int


@dataclass(frozen=True, slots=True)
class StatementPage:
    """Lines, newest first; `newer_than` and `older_than` are entry ids to go on from, None where nothing follows."""

    lines: Sequence[StatementLine]
    newer_than: int | None
    older_than: int | None


def statement_page(
    organization_id: int, wanted: StatementFilter, *, before: int | None = None, after: int | None = None
) -> StatementPage:
    """The newest page, or the one next to an entry: `before` it in time, or `after` it."""
    entries = _entries(organization_id, wanted)
    if after is not None:
        found = list(entries.filter(pk__gt=after).order_by("pk")[: PAGE_LINES + 1])
        rows, is_newest, is_oldest = found[:PAGE_LINES][::-1], len(found) <= PAGE_LINES, False
    else:
        older = entries if before is None else entries.filter(pk__lt=before)
        # Both in one statement: a call that is settled between two would make the balance another entry's.
        now = F("wallet__paid_nano") + F("wallet__promo_nano") - F("wallet__debt_nano")
        found = list(older.annotate(balance_now=now).order_by("-pk")[: PAGE_LINES + 1])
        rows, is_newest, is_oldest = found[:PAGE_LINES], before is None, len(found) <= PAGE_LINES
    if rows and before is None and after is None and wanted == StatementFilter():
        lines = _downwards(rows, rows[0].balance_now)  # type: ignore[attr-defined]
    else:
        lines = _upwards(organization_id, rows[::-1], EMPTY)[::-1]
    return StatementPage(
        lines,
        newer_than=None if is_newest or not rows else rows[0].pk,
        older_than=None if is_oldest or not rows else rows[-1].pk,
    )


def statement_lines(organization_id: int, wanted: StatementFilter) -> Iterator[StatementLine]:
    """Every line up to this moment, oldest first, read in parts so that any number of them fits."""
    entries = _entries(organization_id, wanted).order_by("pk")
    newest = entries.values_list("pk", flat=True).last()
    anchor = EMPTY
    while newest is not None and anchor[0] < newest:
        rows = list(entries.filter(pk__gt=anchor[0], pk__lte=newest)[:CSV_LINES_AT_ONCE])
        lines = _upwards(organization_id, rows, anchor)
        yield from lines
        anchor = (lines[-1].entry_id, lines[-1].balance_nano)


def models_of_calls(organization_id: int, request_ids: Sequence[str]) -> dict[str, str]:
    """The model of each call, for the lines of one page."""
    rows = UsageRow.objects.filter(organization_id=organization_id, request_id__in=request_ids)
    return dict(rows.values_list("request_id", "model")) if request_ids else {}


def payments_of_entries(organization_id: int, references: Sequence[str]) -> dict[str, str]:
    """The payment that a top-up, refund or charge-back belongs to, by the reference of its entry."""
    if not references:
        return {}
    wanted = {"wallet_id": organization_id, "pk__in": references}
    payments = Payment.objects.filter(**wanted).values_list("pk", "pk")
    others = [rows.filter(**wanted).values_list("pk", "payment_id") for rows in (Refund.objects, Dispute.objects)]
    return dict(payments.union(*others))


def delta_of(kind: str, amount_nano: int) -> int:
    """What an entry of this kind and amount did to the balance."""
    return DELTA_SIGNS.get(kind, 0) * amount_nano


def _entries(organization_id: int, wanted: StatementFilter) -> QuerySet[LedgerEntry]:
    """What the filter lets through. Marks turn a time into an id, since entries have no index by time."""
    entries = LedgerEntry.objects.filter(wallet_id=organization_id, amount_nano__gt=0)
    if wanted.kind is None:
        entries = entries.filter(kind__in=SHOWN_KINDS)
    elif wanted.kind in CALL_KINDS:
        entries = entries.filter(kind=wanted.kind)
    else:
        entries = entries.filter(kind=wanted.kind).exclude(kind__in=CALL_KINDS)  # names the index of these few
    if wanted.since is not None and wanted.until is not None:
        lowest, highest = _ids_around(organization_id, wanted.since, wanted.until)
        entries = entries.filter(created_at__gte=wanted.since, created_at__lt=wanted.until, pk__gt=lowest or 0)
        entries = entries if highest is None else entries.filter(pk__lte=highest)
    return entries


def _ids_around(organization_id: int, since: datetime, until: datetime) -> tuple[int | None, int | None]:
    """The last marked entry that is surely before the time, and the first one surely after it."""
    marks = BalanceMark.objects.filter(wallet=OuterRef("pk")).order_by("entry_created_at").values("entry_id")
    before = marks.filter(entry_created_at__lt=since - CLOCK_SLACK).reverse()[:1]
    after = marks.filter(entry_created_at__gt=until + CLOCK_SLACK)[:1]
    wallet = Wallet.objects.filter(pk=organization_id)
    lowest, highest = wallet.values_list(Subquery(before), Subquery(after)).get()
    return lowest, highest


def _downwards(rows: Sequence[LedgerEntry], balance_now: int) -> list[StatementLine]:
    """Lines of the newest entries of all, newest first, from the wallet as it is after them."""
    lines = []
    for row in rows:
        lines.append(_line(row, balance_now))
        balance_now -= delta_of(row.kind, row.amount_nano)
    return lines


def _upwards(organization_id: int, rows: Sequence[LedgerEntry], anchor: Anchor) -> list[StatementLine]:
    """Lines of any entries, oldest first; `anchor` lies before the first of them."""
    balances = _balances(organization_id, [row.pk for row in rows], anchor) if rows else {}
    return [_line(row, balances[row.pk]) for row in rows]


def _balances(organization_id: int, ids: Sequence[int], anchor: Anchor) -> dict[int, int]:
    """The balance after each of these entries, each counted from the nearest known one below it."""
    known, balance = anchor
    query = BALANCES.format(ids=", ".join(["%s"] * len(ids)), delta=DELTA)
    with connection.cursor() as cursor:
        cursor.execute(query, [known, organization_id, *ids, organization_id, organization_id])
        rows = cursor.fetchall()
    balances = {}
    for entry_id, base, marked, added in rows:
        if marked is not None:
            balance = marked
        elif base == 0:  # nothing is known below it: from the wallet's first entry
            balance = 0
        balance += int(added)
        balances[entry_id] = balance
    return balances


def _line(row: LedgerEntry, balance_nano: int) -> StatementLine:
    return StatementLine(
        entry_id=row.pk,
        at=row.created_at,
        kind=row.kind,
        reference=row.reference,
        memo=row.memo,
        delta_nano=delta_of(row.kind, row.amount_nano),
        balance_nano=balance_nano,
    )
