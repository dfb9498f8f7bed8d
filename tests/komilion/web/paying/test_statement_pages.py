"""The statement's page and file: the ledger's own figures, whatever is asked for, and nobody else's."""

import asyncio
import csv
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any, cast

import pytest
from django.test import AsyncRequestFactory, Client
from django.utils import timezone

from accounts.models import User
from billing import statement as statement_module
from billing.models import LedgerEntry
from komilion.common.money import NANO_PER_USD, parse_usd
from komilion.web.csv_export import cell, csv_response
from tests.billing.ledger_database import LedgerDatabase, Tenant, place, settle
from tests.komilion.web.paying.wallets import (
    WALLET,
    few_queries,
    move,
    pay_with_test_money,
    text_of,
    wallet_of,
)
from tests.people import Person

STATEMENT = f"{WALLET}/statement"
FILE = f"{WALLET}/statement.csv"


@pytest.fixture
def today() -> str:
    return timezone.localdate().isoformat()


def call(person: Person, output_tokens: int, **row: Any) -> str:
    """A call that was settled at a nano-dollar a token and our fee; returns its request id."""
    books = LedgerDatabase("")
    tenant = Tenant(person.organization_id, 0)
    hold = place(tenant, ceiling=output_tokens * 2, key_id=None)
    books.commit(hold)
    books.commit(settle(tenant, hold.request_id, books.price(), output_tokens, key_id=None, **row))
    return hold.request_id


def rows_of(answer: Any) -> list[list[str]]:
    """The rows of a file, its header first."""
    return list(csv.reader(StringIO(answer.getvalue().decode(), newline="")))


def titles_of(answer: Any) -> list[str]:
    """The exact amounts of the page's table: change and balance, line by line."""
    body = answer.content.decode().partition("<tbody>")[2].partition("</tbody>")[0]
    return [part.partition('"')[0] for part in body.split('class="money" title="')[1:]]


def test_who_is_not_logged_in_is_asked_to(client: Client) -> None:
    assert client.get(STATEMENT).status_code == 302
    assert client.get(FILE).status_code == 302


@pytest.mark.parametrize("role", ["developer", "billing", "viewer"])
def test_everybody_in_the_organization_reads_it_and_nobody_else(
    alice: Person, bob: Callable[[str], Person], charlie: Person, test_money: None, role: str
) -> None:
    payment = pay_with_test_money(alice)
    request_id = call(alice, 1_000_000, model="vendor/model-x")
    person = bob(role)
    with few_queries():
        answer = person.browser.get(STATEMENT)
    assert titles_of(answer) == ["-$0.00125", "$24.99875", "$25.00", "$25.00"]
    assert "-$0.00125 $24.99875" in text_of(answer)  # to be read, not only on hover
    page = answer.content.decode()
    assert f'href="{WALLET}/receipts/{payment.pk}"' in page
    assert "vendor/model-x" in page
    assert request_id not in text_of(charlie.browser.get(STATEMENT))
    assert "Nothing yet" in text_of(charlie.browser.get(STATEMENT))


def test_refunds_and_other_movements_say_what_they_were(alice: Person, test_money: None) -> None:
    payment = pay_with_test_money(alice)
    alice.browser.post(f"{WALLET}/payments/{payment.pk}/refund")
    move(alice, "grant", NANO_PER_USD, memo="for <b>trying</b>")
    answer = alice.browser.get(STATEMENT)
    assert answer.content.decode().count(f'href="{WALLET}/receipts/{payment.pk}"') == 2
    assert "Credit given for <b>trying</b>" in text_of(answer)
    assert "<b>trying" not in answer.content.decode()


def test_pages_and_filters_keep_the_balances(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_module, "PAGE_LINES", 3)
    for number in range(1, 6):
        move(alice, "topup" if number % 2 else "grant", number * NANO_PER_USD)
    first = alice.browser.get(STATEMENT)
    assert titles_of(first) == ["$5.00", "$15.00", "$4.00", "$10.00", "$3.00", "$6.00"]
    older = first.context["older"]
    assert first.context["newer"] == ""
    with few_queries():
        second = alice.browser.get(older)
    assert titles_of(second) == ["$2.00", "$3.00", "$1.00", "$1.00"]
    assert second.context["older"] == ""
    assert titles_of(alice.browser.get(second.context["newer"])) == titles_of(first)
    month = f"{timezone.localdate():%Y-%m}"
    with few_queries():
        grants = alice.browser.get(STATEMENT, {"kind": "grant", "month": month})
    assert titles_of(grants) == ["$4.00", "$10.00", "$2.00", "$3.00"]
    all_of_month = alice.browser.get(STATEMENT, {"month": month})
    assert f"month={month}" in all_of_month.context["older"]
    assert "Nothing of that kind" in text_of(alice.browser.get(STATEMENT, {"kind": "refund"}))


