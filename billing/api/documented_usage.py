"""What the OpenAPI document says of usage and credits; the shapes of others are theirs, amounts are exact."""

from typing import Any

from accounts.api.documented import (
    COUNT,
    FLAG,
    MOMENT,
    NANO,
    READ,
    READ_ONE,
    TEXT,
    USD,
    JsonSchema,
    answer,
    errors,
    listing,
    money,
    nullable,
    ref,
    thing,
)
from billing.api.documented import operation

ROW: JsonSchema = thing(
    {
        "id": TEXT,
        "object": {"type": "string", "const": "usage"},
        "created_at": MOMENT,
        "key_id": nullable(COUNT),
        "user": TEXT,
        "tags": {"type": "array", "items": TEXT},
        "endpoint": TEXT,
        "requested_model": TEXT,
        "model": TEXT,
        "provider": TEXT,
        "streamed": FLAG,
        "outcome": {**TEXT, "description": "a row of the charging policy"},
        "usage": {
            "type": "object",
            "additionalProperties": COUNT,
            "description": "units by bucket; each in one bucket only",
        },
        "usage_source": {"type": "string", "enum": ["provider", "estimated", "absent"]},
        **money("cost", "provider_cost", "fee", "savings"),
        "first_content_ms": nullable(COUNT),
        "duration_ms": COUNT,
    }
)
GENERATION: JsonSchema = thing(
    {
        "id": TEXT,
        "upstream_id": nullable(TEXT),
        "created_at": MOMENT,
        "model": TEXT,
        "provider_name": TEXT,
        "api_type": TEXT,
        "streamed": FLAG,
        "cancelled": FLAG,
        "finish_reason": nullable(TEXT),
        "origin": TEXT,
        "app_id": nullable(COUNT),
        "external_user": nullable(TEXT),
        "is_byok": FLAG,
        "total_cost": USD,
        "usage": USD,
        "upstream_inference_cost": USD,
        "cache_discount": nullable(USD),
        "latency": {**nullable(COUNT), "description": "milliseconds to the first content"},
        "generation_time": {**COUNT, "description": "milliseconds in all"},
        **dict.fromkeys(
            (
                *("tokens_prompt", "tokens_completion", "native_tokens_prompt", "native_tokens_completion"),
                *("native_tokens_reasoning", "native_tokens_cached", "num_search_results"),
            ),
            COUNT,
        ),
        "x_komilion": thing(
            {
                **ROW["properties"],
                "app_title": TEXT,
                "client_request_id": TEXT,
                "attempts": {"type": "array", "items": {"type": "object"}},
                "adjusted": {"type": "array", "items": {"type": "object"}},
            }
        ),
    }
)
CREDITS: JsonSchema = thing(
    {
        "total_credits": USD,
        "total_credits_nano_usd": NANO,
        "total_usage": USD,
        "total_usage_nano_usd": NANO,
    }
)
CURRENT_KEY: JsonSchema = thing(
    {
        "label": TEXT,
        "limit": {**nullable(USD), "description": "the cap with least left; null without caps"},
        "limit_remaining": nullable(USD),
        "limit_reset": {"type": ["string", "null"], "enum": ["daily", "monthly", None]},
        **dict.fromkeys(("usage", "usage_daily", "usage_weekly", "usage_monthly"), USD),
        **dict.fromkeys(("byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly"), USD),
        "include_byok_in_limit": FLAG,
        "is_free_tier": FLAG,
        "is_management_key": FLAG,
        "is_provisioning_key": FLAG,
        "creator_user_id": nullable(TEXT),
        "expires_at": nullable(MOMENT),
        "rate_limit": thing({"requests": COUNT, "interval": TEXT, "note": TEXT}),
    }
)
KEY_INFO: JsonSchema = thing(
    {
        "token": TEXT,
        "key_name": TEXT,
        "key_alias": TEXT,
        "spend": USD,
        "max_budget": nullable(USD),
        "budget_duration": nullable(TEXT),
        "budget_reset_at": nullable(MOMENT),
        "expires": nullable(MOMENT),
        "models": {"type": "array", "items": TEXT, "description": "empty: every model; `no-default-models`: none"},
        "user_id": TEXT,
        "team_id": nullable(TEXT),
        "rpm_limit": nullable(COUNT),
        "tpm_limit": nullable(COUNT),
        "max_parallel_requests": nullable(COUNT),
        "blocked": FLAG,
        "created_at": MOMENT,
        "metadata": {"type": "object"},
    }
)
TAG_SPEND: JsonSchema = thing({"individual_request_tag": TEXT, "log_count": COUNT, "total_spend": USD})

COMPONENTS = {
    "UsageRow": ROW,
    "Credits": CREDITS,
    "CurrentKey": CURRENT_KEY,
    "KeyInfo": KEY_INFO,
    "TagSpend": TAG_SPEND,
}

