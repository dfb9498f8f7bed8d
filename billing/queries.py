"""Reads of money for pages, commands and APIs; tenants come in by organization only."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from django.db.models import Q, QuerySet

from billing.cap_periods import current_start, resets_on
from billing.ledger.items import Claim, Claimed
from billing.models import Cap, CapUse, IdempotentCall, PromoLot, Wallet
from komilion.common.clock import utc_now
from komilion.common.money import format_usd


def wallet_summary(organization_id: int) -> dict[str, str]:
    """`{"available", "held", "paid", "promo", "debt"}` in US dollars; paid + promo = available + held."""
    wallet = Wallet.objects.get(organization_id=organization_id)
    return {
        "available": format_usd(wallet.available_nano),
        "held": format_usd(wallet.held_nano),
        "paid": format_usd(wallet.paid_nano),
        "promo": format_usd(wallet.promo_nano),
        "debt": format_usd(wallet.debt_nano),
    }


def available_nano(organization_id: int) -> int | None:
    """What new calls may use now; None where there is no wallet."""
    return Wallet.objects.filter(organization_id=organization_id).values_list("available_nano", flat=True).first()


@dataclass(frozen=True, slots=True)
class CapStatus:
    """A cap in the running period; `reserved_nano` is held by running calls, `resets_at` None for a total."""

    limit_nano: int
    spent_nano: int
    reserved_nano: int
    resets_at: datetime | None


def caps_of_keys(organization_id: int, key_ids: Collection[int]) -> dict[int, dict[str, CapStatus]]:
    """The caps of these keys by key and period (`day`, `month`, `total`); a key without any is not there."""
    return _caps(Cap.objects.filter(wallet_id=organization_id, kind=Cap.Kind.KEY, subject_id__in=key_ids))


def caps_of_any(key_ids: Collection[int]) -> dict[int, dict[str, CapStatus]]:
    """The same of keys of several organizations, for jobs that look at all of them."""
    return _caps(Cap.objects.filter(kind=Cap.Kind.KEY, subject_id__in=key_ids))


def _caps(caps: QuerySet[Cap]) -> dict[int, dict[str, CapStatus]]:
    today = utc_now().date()
    rows = caps.order_by("pk")
    starts = {cap.pk: current_start(cap.period, today) for cap in rows}
    uses = {
        (use.cap_id, use.starts_on): use
        for use in CapUse.objects.filter(cap_id__in=starts, starts_on__in=set(starts.values()))
    }
    found: dict[int, dict[str, CapStatus]] = {}
    for cap in rows:
        found.setdefault(cap.subject_id, {})[cap.period] = _status(cap, starts[cap.pk], uses)
    return found


def _status(cap: Cap, start: date, uses: Mapping[tuple[int, date], CapUse]) -> CapStatus:
    use = uses.get((cap.pk, start)) or CapUse(reserved_nano=0, spent_nano=0)
    ends = resets_on(cap.period, start)
    return CapStatus(
        limit_nano=cap.limit_nano,
        spent_nano=use.spent_nano,
        reserved_nano=use.reserved_nano,
        resets_at=None if ends is None else datetime.combine(ends, time(), UTC),
    )


def is_granted(organization_id: int, reference: str) -> bool:
    """Whether the promo credit of this reference ever came into the organization's wallet."""
    return PromoLot.objects.filter(wallet_id=organization_id, reference=reference).exists()


def idempotent_call(claim: Claim) -> Claimed | None:
    """The call that has this Idempotency-Key, without its answer."""
    calls = IdempotentCall.objects.filter(key_id=claim.key_id, path=claim.path, idempotency_key=claim.key)
    row = calls.annotate(is_kept=~Q(answer="")).values_list("request_id", "body_hmac", "is_finished", "is_kept").first()
    return None if row is None else Claimed(*row)


def idempotent_answer(key_id: int, request_id: str) -> str:
    """The answer of a finished call of that key, encrypted; empty where none is kept, or not any more."""
    calls = IdempotentCall.objects.filter(key_id=key_id, request_id=request_id)
    return calls.values_list("answer", flat=True).first() or ""
