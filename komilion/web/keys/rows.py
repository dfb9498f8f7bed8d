"""What a page shows of a key: its state, its spending, its caps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from django.conf import settings
from django.utils import timezone

from accounts.key_queries import state_of
from accounts.models import ApiKey
from billing.key_usage import caps_in_order, last_quarters, spent_this_month
from billing.queries import CapStatus
from komilion.common.refusals import Refusal, last_refusals, of_cap

BADGES = {"active": "good", "expired": "warn", "revoked": "quiet"}
FULL = 1_000  # of a meter


@dataclass(frozen=True, slots=True)
class CapMeter:
    """How far one cap is used; `used` of `FULL`."""

    period: str
    limit_nano: int
    used_nano: int
    needed_nano: int = 0  # by the last call that it refused

    @property
    def used(self) -> int:
        """In thousandths, at most all of it."""
        return FULL if self.limit_nano == 0 else min(FULL, self.used_nano * FULL // self.limit_nano)

    @property
    def is_reached(self) -> bool:
        """Whether nothing is left."""
        return self.used_nano >= self.limit_nano

    @property
    def is_too_small(self) -> bool:
        """Whether something is left, and still less than the last call that it refused needed."""
        return not self.is_reached and self.limit_nano - self.used_nano < self.needed_nano


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One line of the list."""

    key: ApiKey
    state: str
    badge: str
    caps: list[CapMeter]
    spent_nano: int  # this month (UTC)
    last_used_on: date | None  # in the viewer's zone


def row_of(organization_id: int, key: ApiKey) -> KeyRow:
    """The row of one key."""
    return rows_of(organization_id, [key])[0]


def rows_of(organization_id: int, keys: Sequence[ApiKey]) -> list[KeyRow]:
    """The rows of these keys, in their order, with a fixed number of queries."""
    ids = [key.pk for key in keys]
    caps = caps_in_order(organization_id, ids)
    spent = spent_this_month(organization_id)
    used = {key_id: timezone.localdate(at) for key_id, at in last_quarters(organization_id, ids).items()}
    names = [of_cap(key_id, period) for key_id, of_key in caps.items() for period in of_key]
    refused = last_refusals(names, settings.REDIS_URL)
    return [
        KeyRow(
            key=key,
            state=state_of(key),
            badge=BADGES[state_of(key)],
            caps=_meters(key.pk, caps.get(key.pk, {}), refused),
            spent_nano=spent.get(key.pk, 0),
            last_used_on=used.get(key.pk),
        )
        for key in keys
    ]


def _meters(key_id: int, caps: Mapping[str, CapStatus], refused: Mapping[str, Refusal]) -> list[CapMeter]:
    needed = {period: refused[name].needed_nano for period in caps if (name := of_cap(key_id, period)) in refused}
    return [
        CapMeter(period, cap.limit_nano, cap.spent_nano + cap.reserved_nano, needed.get(period, 0))
        for period, cap in caps.items()
    ]
