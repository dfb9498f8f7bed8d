"""The audit finds what raw SQL did to the books, and names it."""

import pytest
from django.core.management import CommandError, call_command
from msgspec.structs import replace

from billing.ledger.items import Expire, Movement, Void
from billing.ledger.verify import differences
from tests.billing.ledger_database import LedgerDatabase, place, settle

CORRUPTIONS = {
    "available and paid raised": (
        "UPDATE billing_wallet SET available_nano = available_nano + 5, paid_nano = paid_nano + 5",
        "paid is 0.00000082, derived 0.000000815 (difference -0.000000005)",
    ),
    "promo taken": (
        "UPDATE billing_wallet SET available_nano = available_nano - 5, promo_nano = promo_nano - 5",
        "promo is",
    ),
    "debt forgiven": ("UPDATE billing_wallet SET debt_nano = debt_nano + 1", "debt is 0.000000001, derived 0.00"),
    "held raised": (
        "UPDATE billing_wallet SET available_nano = available_nano - 5, held_nano = held_nano + 5",
        "held is",
    ),
    "a posting changed": (
        "UPDATE billing_posting SET amount_nano = amount_nano + 1 WHERE source = 'payment_clearing'",
        "paid is",
    ),
    "a posting removed": ("DELETE FROM billing_posting WHERE target = 'platform_fee'", "request gen-settled: entry"),
    "cost booked as fee": (
        "UPDATE billing_posting SET target = 'platform_fee' WHERE target = 'provider_cost' AND source = 'paid'",
        "request gen-settled: cost 0.00000004, postings to the provider",
    ),
    "the entry of a top-up changed": (
        "UPDATE billing_ledgerentry SET amount_nano = amount_nano + 1 WHERE kind = 'topup'",
        "topup topup",
    ),
    "the entry of a settlement changed": (
        "UPDATE billing_ledgerentry SET amount_nano = amount_nano + 1 WHERE kind = 'settle'",
        "request gen-settled: entry 0.000000051, postings 0.00000005",
    ),
    "a usage row removed": (
        "DELETE FROM billing_usagerow",
        "request gen-settled: settled 0.00000005, usage row missing",
    ),
    "a usage row invented": (
        "UPDATE billing_usagerow SET request_id = 'gen-invented'",
        "request gen-invented: usage row without a settlement",
    ),
    "tokens changed": ("UPDATE billing_usagerow SET usage = '{\"output\": 41}'", "request gen-settled: charged"),
    "a bucket invented": ("UPDATE billing_usagerow SET usage = '{\"tea\": 41}'", "request gen-settled:"),
    "a bucket without a price": (
        "UPDATE billing_usagerow SET usage = '{\"web_searches\": 1}'",
        "request gen-settled: no price for web_searches",
    ),
    "the price version changed": (
        "UPDATE billing_price SET fee_basis_points = 0",
        "request gen-settled: charged 0.00000005, usage x price is 0.00000004",
    ),
    "a posting of no entry": (
        "UPDATE billing_posting SET entry_id = -1 WHERE target = 'platform_fee'",
        "belongs to nothing in the ledger",
    ),
    "a posting of another wallet": (
        "UPDATE billing_posting SET wallet_id = -1 WHERE target = 'platform_fee'",
        "belongs to nothing in the ledger",
    ),
    "an entry of no wallet": (
        "UPDATE billing_ledgerentry SET wallet_id = -1 WHERE kind = 'settle'",
        "belongs to nothing in the ledger",
    ),
    "a hold of no wallet": (
        "UPDATE billing_hold SET wallet_id = -1 WHERE state = 'settled'",
        "hold gen-settled: belongs to nothing in the ledger",
    ),
    "the price version removed": ("DELETE FROM billing_price", "request gen-settled: price version"),
    "cost and fee shifted": (
        "UPDATE billing_usagerow SET cost_nano = cost_nano + 1, fee_nano = fee_nano - 1",
        "request gen-settled:",
    ),
    "a loss forgotten": (
        "DELETE FROM billing_posting WHERE source = 'attempt_loss'",
        "request gen-settled: failed attempts 0.000000007, postings 0.00",
    ),
    "a loss invented": (
        "UPDATE billing_usagerow SET attempt_loss_nano = 8",
        "request gen-settled: failed attempts 0.000000008, postings 0.000000007",
    ),
    "a hold closed without an entry": (
        "UPDATE billing_hold SET state = 'voided' WHERE request_id = 'gen-open'",
        "request gen-open: hold is voided but the ledger has no such entry",
    ),
    "a settled hold opened": (
        "UPDATE billing_hold SET state = 'open' WHERE request_id = 'gen-settled'",
        "request gen-settled: settled in the ledger, but its hold is open",
    ),
    "a voided hold opened": ("UPDATE billing_hold SET state = 'open' WHERE request_id = 'gen-voided'", "held is"),
    "a hold removed": (
        "DELETE FROM billing_hold WHERE request_id = 'gen-settled'",
        "request gen-settled: settled in the ledger, but its hold is missing",
    ),
    "an expiry forgotten": (
        "DELETE FROM billing_ledgerentry WHERE kind = 'void'",
        "request gen-voided: hold is voided but the ledger has no such entry",
    ),
    "a lot raised": ("UPDATE billing_promolot SET remaining_nano = remaining_nano - 1", "promo lots is"),
}


@pytest.fixture
def books(ledger: LedgerDatabase) -> LedgerDatabase:
    """One hold of each fate, a top-up, a gift."""
    alice = ledger.open_wallet(paid=865)
    ids = {name: f"gen-{name}" for name in ("settled", "voided", "expired", "open")}
    ledger.commit(*(place(alice, 100, request_id=request_id, lifetime_s=0) for request_id in ids.values()))
    ledger.commit(
        replace(settle(alice, ids["settled"], ledger.price(), 40), attempt_loss=7),
        Void(ids["voided"], alice.wallet_id),
        Expire(ids["expired"], alice.wallet_id, only_if_due=True, process_gone=False),
    )
    ledger.commit(Movement("gift", "grant", alice.wallet_id, 100))
    return ledger


def test_right_books_have_no_difference(books, capsys):
    assert list(differences()) == []
    call_command("ledger", "verify")
    assert capsys.readouterr().out == "no difference in 1 wallets, 5 entries, 6 postings, 1 calls\n"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_it_finds_and_names(books, name, capsys):
    query, line = CORRUPTIONS[name]
    books.execute(query)
    found = list(differences())
    assert any(line in difference for difference in found), found
    with pytest.raises(CommandError, match=f"{len(found)} differences in 1 wallets"):
        call_command("ledger", "verify")
    assert line in capsys.readouterr().out