@pytest.mark.parametrize(
    "asked", [{"kind": "bribe"}, {"month": "1999-01"}, {"month": "x"}, {"before": "x"}, {"after": str(2**70)}]
)
def test_a_filter_that_is_none_is_said_beside_its_field(alice: Person, asked: dict[str, str]) -> None:
    move(alice, "topup", NANO_PER_USD)
    answer = alice.browser.get(STATEMENT, asked)
    assert answer.status_code == 422
    assert answer.context["form"].errors.keys() == asked.keys()


def test_months_are_those_of_the_viewer(alice: Person) -> None:
    move(alice, "topup", NANO_PER_USD)
    entries = LedgerEntry.objects.filter(wallet_id=alice.organization_id)
    wallet_of(alice).__class__.objects.filter(pk=alice.organization_id).update(
        created_at=datetime(2026, 1, 5, tzinfo=UTC)
    )
    entries.update(created_at=datetime(2026, 1, 31, 23, 30, tzinfo=UTC))
    assert titles_of(alice.browser.get(STATEMENT, {"month": "2026-01"})) == ["$1.00", "$1.00"]
    User.objects.filter(email=alice.email).update(time_zone="Europe/Berlin")
    assert titles_of(alice.browser.get(STATEMENT, {"month": "2026-01"})) == []
    assert titles_of(alice.browser.get(STATEMENT, {"month": "2026-02"})) == ["$1.00", "$1.00"]
    assert len(rows_of(alice.browser.get(FILE, {"first": "2026-01-01", "last": "2026-01-31"}))) == 1
    assert len(rows_of(alice.browser.get(FILE, {"first": "2026-02-01", "last": "2026-02-01"}))) == 2


def test_the_file_has_every_line_and_every_digit(alice: Person, charlie: Person, today: str) -> None:
    formula, memo = f"=HYPERLINK({alice.organization_id})", '+1-800, "a"\nb'
    move(alice, "topup", 10 * NANO_PER_USD, reference=formula, memo=memo)
    move(charlie, "topup", 3 * NANO_PER_USD)
    request_id = call(alice, 1_234_567)
    answer = alice.browser.get(FILE, {"first": today, "last": today})
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == f'attachment; filename="statement-{today}-{today}.csv"'
    header, topup, charge = rows_of(answer)
    assert header == ["time_utc", "kind", "reference", "note", "in_usd", "out_usd", "balance_usd"]
    assert topup[1:] == ["topup", f"'{formula}", f"'{memo}", "10.00", "0.00", "10.00"]
    assert charge[1:] == ["settle", request_id, "", "0.00", "0.001543209", "9.998456791"]
    assert parse_usd(charge[-1]) == wallet_of(alice).paid_nano


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "first"),
        ({"first": "2026-02-30", "last": "2026-03-01"}, "first"),
        ({"first": "2026-03-02", "last": "2026-03-01"}, "last"),
        ({"first": "2024-01-01", "last": "2025-01-02"}, "last"),
        ({"first": "0001-01-01", "last": "0001-01-02"}, "first"),
        ({"first": "9999-12-30", "last": "9999-12-31"}, "last"),
    ],
)
def test_a_range_that_is_none_is_said_beside_its_field(alice: Person, asked: dict[str, str], field: str) -> None:
    answer = alice.browser.get(FILE, asked)
    assert answer.status_code == 422
    assert field in answer.context["range_form"].errors
    assert "Nothing yet" in text_of(answer)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(start: str) -> None:
    assert cell(f"{start}1+1") == f"'{start}1+1"
    assert cell(f"a{start}") == f"a{start}"


@pytest.mark.parametrize("unseen", [" ", "\n", "\u00a0", "\ufeff", "\u200b", "\u202e", "\x00", " \ufeff\t "])
def test_nor_is_one_behind_signs_that_nobody_sees(unseen: str) -> None:
    assert cell(f"{unseen}=1+1") == f"'{unseen}=1+1"
    assert cell(f"{unseen}@SUM(A1)") == f"'{unseen}@SUM(A1)"
    assert cell(f"a{unseen}=1") == f"a{unseen}=1"


def test_under_asgi_the_file_is_read_part_by_part() -> None:
    read: list[int] = []

    def rows() -> Iterator[tuple[str, str]]:
        for number in range(1_100):
            read.append(number)
            yield str(number), "a,b"

    async def send() -> None:
        response = csv_response(AsyncRequestFactory().get("/"), "a.csv", rows())
        parts = cast(AsyncIterator[bytes], response.streaming_content)
        assert (await anext(parts)).startswith(b'0,"a,b"\r\n1,')
        assert len(read) == 500
        rest = b"".join([part async for part in parts])
        assert len(read) == 1_100
        assert rest.endswith(b'1099,"a,b"\r\n')

    asyncio.run(send())


def test_lines_that_came_while_it_is_read_are_not_in_the_file(alice: Person, today: str) -> None:
    move(alice, "topup", NANO_PER_USD)
    lines = statement_module.statement_lines(alice.organization_id, statement_module.StatementFilter())
    assert next(lines).balance_nano == NANO_PER_USD
    move(alice, "topup", NANO_PER_USD)
    assert list(lines) == []
