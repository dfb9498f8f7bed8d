"""The statement says what the ledger says: every change, and the balance after it, however it is paged and filtered."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from django.db.models import F, Max, Min
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from billing import statement
from billing.actions import balances
from billing.actions.balances import do_mark_balances
from billing.ledger.items import Expire, Movement, Void
from billing.ledger.verify import differences
from billing.models import BalanceMark, LedgerEntry, Posting, PromoLot
from billing.statement import (
    DELTA_SIGNS,
    StatementFilter,
    StatementLine,
    delta_of,
    statement_lines,
    statement_page,
)
from billing.tasks import mark_balances
from komilion.common.clock import monotonic_s
from tests.billing.ledger_database import LedgerDatabase, Tenant, new_name, place, settle

NOTHING = StatementFilter()
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["topup", "grant", "recredit", "refund", "adjust", "breakage", "call", "void", "expire", "chargeback"]
        ),
        st.integers(0, 2_000),
        st.booleans(),  # whether balances are marked afterwards
    ),
    min_size=1,
    max_size=25,
)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few lines make many pages, parts and marks."""
    monkeypatch.setattr(statement, "PAGE_LINES", 4)
    monkeypatch.setattr(statement, "CSV_LINES_AT_ONCE", 3)
    monkeypatch.setattr(balances, "ENTRIES_PER_MARK", 3)
    monkeypatch.setattr(balances, "MARKS_AT_ONCE", 2)


def pages(tenant: Tenant, wanted: StatementFilter = NOTHING) -> list[StatementLine]:
    """All lines, newest first, paged towards the past; paging back must show the same pages."""
    page = statement_page(tenant.wallet_id, wanted)
    assert page.newer_than is None
    walked = [page]
    while page.older_than is not None:
        page = statement_page(tenant.wallet_id, wanted, before=page.older_than)
        walked.append(page)
    for newer, older in pairwise(walked):
        assert older.newer_than is not None
        assert statement_page(tenant.wallet_id, wanted, after=older.newer_than).lines == newer.lines
    return [line for page in walked for line in page.lines]


def by_the_postings(tenant: Tenant) -> list[tuple[int, int, int]]:
    """(entry, change, balance) of every entry that changed paid + promo - debt, oldest first, from the postings."""
    ours = {"paid": 1, "promo": 1, "debt": 1}
    changes: dict[int, int] = {}
    for posting in Posting.objects.filter(wallet_id=tenant.wallet_id).order_by("entry_id"):
        change = (ours.get(posting.target, 0) - ours.get(posting.source, 0)) * posting.amount_nano
        changes[posting.entry_id] = changes.get(posting.entry_id, 0) + change
    found, balance = [], 0
    for entry_id, change in changes.items():
        balance += change
        if change:
            found.append((entry_id, change, balance))
    return found


def short(lines: Sequence[StatementLine]) -> list[tuple[int, int, int]]:
    """Of each line what the postings know too."""
    return [(line.entry_id, line.delta_nano, line.balance_nano) for line in lines]


def test_every_kind_of_entry_is_either_on_the_statement_or_changes_nothing() -> None:
    silent = {"extend", "void", "expire"}
    assert set(LedgerEntry.Kind.values) - silent <= set(DELTA_SIGNS)
    assert not silent & set(DELTA_SIGNS)
    assert delta_of("void", 5) == 0


