"""What an operator reads where a row is named."""

from datetime import date

import pytest
from django.db.models import Model

from billing.models import (
    AutoRecharge,
    BalanceAlert,
    Cap,
    CapUse,
    Dispute,
    IdempotentCall,
    PayingCustomer,
    Payment,
    PaymentEvent,
    Refund,
    TopUpOrder,
)

NAMED = [
    (AutoRecharge(wallet_id=7), "auto-recharge of wallet 7"),
    (BalanceAlert(wallet_id=7), "balance alert of wallet 7"),
    (Cap(kind="key", subject_id=3, period="day"), "key 3 per day"),
    (CapUse(cap_id=5, starts_on=date(2026, 1, 31)), "use of cap 5 from 2026-01-31"),
    (Dispute(id="dp_1", state="won"), "dispute dp_1 (won)"),
    (IdempotentCall(request_id="gen-1", key_id=3), "call gen-1 of key 3"),
    (PayingCustomer(customer_id="cus_1"), "customer cus_1"),
    (Payment(id="pi_1"), "payment pi_1"),
    (PaymentEvent(id="evt_1", type="charge.refunded"), "charge.refunded evt_1"),
    (Refund(id="ref-1", state="open"), "refund ref-1 (open)"),
    (TopUpOrder(id="top-1", state="paid"), "order top-1 (paid)"),
]


@pytest.mark.parametrize(("row", "name"), NAMED, ids=lambda value: type(value).__name__)
def test_it_says_which_row_it_is(row: Model, name: str):
    assert str(row) == name
