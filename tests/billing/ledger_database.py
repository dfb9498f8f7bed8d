"""A database for the ledger alone, and short words for putting money, holds and settlements into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections, transaction

from accounts.models import ApiKey, Membership, Organization, User
from billing.actions.prices import do_record_price
from billing.actions.wallets import do_open_wallet
from billing.ledger.batch import Deferred
from billing.ledger.commit_now import commit_now
from billing.ledger.items import Item, Movement, Outcome, Place, Settle
from billing.ledger.open_store import open_store
from billing.ledger.store import Store
from billing.models import Hold, Wallet
from billing.prices import PriceVersion
from komilion import env
from komilion.common.usage import Usage

TABLES = [
    *("billing_refund", "billing_dispute", "billing_autorecharge", "billing_balancealert", "billing_payingcustomer"),
    *("billing_posting", "billing_usagerow", "billing_ledgerentry", "billing_hold", "billing_promolot"),
    *("billing_usagesum", "billing_labelsum", "billing_usagemark"),
    *("billing_capuse", "billing_cap", "billing_idempotentcall", "billing_payment", "billing_paymentevent"),
    "billing_topuporder",
    *("billing_balancemark", "billing_wallet", "billing_gatewayprocess", "billing_price"),
    *("accounts_apikey", "accounts_membership", "accounts_auditentry", "accounts_organization", "accounts_user"),
]  # so that nothing is removed before what refers to it
ALIVE = "p-alive"
_numbers = count(1)


def new_name(prefix: str) -> str:
    """A text that was not used before in this process."""
    return f"{prefix}-{next(_numbers)}"


@dataclass(frozen=True)
class Tenant:
    """An organization with a wallet and one key."""

    wallet_id: int
    key_id: int


@dataclass
class LedgerDatabase:
    """What the tests need of the database that Django uses while this exists."""

    vendor: str
    _stores: list[Store] = field(default_factory=list)

    def open_store(self) -> Store:
        """A connection of the ledger's own; closed when the test ends."""
        store = open_store()
        self._stores.append(store)
        return store

    def open_wallet(self, paid: int = 0, promo: int = 0) -> Tenant:
        """A new tenant with that much credit."""
        with transaction.atomic():
            organization = Organization.objects.create(name=new_name("organization"))
            user = User(email=f"{new_name('alice')}@example.com", password="!")
            user.save()
            membership = Membership.objects.create(organization=organization, user=user)
            key = ApiKey.objects.create(
                organization=organization, membership=membership, name="key", key_hash=new_name("hash").encode()
            )
            do_open_wallet(organization.pk)
        movements = [
            Movement(new_name(kind), kind, organization.pk, amount)
            for kind, amount in (("topup", paid), ("grant", promo))
            if amount
        ]
        if movements:
            self.commit(*movements)
        return Tenant(organization.pk, key.pk)

    def price(self, input_price: int = 1_000_000, output_price: int = 1_000_000) -> PriceVersion:
        """A recorded price, in nano-USD per million tokens: by default one nano-dollar a token."""
        return PriceVersion.from_row(do_record_price({"input": input_price, "output": output_price}))

    def commit(self, *items: Item) -> list[Outcome]:
        """Run the items in one transaction on a connection of their own."""
        store = open_store()
        try:
            return commit_now(store, items)
        finally:
            store.close()

    def wallet(self, wallet_id: int) -> dict[str, int]:
        """The wallet's five figures in nano-USD."""
        names = ("available", "held", "paid", "promo", "debt")
        row = Wallet.objects.values_list(*(f"{name}_nano" for name in names)).get(pk=wallet_id)
        return dict(zip(names, row, strict=True))

    def hold_state(self, request_id: str) -> str:
        """The state of a hold that exists."""
        return Hold.objects.values_list("state", flat=True).get(pk=request_id)

    def execute(self, query: str, params: Any = ()) -> None:
        """Raw SQL past every rule of the ledger."""
        with connection.cursor() as cursor:
            cursor.execute(query, params)

    def clean(self) -> None:
        """Remove every row and close what the test left open."""
        while self._stores:
            self._stores.pop().close()
        with transaction.atomic():
            for table in TABLES:
                self.execute(f"DELETE FROM {table}")


def place(tenant: Tenant, ceiling: int, minimum: int | None = None, **changes: Any) -> Place:
    """A placing of a new request; it needs its whole ceiling unless told otherwise."""
    fields: dict[str, Any] = {
        "request_id": new_name("gen"),
        "wallet_id": tenant.wallet_id,
        "key_id": tenant.key_id,
        "key_epoch": 0,
        "organization_epoch": 0,
        "ceiling": ceiling,
        "minimum": ceiling if minimum is None else minimum,
        "is_byte_bound": False,
        "price_ids": [1],
        "process_id": ALIVE,
        "lifetime_s": 600,
    }
    return Place(**{**fields, **changes})


def settle(tenant: Tenant, request_id: str, price: PriceVersion, output: int, held: int = 0, **row: Any) -> Settle:
    """A settlement of a call that made so many output tokens."""
    usage = Usage(output=output)
    charge = price.charge(usage)
    fields: dict[str, Any] = {
        "created_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),  # noqa: TID251
        "request_id": request_id,
        "client_request_id": "",
        "organization_id": tenant.wallet_id,
        "key_id": tenant.key_id,
        "member_id": None,
        "end_user": "",
        "tags": [],
        "app_url": "",
        "app_title": "",
        "endpoint": "chat.completions",
        "requested_model": "vendor/model",
        "model": "vendor/model",
        "provider": "provider",
        "streamed": False,
        "outcome": "completed",
        "usage_source": "provider",
        "usage": usage.buckets(),
        "price_id": price.id,
        "cost_nano": charge.cost,
        "fee_nano": charge.fee,
        "charge_nano": charge.charge,
        "savings_nano": 0,
        "first_content_ms": None,
        "duration_ms": 1,
        "detail": {},
    }
    return Settle(
        request_id=request_id,
        wallet_id=tenant.wallet_id,
        held=held,
        cost=charge.cost,
        fee=charge.fee,
        price_ids=[price.id],
        process_id=ALIVE,
        usage_row={**fields, **row},
    )


def payment_row(tenant: Tenant, number: int) -> dict[str, Any]:
    """What a payment provider's payment of $5.00 looks like to the ledger; the order is not there, which it allows."""
    return {
        "id": f"pi_{tenant.wallet_id}_{number}",
        "order_id": f"top-{tenant.wallet_id}-{number}",
        "wallet_id": tenant.wallet_id,
        "credit_cents": 500,
        "fee_cents": 25,
        "tax_cents": 0,
        "total_cents": 525,
        "currency": "usd",
        "livemode": False,
        "charge_id": "ch_1",
    }


def is_deferred(outcome: object) -> bool:
    """Whether the item must be tried again in another batch."""
    return isinstance(outcome, Deferred)


@contextmanager
def django_uses(url: str) -> Iterator[None]:
    """Make the database at `url` Django's default one, in this thread and those that start meanwhile."""
    before, before_settings = connections["default"], connections.settings["default"]
    described = {"default": env.database(url, settings.DATA_DIR)}
    connections.settings["default"] = connections.configure_settings(described)["default"]
    connections["default"] = connections.create_connection("default")
    try:
        yield
    finally:
        connections["default"].close()
        connections.settings["default"] = before_settings
        connections["default"] = before


def migrate(url: str) -> str:
    """Make the tables in the empty database at `url`; returns the URL."""
    with django_uses(url):
        call_command("migrate", verbosity=0)
    return url