def test_it_equals_the_ledger_whatever_happened(ledger: LedgerDatabase) -> None:
    price = ledger.price(output_price=1_500_000)

    @given(STEPS, st.sampled_from([0, 1_000]))
    @hypothesis_settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    def play(steps: list[tuple[str, int, bool]], paid: int) -> None:
        alice, charlie = ledger.open_wallet(paid=paid, promo=paid // 2), ledger.open_wallet(paid=500)
        for kind, amount, marks in steps:
            for tenant in (alice, charlie):
                ledger.commit(*happening(tenant, kind, amount, price))
            if marks:
                do_mark_balances()
        wallet = ledger.wallet(alice.wallet_id)
        expected = by_the_postings(alice)
        assert short(pages(alice))[::-1] == expected
        assert short(list(statement_lines(alice.wallet_id, NOTHING))) == expected
        assert expected[-1:] == [] or expected[-1][2] == wallet["paid"] + wallet["promo"] - wallet["debt"]
        for kind in {kind if kind != "call" else "settle" for kind, _, _ in steps} & set(DELTA_SIGNS):
            entries = set(LedgerEntry.objects.filter(kind=kind).values_list("pk", flat=True))
            of_kind = [line for line in expected if line[0] in entries]
            wanted = StatementFilter(kind=kind)
            assert short(pages(alice, wanted))[::-1] == of_kind
            assert short(list(statement_lines(alice.wallet_id, wanted))) == of_kind

    play()


def happening(tenant: Tenant, kind: str, amount: int, price: Any) -> list[Any]:
    """What the ledger is asked for one step; it may refuse."""
    if kind in {"call", "void", "expire"}:
        hold = place(tenant, ceiling=amount, minimum=0)
        ends = {
            "call": settle(tenant, hold.request_id, price, amount, held=amount),
            "void": Void(hold.request_id, tenant.wallet_id),
            "expire": Expire(hold.request_id, tenant.wallet_id, only_if_due=False, process_gone=False),
        }
        return [hold, ends[kind]]
    lot = None
    if kind == "breakage":
        lots = PromoLot.objects.filter(wallet_id=tenant.wallet_id, remaining_nano__gt=0)
        lot = lots.values_list("pk", flat=True).first() or 0
    return [Movement(new_name(kind), kind, tenant.wallet_id, amount, lot_id=lot)]  # type: ignore[arg-type]


def test_an_empty_wallet_has_an_empty_statement(ledger: LedgerDatabase) -> None:
    alice = ledger.open_wallet()
    page = statement_page(alice.wallet_id, NOTHING)
    assert (list(page.lines), page.newer_than, page.older_than) == ([], None, None)
    assert list(statement_lines(alice.wallet_id, NOTHING)) == []


def test_a_page_says_what_an_entry_was(ledger: LedgerDatabase) -> None:
    alice = ledger.open_wallet()
    ledger.commit(Movement("gift-1", "grant", alice.wallet_id, 70, memo="for trying"))
    (line,) = statement_page(alice.wallet_id, NOTHING).lines
    assert (line.kind, line.reference, line.memo) == ("grant", "gift-1", "for trying")
    assert (line.delta_nano, line.balance_nano) == (70, 70)
    assert line.at == LedgerEntry.objects.get(pk=line.entry_id).created_at


@pytest.mark.parametrize("is_marked", [True, False], ids=["marked", "not marked"])
def test_a_month_shows_its_own_entries_with_the_balances_of_then(ledger: LedgerDatabase, is_marked: bool) -> None:
    alice = ledger.open_wallet()
    january = datetime(2026, 1, 1, tzinfo=UTC)
    ledger.commit(*[Movement(new_name("topup"), "topup", alice.wallet_id, 10 + number) for number in range(30)])
    first = LedgerEntry.objects.order_by("pk").values_list("pk", flat=True)[0]
    for entry in LedgerEntry.objects.all():  # one every three days
        LedgerEntry.objects.filter(pk=entry.pk).update(created_at=january + timedelta(days=3 * (entry.pk - first)))
    if is_marked:
        mark_balances()
        assert BalanceMark.objects.count() == 10
    february = StatementFilter(since=january + timedelta(days=31), until=january + timedelta(days=59))
    numbers = range(11, 20)  # days 33 to 57
    expected = [(first + number, 10 + number, sum(range(10, 11 + number))) for number in numbers]
    assert short(pages(alice, february))[::-1] == expected
    assert short(list(statement_lines(alice.wallet_id, february))) == expected


def test_marks_are_made_once_and_agree_with_the_postings(ledger: LedgerDatabase) -> None:
    alice, bob = ledger.open_wallet(), ledger.open_wallet(paid=9)
    ledger.commit(*[Movement(new_name("topup"), "topup", alice.wallet_id, number) for number in range(1, 21)])
    assert do_mark_balances() == 6
    assert do_mark_balances() == 0
    BalanceMark.objects.filter(pk=BalanceMark.objects.order_by("pk").values_list("pk", flat=True)[5]).delete()
    assert do_mark_balances() == 1  # a mark is only a reading aid
    marked = dict(BalanceMark.objects.values_list("entry_id", "balance_nano"))
    expected = {entry: balance for entry, _, balance in by_the_postings(alice)}
    assert len(marked) == 6
    assert marked == {entry: expected[entry] for entry in marked}
    assert str(BalanceMark.objects.earliest("pk")).startswith(f"balance of wallet {alice.wallet_id} after entry ")
    assert not BalanceMark.objects.filter(wallet_id=bob.wallet_id).exists()


def test_the_audit_names_a_mark_that_is_wrong(ledger: LedgerDatabase) -> None:
    alice = ledger.open_wallet()
    ledger.commit(*[Movement(new_name("topup"), "topup", alice.wallet_id, 5) for _ in range(6)])
    do_mark_balances()
    assert list(differences()) == []
    first, second = BalanceMark.objects.order_by("entry_id")
    BalanceMark.objects.filter(pk=first.pk).update(balance_nano=16)
    BalanceMark.objects.filter(pk=second.pk).update(entry=first.entry_id + 1_000)
    named = f"wallet {alice.wallet_id}: balance after entry"
    assert set(differences()) == {
        f"{named} {first.entry_id} is marked 0.000000016, derived 0.000000015",
        f"{named} {first.entry_id + 1_000} is marked 0.00000003, no such entry",
    }


def test_a_far_page_reads_from_the_nearest_mark(ledger: LedgerDatabase) -> None:
    alice = ledger.open_wallet()
    ledger.commit(*[Movement(new_name("topup"), "topup", alice.wallet_id, 5) for _ in range(12)])
    do_mark_balances()
    middle = BalanceMark.objects.order_by("entry_id")[2]
    BalanceMark.objects.filter(pk=middle.pk).update(balance_nano=F("balance_nano") + 1_000)  # to see that it is read
    page = statement_page(alice.wallet_id, NOTHING, before=middle.entry_id + 3)
    assert [line.balance_nano for line in page.lines] == [1_055, 1_050, 1_045, 40]


ENTRIES = 1_000_000
MARK = timedelta(milliseconds=100)
FILL = """
    INSERT INTO billing_ledgerentry (reference, kind, ordinal, wallet_id, amount_nano, memo, created_at)
    SELECT 'gen-filled-' || n, CASE WHEN n %% 20000 = 0 THEN 'topup' WHEN n %% 5 = 0 THEN 'extend' ELSE 'settle' END,
           0, %s, 1 + n %% 1000, '', timestamptz '2026-01-01' + n * interval '20 seconds'
      FROM generate_series(1, %s) AS n
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_million_entries_are_read_in_a_tenth_of_a_second(
    postgres_ledger: LedgerDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # pages and marks of their real size
    alice = postgres_ledger.open_wallet()
    postgres_ledger.execute(FILL, [alice.wallet_id, ENTRIES])
    postgres_ledger.execute("ANALYZE billing_ledgerentry")
    assert do_mark_balances() == ENTRIES // balances.ENTRIES_PER_MARK
    postgres_ledger.execute("ANALYZE billing_balancemark")
    oldest, newest = LedgerEntry.objects.aggregate(first=Min("pk"), last=Max("pk")).values()
    march = StatementFilter(since=datetime(2026, 3, 1, tzinfo=UTC), until=datetime(2026, 4, 1, tzinfo=UTC))
    asked: dict[str, tuple[StatementFilter, dict[str, int]]] = {
        "newest": (NOTHING, {}),
        "in the middle": (NOTHING, {"before": (oldest + newest) // 2}),
        "back from the oldest": (NOTHING, {"after": oldest}),
        "a month": (march, {}),
        "the few top-ups": (StatementFilter(kind="topup"), {}),
        "calls of a month": (StatementFilter("settle", march.since, march.until), {}),
        "a kind that never was": (StatementFilter(kind="chargeback"), {}),
    }
    for name, (wanted, at) in asked.items():
        statement_page(alice.wallet_id, wanted, **at)  # once, so that the pages of the disk are in memory
        best = min(_took(lambda wanted=wanted, at=at: statement_page(alice.wallet_id, wanted, **at)) for _ in range(5))
        assert best < MARK, f"{name}: {best}"


def _took(work: Callable[[], object]) -> timedelta:
    start = monotonic_s()
    work()
    return timedelta(seconds=monotonic_s() - start)
