"""One call with everything that the books know about it: its usage row, its hold, its entries, what made its price."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.models import Hold, HoldState, LedgerEntry, Posting, Price, UsageRow
from billing.prices import UNITS_PER_PRICE, PriceVersion, UnpricedUsage
from komilion.common.money import NANO_PER_USD
from komilion.common.usage import Usage

RUNNING_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One bucket of a bill: `units` at `price_nano` per million make `amount_usd`, exact and not yet rounded."""

    bucket: str
    units: int
    price_nano: int
    amount_usd: str


@dataclass(frozen=True, slots=True)
class EntryLine:
    """A ledger entry of the call with what it moved."""

    entry: LedgerEntry
    postings: list[Posting]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """`state` is `running`, `settled`, `voided` or `expired`. `row` is there once it is settled."""

    request_id: str
    state: str
    created_at: datetime
    row: UsageRow | None
    hold: Hold | None
    entries: list[EntryLine]
    lines: list[PriceLine]  # empty where the price version is gone or has no figure for a bucket
    fee_basis_points: int


def call_record(organization_id: int, request_id: str) -> CallRecord | None:
    """The call with this id; None where the organization has none."""
    row = UsageRow.objects.filter(request_id=request_id, organization_id=organization_id).first()
    hold = Hold.objects.filter(pk=request_id, wallet_id=organization_id).first()
    if row is not None:
        state, created_at = "settled", row.created_at
    elif hold is not None:
        state, created_at = "running" if hold.state == HoldState.OPEN else hold.state, hold.created_at
    else:
        return None
    price = None if row is None else Price.objects.filter(pk=row.price_id).first()
    return CallRecord(
        request_id=request_id,
        state=state,
        created_at=created_at,
        row=row,
        hold=hold,
        entries=_entries(organization_id, request_id),
        lines=[] if row is None or price is None else price_lines(PriceVersion.from_row(price), row.usage),
        fee_basis_points=0 if price is None else price.fee_basis_points,
    )


def _entries(organization_id: int, request_id: str) -> list[EntryLine]:
    entries = LedgerEntry.objects.filter(reference=request_id, wallet_id=organization_id)
    entries = entries.prefetch_related("postings").order_by("pk")
    return [EntryLine(entry, sorted(entry.postings.all(), key=lambda posting: posting.pk)) for entry in entries]


def price_lines(price: PriceVersion, usage: dict[str, int]) -> list[PriceLine]:
    """A usage row's buckets, each at its price; none where the price cannot say."""
    try:
        lines = price.lines(Usage(**usage))
    except (UnpricedUsage, TypeError):
        return []
    return [PriceLine(bucket, units, each, _exact_usd(units * each)) for bucket, units, each in lines]


def running_holds(organization_id: int) -> list[Hold]:
    """Calls that are not settled yet, the newest first, at most `RUNNING_SHOWN`."""
    holds = Hold.objects.filter(state=HoldState.OPEN, wallet_id=organization_id)
    return list(holds.order_by("-created_at")[:RUNNING_SHOWN])


def _exact_usd(product: int) -> str:
    """Units x nano-USD per million units as US dollars, every digit of it."""
    amount = Decimal(product) / (UNITS_PER_PRICE * NANO_PER_USD)
    text = f"{amount:f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"
