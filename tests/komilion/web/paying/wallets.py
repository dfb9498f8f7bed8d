"""Short words for putting money into wallets and for reading the wallet's pages."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from itertools import count
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from billing.actions.wallets import do_move
from billing.ledger.items import Movement
from billing.models import Payment, TopUpOrder, Wallet
from komilion.common.clock import utc_now
from tests.people import Person

ROLES = ("developer", "billing", "viewer")
MAY_PAY = ("owner", "billing")
WALLET = "/dashboard/wallet"
QUERIES = 12
CENT = 10_000_000
_numbers = count(1)


def move(person: Person, kind: Any, amount_nano: int, **more: Any) -> str:
    """Money into or out of the wallet; returns the reference."""
    reference = more.pop("reference", f"{kind}-paying-{next(_numbers)}")
    do_move(Movement(reference, kind, person.organization_id, amount_nano, **more))
    return reference


def wallet_of(person: Person) -> Wallet:
    return Wallet.objects.get(pk=person.organization_id)


def pay_with_test_money(person: Person, amount: str = "2500", **fields: str) -> Payment:
    """Through the pages, as a person does; needs `test_money`."""
    checkout = person.browser.post(f"{WALLET}/top-up", {"amount": amount, **fields})
    assert checkout.status_code == 302, checkout.content.decode()
    assert person.browser.post(checkout["Location"], {"outcome": "pay"}).status_code == 302
    return Payment.objects.get(order_id=checkout["Location"].rpartition("/")[2])


def new_payment(person: Person, **changes: Any) -> Payment:
    """A payment by real money, as it would be in the database; nothing is credited."""
    payment_id = f"pi_{next(_numbers)}"
    fields = {"credit_cents": 2_500, "fee_cents": 75, "tax_cents": 489, "livemode": True, "currency": "usd"}
    fields |= changes
    order = TopUpOrder.objects.create(
        id=f"top-of-{payment_id}",
        wallet_id=person.organization_id,
        kind=fields.pop("kind", "checkout"),
        state="paid",
        created_by=person.email,
        **{name: fields[name] for name in ("credit_cents", "fee_cents", "livemode")},
    )
    total = fields["credit_cents"] + fields["fee_cents"] + fields["tax_cents"]
    return Payment.objects.create(
        id=payment_id,
        order=order,
        wallet_id=person.organization_id,
        total_cents=total,
        created_at=utc_now(),
        **fields,
    )


def text_of(answer: Any) -> str:
    """What a reader sees of a page, in one line."""
    body = re.sub(r"(?s)<(script|style).*?</\1>", " ", answer.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


@contextmanager
def few_queries() -> Iterator[None]:
    """At most as many queries as a page may make."""
    with CaptureQueriesContext(connection) as captured:
        yield
    assert len(captured) <= QUERIES, "\n".join(query["sql"] for query in captured)
