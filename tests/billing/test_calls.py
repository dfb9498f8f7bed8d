"""One call with all that the books know of it, and for its own organization only."""

from datetime import UTC, datetime

import pytest

from billing.access import access_call
from billing.calls import call_record, price_lines, running_holds
from billing.ledger.items import Expire, Void
from billing.prices import PriceVersion
from komilion.common.errors import NotFound
from tests.billing.calling import Calls
from tests.billing.ledger_database import LedgerDatabase, place

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def alice(ledger: LedgerDatabase) -> Calls:
    return Calls(ledger, ledger.open_wallet(paid=1_000, promo=5))


def test_a_settled_call_shows_its_bill_and_what_moved(alice):
    request_id = alice.add(NOON, 40, usage={"output": 40})
    record = access_call(alice.tenant.wallet_id, request_id)
    assert (record.state, record.created_at, record.fee_basis_points) == ("settled", NOON, 2_500)
    assert [(line.bucket, line.units, line.price_nano, line.amount_usd) for line in record.lines] == [
        ("output", 40, 10**6, "0.00000004")
    ]
    (line,) = record.entries
    assert line.entry.kind == "settle"
    moved = [(posting.source, posting.target, posting.amount_nano) for posting in line.postings]
    assert moved == [("promo", "provider_cost", 5), ("paid", "provider_cost", 35), ("paid", "platform_fee", 10)]


def test_amounts_of_a_bill_are_exact_and_never_rounded():
    price = PriceVersion(1, {"input": 75_000_000, "cache_read": 18_750_000, "output": 300_000_000}, [], 2_500)
    lines = price_lines(price, {"input": 1_234, "cache_read": 2_001, "output": 567, "reasoning": 5})
    assert [line.amount_usd for line in lines] == ["0.00009255", "0.00003751875", "0.0001701"]


@pytest.mark.parametrize("usage", [{"tea": 1}, {"web_searches": 1}])
def test_a_usage_that_the_price_cannot_explain_has_no_lines(usage):
    assert price_lines(PriceVersion(1, {"output": 1}, [], 2_500), usage) == []


def test_a_call_whose_price_is_gone_is_shown_without_lines(alice):
    request_id = alice.add(NOON)
    alice.ledger.execute("DELETE FROM billing_price")
    record = access_call(alice.tenant.wallet_id, request_id)
    assert (record.lines, record.fee_basis_points) == ([], 0)


def test_calls_without_a_usage_row_are_known_by_their_holds(alice):
    tenant = alice.tenant
    for name in ("running", "voided", "expired"):
        alice.ledger.commit(place(tenant, 100, request_id=f"gen-{name}", lifetime_s=0))
    alice.ledger.commit(
        Void("gen-voided", tenant.wallet_id),
        Expire("gen-expired", tenant.wallet_id, only_if_due=True, process_gone=False),
    )
    states = {name: access_call(tenant.wallet_id, f"gen-{name}").state for name in ("running", "voided", "expired")}
    assert states == {name: name for name in states}
    assert [hold.request_id for hold in running_holds(tenant.wallet_id)] == ["gen-running"]
    record = access_call(tenant.wallet_id, "gen-expired")
    assert (record.row, record.lines, [line.entry.kind for line in record.entries]) == (None, [], ["expire"])


def test_a_call_of_another_organization_is_not_found(alice):
    request_id = alice.add(NOON)
    alice.ledger.commit(place(alice.tenant, 100, request_id="gen-running"))
    charlie = alice.ledger.open_wallet()
    for hidden in (request_id, "gen-running", "gen-none"):
        assert call_record(charlie.wallet_id, hidden) is None
        with pytest.raises(NotFound):
            access_call(charlie.wallet_id, hidden)
    assert running_holds(charlie.wallet_id) == []
