"""`POST /api/compare` in the OpenAPI document, beside the gateway's other endpoints."""

from typing import Any

from accounts.api.documented import COUNT, FLAG, NANO, TEXT, USD, JsonSchema, nullable, ref
from komilion.web.rest.inference import (
    CHAT_ERRORS,
    CHAT_REQUEST,
    COMPLETION_EXAMPLE,
    KEY_ONLY,
    REQUEST_EXAMPLE,
    TOKENS,
    content,
    errors,
)

COMPARE_REQUEST: JsonSchema = {
    "type": "object",
    "required": ["models", "messages"],
    "properties": {
        "models": {
            "type": "array",
            "minItems": 2,
            "maxItems": 6,
            "items": {"type": "string", "minLength": 1, "maxLength": 200},
            "description": "ids from `GET /v1/models`, or policies",
        },
        **{name: schema for name, schema in CHAT_REQUEST["properties"].items() if name not in {"model", "stream"}},
        "stream": {**FLAG, "default": True},
    },
}
COMPARED: JsonSchema = {
    "type": "object",
    "required": [
        "index",
        "model",
        "answered_by",
        "request_id",
        "begun",
        "cost_usd",
        "cost_nano_usd",
        "duration_ms",
        "error",
    ],
    "properties": {
        "index": COUNT,
        "model": {"type": "string", "description": "the id that was asked for"},
        "answered_by": nullable(TEXT),
        "request_id": {"type": "string", "description": "of this call, for `GET /api/generation`"},
        "begun": {**FLAG, "description": "whether anything was held for it, so that it can be read"},
        "cost_usd": USD,
        "cost_nano_usd": NANO,
        "duration_ms": COUNT,
        "first_content_ms": nullable(COUNT),
        "tokens_per_s": {"type": ["number", "null"]},
        "usage": {"anyOf": [TOKENS, {"type": "null"}]},
        "error": {"type": ["object", "null"]},
        "text": nullable(TEXT),
        "answer": {"anyOf": [ref("ChatCompletion"), {"type": "null"}]},
    },
}
COMPARISON: JsonSchema = {
    "type": "object",
    "required": ["object", "results", "diff"],
    "properties": {
        "object": {"const": "compare", "type": "string"},
        "results": {"type": "array", "items": COMPARED},
        "diff": {"type": "object", "description": "`answers`: their lengths; `pairs`: how alike each two are, 0 to 1"},
    },
}

COMPARE_SCHEMAS: dict[str, JsonSchema] = {"CompareRequest": COMPARE_REQUEST, "Comparison": COMPARISON}

COMPARE_EXAMPLE = {
    "models": ["openai/gpt-4.1-mini", "openai/gpt-4.1"],
    "messages": REQUEST_EXAMPLE["messages"],
    "stream": False,
}
COMPARISON_EXAMPLE = {
    "object": "compare",
    "results": [
        {
            "index": 0,
            "model": "openai/gpt-4.1-mini",
            "answered_by": "openai/gpt-4.1-mini",
            "request_id": COMPLETION_EXAMPLE["id"],
            "begun": True,
            "cost_usd": 0.0000105,
            "cost_nano_usd": 10_500,
            "duration_ms": 412,
            "first_content_ms": None,
            "tokens_per_s": 7.3,
            "usage": COMPLETION_EXAMPLE["usage"],
            "error": None,
            "text": "Hello!",
            "answer": COMPLETION_EXAMPLE,
        }
    ],
    "diff": {"answers": [{"index": 0, "characters": 6, "words_compared": 2}], "pairs": []},
}
COMPARE_PATHS: dict[str, Any] = {
    "/api/compare": {
        "post": {
            "operationId": "compare_models",
            "tags": ["inference"],
            "summary": "Compare models",
            "description": "Asks two to six models at once; each is a call of its own with its own bill. Streamed"
            " unless `stream` is false: each event has `index` and `model`, the last is the summary. The status is an"
            " error only where all calls were refused for the same reason.",
            "security": KEY_ONLY,
            "requestBody": {"required": True, "content": content(ref("CompareRequest"), COMPARE_EXAMPLE)},
            "responses": {
                "200": {
                    "description": "All answers; streamed, their chunks as events, then the summary and `[DONE]`.",
                    "content": {
                        **content(ref("Comparison"), COMPARISON_EXAMPLE),
                        "text/event-stream": {"schema": TEXT},
                    },
                },
                **errors("Error", *CHAT_ERRORS),
            },
        }
    },
}
