"""`/key/info`, `/spend/keys` and `/spend/tags`: LiteLLM's shapes, for its clients and dashboards."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import access_key
from accounts.api.base import Api
from accounts.api.json import usd
from accounts.key_queries import keys_page, state_of
from accounts.models import ApiKey
from billing.api import documented_usage as documented
from billing.api.credits import tightest
from billing.api.fields import RowIdField
from billing.api.keys import moment
from billing.key_usage import BEFORE_ALL, caps_in_order, spent_by_key
from billing.queries import CapStatus
from billing.usage_queries import spend_by_key, spend_by_tag
from komilion.common.clock import utc_now
from komilion.common.errors import BadRequest

KEYS_MOST = 1_000
NO_MODELS = ["no-default-models"]  # LiteLLM's word for none: its clients read an empty list as all
DURATIONS = {"day": "1d", "month": "1mo", "total": None}


class KeyInfoQuery(serializers.Serializer[Any]):
    """Which key."""

    key = RowIdField(required=False, help_text="id of an API key; by default the one that asks")


class TagsQuery(serializers.Serializer[Any]):
    """Which days, both included, UTC."""

    start_date = serializers.DateField(required=False, help_text="without it from the first request")
    end_date = serializers.DateField(required=False, help_text="without it until now")


class KeyInfoView(Api):
    """One key."""

    query: ClassVar[Mapping[str, type[serializers.Serializer[Any]]]] = {"GET": KeyInfoQuery}

    @extend_schema(**documented.READ_KEY_INFO, parameters=[KeyInfoQuery])
    def get(self, request: Request) -> Response:
        """The key that asks, or one that the asker may see."""
        asked = self.parameters.get("key")
        if asked is None and self.asker.key is None:
            raise BadRequest("A session has no key of its own; name one by its id.", param="key")
        if asked is not None and (self.asker.key is None or asked != self.asker.key.pk):
            self.asker.must_see_keys()
        own_id = self.asker.key.pk if self.asker.key is not None else 0
        key = access_key(self.asker, asked or own_id)
        caps = caps_in_order(key.organization_id, [key.pk]).get(key.pk, {})
        spent = spent_by_key(key.organization_id, key.pk)[-1].charge_nano
        return Response({"key": key.hint, "info": info_json(key, caps, spent)})


class SpendByKeyView(Api):
    """What each key has spent."""

    @extend_schema(**documented.LIST_SPEND_BY_KEY)
    def get(self, request: Request) -> Response:
        """Dearest first."""
        keys, _ = keys_page(self.asker, before_id=None, limit=KEYS_MOST)
        caps = caps_in_order(self.asker.organization_id, [key.pk for key in keys])
        rows = spend_by_key(self.asker.organization_id, BEFORE_ALL, utc_now() + timedelta(days=1))
        spent = {row.key_id: row.sums.charge_nano for row in rows}
        keys.sort(key=lambda key: (-spent.get(key.pk, 0), key.pk))
        return Response([info_json(key, caps.get(key.pk, {}), spent.get(key.pk, 0)) for key in keys])


class SpendByTagView(Api):
    """What the requests with each tag have cost."""

    query: ClassVar[Mapping[str, type[serializers.Serializer[Any]]]] = {"GET": TagsQuery}

    @extend_schema(**documented.LIST_SPEND_BY_TAG, parameters=[TagsQuery])
    def get(self, request: Request) -> Response:
        """Dearest first."""
        self.asker.must_see_keys()
        start, end = _days(self.parameters.get("start_date"), self.parameters.get("end_date"))
        rows = spend_by_tag(self.asker.organization_id, start, end) if start < end else []
        return Response(
            [
                {
                    "individual_request_tag": row.tag,
                    "log_count": row.sums.requests,
                    "total_spend": usd(row.sums.charge_nano),
                }
                for row in rows
            ]
        )


def _days(first: date | None, last: date | None) -> tuple[datetime, datetime]:
    """From the start of the first day to the end of the last one, where they are given; UTC."""
    tomorrow = utc_now().date() + timedelta(days=1)
    last = tomorrow if last is None else min(last, tomorrow)
    first = BEFORE_ALL.date() if first is None else max(first, BEFORE_ALL.date())
    return datetime.combine(first, time(), UTC), datetime.combine(last + timedelta(days=1), time(), UTC)


def info_json(key: ApiKey, caps: dict[str, CapStatus], spent_nano: int) -> dict[str, Any]:
    """A key as LiteLLM describes it; the budget is the cap with least left."""
    period = tightest(caps)
    cap = None if period is None else caps[period]
    return {
        "token": str(key.pk),
        "key_name": key.hint,
        "key_alias": key.name,
        "spend": usd(spent_nano),
        "max_budget": None if cap is None else usd(cap.limit_nano),
        "budget_duration": None if period is None else DURATIONS[period],
        "budget_reset_at": None if cap is None else moment(cap.resets_at),
        "expires": moment(key.expires_at),
        "models": [] if key.models_allowed is None else key.models_allowed or NO_MODELS,
        "user_id": key.membership.user.email,
        "team_id": None,
        "rpm_limit": key.limits.get("requests_per_minute"),
        "tpm_limit": key.limits.get("tokens_per_minute"),
        "max_parallel_requests": key.limits.get("parallel"),
        "blocked": state_of(key) != "active",
        "created_at": moment(key.created_at),
        "metadata": {},
    }