ROW_EXAMPLE: dict[str, Any] = {
    "id": "gen-019530000000aabbccddeeff001122",
    "object": "usage",
    "created_at": "2026-03-01T09:00:00Z",
    "key_id": 7,
    "user": "customer-7",
    "tags": ["checkout"],
    "endpoint": "chat.completions",
    "requested_model": "openai/gpt-4.1-mini",
    "model": "openai/gpt-4.1-mini",
    "provider": "openai",
    "streamed": False,
    "outcome": "completed",
    "usage": {"input": 9, "output": 3},
    "usage_source": "provider",
    "cost_usd": 0.0000105,
    "cost_nano_usd": 10_500,
    "provider_cost_usd": 0.0000084,
    "provider_cost_nano_usd": 8_400,
    "fee_usd": 0.0000021,
    "fee_nano_usd": 2_100,
    "savings_usd": 0,
    "savings_nano_usd": 0,
    "first_content_ms": 180,
    "duration_ms": 420,
}
GENERATION_EXAMPLE: dict[str, Any] = {
    "id": ROW_EXAMPLE["id"],
    "upstream_id": None,
    "created_at": "2026-03-01T09:00:00Z",
    "model": "openai/gpt-4.1-mini",
    "provider_name": "openai",
    "api_type": "completions",
    "streamed": False,
    "cancelled": False,
    "finish_reason": None,
    "origin": "",
    "app_id": None,
    "external_user": "customer-7",
    "is_byok": False,
    "total_cost": 0.0000105,
    "usage": 0.0000105,
    "upstream_inference_cost": 0.0000084,
    "cache_discount": None,
    "latency": 180,
    "generation_time": 420,
    "tokens_prompt": 9,
    "tokens_completion": 3,
    "native_tokens_prompt": 9,
    "native_tokens_completion": 3,
    "native_tokens_reasoning": 0,
    "native_tokens_cached": 0,
    "num_search_results": 0,
    "x_komilion": {**ROW_EXAMPLE, "app_title": "", "client_request_id": "", "attempts": [], "adjusted": []},
}
KEY_INFO_EXAMPLE: dict[str, Any] = {
    "token": "7",
    "key_name": "ck_Ab12...wxyz",
    "key_alias": "batch job",
    "spend": 0.25,
    "max_budget": 1.0,
    "budget_duration": "1d",
    "budget_reset_at": "2026-03-02T00:00:00Z",
    "expires": None,
    "models": [],
    "user_id": "alice@example.com",
    "team_id": None,
    "rpm_limit": 60,
    "tpm_limit": None,
    "max_parallel_requests": None,
    "blocked": False,
    "created_at": "2026-03-01T09:00:00Z",
    "metadata": {},
}
CURRENT_KEY_EXAMPLE: dict[str, Any] = {
    "label": "ck_Ab12...wxyz",
    "limit": 1.0,
    "limit_remaining": 0.75,
    "limit_reset": "daily",
    **dict.fromkeys(("usage", "usage_daily", "usage_weekly", "usage_monthly"), 0.25),
    **dict.fromkeys(("byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly"), 0),
    "include_byok_in_limit": False,
    "is_free_tier": False,
    "is_management_key": False,
    "is_provisioning_key": False,
    "creator_user_id": None,
    "expires_at": None,
    "rate_limit": {"requests": 120, "interval": "1m", "note": "a minute, over the organization"},
}

LIST_USAGE = operation(
    "list_usage",
    "usage",
    "List requests",
    "The newest first. A key without `manage` sees its own requests. Pages do not shift when requests come in.",
    {
        200: answer(listing(ref("UsageRow")), "A page of requests.", {"data": [ROW_EXAMPLE], "next_cursor": None}),
        **errors(*READ_ONE),
    },
)
READ_CREDITS = operation(
    "read_credits",
    "wallet",
    "Credits, as OpenRouter says it",
    "`total_credits - total_usage` is what the wallet holds, less its debt.",
    {
        200: answer(
            thing({"data": ref("Credits")}),
            "The credits of the organization.",
            {
                "data": {
                    "total_credits": 10.0,
                    "total_credits_nano_usd": 10_000_000_000,
                    "total_usage": 0.25,
                    "total_usage_nano_usd": 250_000_000,
                }
            },
        ),
        **errors(*READ_ONE),
    },
)
READ_CURRENT_KEY = operation(
    "read_current_key",
    "keys",
    "The key that asks, as OpenRouter says it",
    "Its spending by UTC day, week and month, and the cap with least left.",
    {
        200: answer(thing({"data": ref("CurrentKey")}), "The key that asks.", {"data": CURRENT_KEY_EXAMPLE}),
        **errors(*READ),
    },
)
READ_KEY_INFO = operation(
    "read_key_info",
    "keys",
    "A key, as LiteLLM says it",
    "The key that asks; with `key` (an id) another one, for who may manage keys.",
    {
        200: answer(
            thing({"key": TEXT, "info": ref("KeyInfo")}),
            "The key.",
            {"key": "ck_Ab12...wxyz", "info": KEY_INFO_EXAMPLE},
        ),
        **errors(*READ_ONE, dialect="OpenAIError"),
    },
)
LIST_SPEND_BY_KEY = operation(
    "list_spend_by_key",
    "usage",
    "Spending by key, as LiteLLM says it",
    "The newest thousand keys, dearest first; a key without `manage` sees itself.",
    {
        200: answer({"type": "array", "items": ref("KeyInfo")}, "The keys.", [KEY_INFO_EXAMPLE]),
        **errors(*READ, dialect="OpenAIError"),
    },
)
LIST_SPEND_BY_TAG = operation(
    "list_spend_by_tag",
    "usage",
    "Spending by tag, as LiteLLM says it",
    "Dearest first; a request with two tags counts for both. A key needs `manage` for it.",
    {
        200: answer(
            {"type": "array", "items": ref("TagSpend")},
            "The tags.",
            [{"individual_request_tag": "checkout", "log_count": 6, "total_spend": 0.000672}],
        ),
        **errors(*READ, dialect="OpenAIError"),
    },
)
