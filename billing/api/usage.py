"""`/api/usage`: what was called, request by request, and how one request is shown."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, override

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.access import Asker
from accounts.api.base import Api
from accounts.api.json import amount, usd
from accounts.key_queries import key_names
from billing.api import documented_usage as documented
from billing.api.fields import PageQuery, RowIdField
from billing.api.keys import moment
from billing.key_usage import BEFORE_ALL
from billing.models import UsageRow
from billing.usage_queries import UsageFilter, usage_page
from komilion.common.errors import NotFound
from komilion.common.usage import Usage

END_OF_TIME = datetime(2100, 1, 1, tzinfo=UTC)


class MomentField(serializers.DateTimeField):
    """A moment in this century, ISO 8601; without a zone it is UTC."""

    def __init__(self, **options: Any) -> None:
        super().__init__(default_timezone=UTC, **options)

    @override
    def to_internal_value(self, value: Any) -> datetime:
        """Aware. Raises `ValidationError`."""
        found = super().to_internal_value(value)
        if not BEFORE_ALL <= found <= END_OF_TIME:
            raise serializers.ValidationError("Choose a moment between 2020 and 2100.")
        return found


class UsageQuery(PageQuery):
    """Which requests; all that is given must match."""

    key = RowIdField(required=False, help_text="id of an API key")
    model = serializers.CharField(required=False, max_length=200, help_text="the model that answered")
    user = serializers.CharField(required=False, max_length=512, help_text="your end user, as the request named it")
    tag = serializers.CharField(required=False, max_length=128, help_text="one of the request's tags")
    to = MomentField(required=False, help_text="came in before this moment")

    @override
    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """`from` is no name in Python, so it comes here."""
        since = MomentField(required=False, help_text="came in at this moment or after it; without it, from the first")
        return {**super().get_fields(), "from": since}


class UsageView(Api):
    """Requests, the newest first."""

    query: ClassVar[Mapping[str, type[serializers.Serializer[Any]]]] = {"GET": UsageQuery}

    @extend_schema(**documented.LIST_USAGE, parameters=[UsageQuery])
    def get(self, request: Request) -> Response:
        """A page of them."""
        asked = self.parameters
        filters = UsageFilter(
            key_id=readable_key(self.asker, asked.get("key")),
            model=asked.get("model"),
            tag=asked.get("tag"),
            end_user=asked.get("user"),
            start=asked.get("from", BEFORE_ALL),
            end=asked.get("to"),
        )
        page = usage_page(self.asker.organization_id, filters, asked.get("cursor"), asked["limit"])
        return Response({"data": [row_json(row) for row in page.rows], "next_cursor": page.next_cursor})


def readable_key(asker: Asker, key_id: int | None) -> int | None:
    """The key to filter by; a key without `manage` reads nothing but its own usage. Raises `NotFound`."""
    only = asker.only_key_id
    if key_id is None or key_id == only:
        return only
    if only is not None or not key_names(asker.organization_id, [key_id]):
        raise NotFound("There is no such key.", param="key")
    return key_id


def row_json(row: UsageRow) -> dict[str, Any]:
    """A request as `/api/usage` lists it; `cost` is what was charged, fee included."""
    return {
        "id": row.request_id,
        "object": "usage",
        "created_at": moment(row.created_at),
        "key_id": row.key_id,
        "user": row.end_user,
        "tags": row.tags,
        "endpoint": row.endpoint,
        "requested_model": row.requested_model,
        "model": row.model,
        "provider": row.provider,
        "streamed": row.streamed,
        "outcome": row.outcome,
        "usage": row.usage,
        "usage_source": row.usage_source,
        **amount("cost", row.charge_nano),
        **amount("provider_cost", row.cost_nano),
        **amount("fee", row.fee_nano),
        **amount("savings", row.savings_nano),
        "first_content_ms": row.first_content_ms,
        "duration_ms": row.duration_ms,
    }


def generation_json(row: UsageRow) -> dict[str, Any]:
    """A request in OpenRouter's shape, with everything else that is known in `x_komilion`."""
    used = Usage(**{name: units for name, units in row.usage.items() if name in Usage.__struct_fields__})
    return {
        "id": row.request_id,
        "upstream_id": None,
        "created_at": moment(row.created_at),
        "model": row.model,
        "provider_name": row.provider,
        "api_type": "completions",
        "streamed": row.streamed,
        "cancelled": row.outcome == "client_left",
        "finish_reason": None,
        "origin": row.app_url,
        "app_id": None,
        "external_user": row.end_user or None,
        "is_byok": False,
        "total_cost": usd(row.charge_nano),
        "usage": usd(row.charge_nano),
        "upstream_inference_cost": usd(row.cost_nano),
        "cache_discount": None,
        "latency": row.first_content_ms,
        "generation_time": row.duration_ms,
        "tokens_prompt": used.total_input,
        "tokens_completion": used.total_output,
        "native_tokens_prompt": used.total_input,
        "native_tokens_completion": used.total_output,
        "native_tokens_reasoning": used.reasoning,
        "native_tokens_cached": used.cache_read,
        "num_search_results": used.web_searches,
        "x_komilion": {
            **row_json(row),
            "app_title": row.app_title,
            "client_request_id": row.client_request_id,
            "attempts": row.detail.get("attempts", []),
            "adjusted": row.detail.get("adjusted", []),
        },
    }
