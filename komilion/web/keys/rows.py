"""What a page shows of a key: its state, its spending, its caps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from accounts.key_queries import state_of
from accounts.models import ApiKey
from billing.key_usage import caps_in_order, last_days, spent_this_month
from billing.queries import CapStatus

BADGES = {"active": "good", "expired": "warn", "revoked": "quiet"}
FULL = 1_000  # of a meter


@dataclass(frozen=True, slots=True)
class CapMeter:
    """How far one cap is used; `used` of `FULL`."""

    period: str
    limit_nano: int
    used_nano: int

    @property
    def used(self) -> int:
        """In thousandths, at most all of it."""
        return FULL if self.limit_nano == 0 else min(FULL, self.used_nano * FULL // self.limit_nano)

    @property
    def is_reached(self) -> bool:
        """Whether nothing is left."""
        return self.used_nano >= self.limit_nano


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One line of the list."""

    key: ApiKey
    state: str
    badge: str
    caps: list[CapMeter]
    spent_nano: int  # this month (UTC)
    last_used_on: date | None  # UTC


def row_of(organization_id: int, key: ApiKey) -> KeyRow:
    """The row of one key."""
    return rows_of(organization_id, [key])[0]


def rows_of(organization_id: int, keys: Sequence[ApiKey]) -> list[KeyRow]:
    """The rows of these keys, in their order, with a fixed number of queries."""
    ids = [key.pk for key in keys]
    caps = caps_in_order(organization_id, ids)
    spent = spent_this_month(organization_id)
    used = last_days(organization_id, ids)
    return [
        KeyRow(
            key=key,
            state=state_of(key),
            badge=BADGES[state_of(key)],
            caps=_meters(caps.get(key.pk, {})),
            spent_nano=spent.get(key.pk, 0),
            last_used_on=used.get(key.pk),
        )
        for key in keys
    ]


def _meters(caps: Mapping[str, CapStatus]) -> list[CapMeter]:
    return [CapMeter(period, cap.limit_nano, cap.spent_nano + cap.reserved_nano) for period, cap in caps.items()]
