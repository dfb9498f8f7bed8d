"""Settled calls of any time and kind for the tests of usage, and what they add up to when Python does it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from billing.ledger.items import Settle
from billing.models import UsageRow
from billing.usage_sums import Sums, Window
from tests.billing.ledger_database import LedgerDatabase, Tenant, new_name, settle

ERRORS = {"provider_failed", "provider_cut", "server_stopped"}


def at(moment: datetime) -> str:
    """A time as the gateway writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


@dataclass
class Calls:
    """Puts calls of one tenant into the ledger."""

    ledger: LedgerDatabase
    tenant: Tenant

    def item(self, moment: datetime, output: int = 10, **row: Any) -> Settle:
        """A settlement that is not committed yet."""
        request_id = row.pop("request_id", None) or new_name("gen")
        return settle(self.tenant, request_id, self.ledger.price(), output, created_at=at(moment), **row)

    def add(self, moment: datetime, output: int = 10, **row: Any) -> str:
        """A call that came in then and is settled now; returns its request id."""
        item = self.item(moment, output, **row)
        self.ledger.commit(item)
        return item.request_id


def expected(rows: Iterable[UsageRow]) -> tuple[int, ...]:
    """The plain sums of these rows, in the order of the fields of `Sums` up to `first_contents`."""
    total = [0] * 12
    for row in rows:
        usage = row.usage
        values = (
            1,
            int(row.outcome in ERRORS),
            sum(usage.get(name, 0) for name in ("input", "cache_read", "cache_write", "cache_write_1h", "input_audio")),
            usage.get("cache_read", 0),
            usage.get("output", 0) + usage.get("output_audio", 0),
            *(row.cost_nano, row.fee_nano, row.charge_nano, row.savings_nano, row.duration_ms),
            row.first_content_ms or 0,
            int(row.first_content_ms is not None),
        )
        total = [before + value for before, value in zip(total, values, strict=True)]
    return tuple(total)


def plain(sums: Sums) -> tuple[int, ...]:
    """The same fields of sums that the database made."""
    return (
        *(sums.requests, sums.errors, sums.input_tokens, sums.cached_tokens, sums.output_tokens),
        *(sums.cost_nano, sums.fee_nano, sums.charge_nano, sums.savings_nano),
        *(sums.duration_ms, sums.first_content_ms, sums.first_contents),
    )


def in_window(tenant: Tenant, window: Window, keep: Callable[[UsageRow], bool] = lambda row: True) -> list[UsageRow]:
    """The tenant's rows of a window, chosen by Python."""
    rows = UsageRow.objects.filter(organization_id=tenant.wallet_id)
    return [row for row in rows if window.start <= row.created_at < window.end and keep(row)]
