"""`/api/v1/credits` and `/api/v1/key`: OpenRouter's shapes, so that its clients and widgets work here."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import Api
from accounts.api.json import usd
from accounts.key_queries import limits_of
from accounts.models import ApiKey, Tier
from billing.api import documented_usage as documented
from billing.api.keys import moment
from billing.key_usage import caps_in_order, owned_nano, spent_by_key, used_ever
from billing.queries import CapStatus
from komilion.common.errors import BadRequest

RESETS = {"day": "daily", "month": "monthly", "total": None}


class CreditsView(Api):
    """What was bought and used."""

    @extend_schema(**documented.READ_CREDITS)
    def get(self, request: Request) -> Response:
        """Of the organization, over all time."""
        used = used_ever(self.asker.organization_id).charge_nano
        had = owned_nano(self.asker.organization_id) + used
        data = {
            "total_credits": usd(had),
            "total_credits_nano_usd": had,
            "total_usage": usd(used),
            "total_usage_nano_usd": used,
        }
        return Response({"data": data})


class CurrentKeyView(Api):
    """The key that asks."""

    @extend_schema(**documented.READ_CURRENT_KEY)
    def get(self, request: Request) -> Response:
        """Its spending and what is left of its caps."""
        key = self.asker.key
        if key is None:
            raise BadRequest("This describes the API key that asks, and a session has none; see /api/auth.")
        return Response({"data": self._describe(key)})

    def _describe(self, key: ApiKey) -> dict[str, Any]:
        today, week, month, ever = spent_by_key(key.organization_id, key.pk)
        caps = caps_in_order(key.organization_id, [key.pk]).get(key.pk, {})
        period = tightest(caps)
        requests = key.limits.get("requests_per_minute", limits_of(key.organization_id).requests_per_minute)
        return {
            "label": key.hint,
            "limit": None if period is None else usd(caps[period].limit_nano),
            "limit_remaining": None if period is None else usd(left_of(caps[period])),
            "limit_reset": None if period is None else RESETS[period],
            "usage": usd(ever.charge_nano),
            "usage_daily": usd(today.charge_nano),
            "usage_weekly": usd(week.charge_nano),
            "usage_monthly": usd(month.charge_nano),
            **dict.fromkeys(("byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly"), 0),
            "include_byok_in_limit": False,
            "is_free_tier": self.asker.tier == Tier.FREE,
            "is_management_key": self.asker.may_manage,
            "is_provisioning_key": self.asker.may_manage,
            "creator_user_id": None,
            "expires_at": moment(key.expires_at),
            "rate_limit": {"requests": requests, "interval": "1m", "note": "a minute; see X-RateLimit headers"},
        }


def left_of(cap: CapStatus) -> int:
    """Nano-USD that the cap leaves to new calls."""
    return max(0, cap.limit_nano - cap.spent_nano - cap.reserved_nano)


def tightest(caps: dict[str, CapStatus]) -> str | None:
    """The period of the cap with least left; None without caps."""
    return min(caps, key=lambda period: left_of(caps[period]), default=None)
