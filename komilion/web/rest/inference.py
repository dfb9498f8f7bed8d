"""The gateway's endpoints in the OpenAPI document. They are no Django views, so they are described by hand.

A test compares the paths with the gateway's endpoint table. Bodies are open: parameters that are not named here are
those of OpenAI's API reference, or dropped and named in `x_komilion.adjusted`.
"""

from typing import Any

from accounts.api.documented import (
    COUNT,
    DOLLARS,
    ERRORS,
    FLAG,
    NANO,
    TEXT,
    USD,
    JsonSchema,
    money,
    nullable,
    ref,
    thing,
)
from routing.selection.words import POLICIES

KEY_ONLY: list[dict[str, list[str]]] = [{"apiKey": []}]
KEY_OR_NOBODY: list[dict[str, list[str]]] = [{"apiKey": []}, {}]


def content(schema: JsonSchema, example: Any, media_type: str = "application/json") -> dict[str, Any]:
    """A body of this kind."""
    return {media_type: {"schema": schema, "example": example}}


def errors(dialect: str, *statuses: int) -> dict[str, Any]:
    """Responses of these statuses, in `Error` or `OpenAIError`."""
    body = {"application/json": {"schema": ref(dialect)}}
    return {str(status): {"description": ERRORS[status], "content": body} for status in statuses}


def _idempotency_key() -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "description": "makes a retry safe: the same request with the same key is charged once and answered alike",
    }


def _model_parameter() -> dict[str, Any]:
    return {
        "name": "model_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": r"^[a-z0-9._-]+/[A-Za-z0-9._:-]+$"},
        "description": "`vendor/name`, the slash raw or as %2F",
        "example": "openai/gpt-4.1-mini",
    }


ROUTING: dict[str, JsonSchema] = {
    "policy": {"type": "string", "enum": list(POLICIES), "description": "for `neo-mode` and `auto`"},
    "taskHint": {
        "type": "string",
        "description": "a task type: a strong prior for the choice of a model, not an order",
    },
    "session_id": {"type": "string", "maxLength": 256, "description": "requests that should stay with one model"},
    "x_komilion": {"type": "object", "properties": {"explain": FLAG}, "description": "`explain`: add the receipt"},
}
MESSAGE: JsonSchema = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"type": "string", "enum": ["system", "developer", "user", "assistant", "tool", "function"]},
        "content": {"description": "a text, or parts of text, pictures, sound and files"},
        "name": TEXT,
    },
}
CHAT_REQUEST: JsonSchema = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string", "description": "an id from `GET /v1/models`; `neo-mode` and `auto` choose one"},
        "models": {"type": "array", "maxItems": 8, "items": TEXT, "description": "models to try after it, in order"},
        "fallbacks": {"type": "array", "maxItems": 8, "items": {}, "description": "the same as LiteLLM names it"},
        "messages": {"type": "array", "minItems": 1, "items": MESSAGE},
        "stream": FLAG,
        "stream_options": {"type": "object", "properties": {"include_usage": FLAG}},
        "max_tokens": {"type": "integer", "minimum": 1},
        "max_completion_tokens": {"type": "integer", "minimum": 1},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "minimum": 0, "maximum": 1},
        "n": {"type": "integer", "minimum": 1, "maximum": 8},
        "stop": {"description": "a text or up to four"},
        "tools": {"type": "array", "items": {"type": "object"}},
        "response_format": {"type": "object"},
        "user": {"type": "string", "description": "your end user, for usage by user"},
        "metadata": {"type": "object", "description": "`tags`: a list of texts, for usage by tag"},
        **ROUTING,
    },
}
TOKENS: JsonSchema = {
    "type": "object",
    "properties": {"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT},
}
CHOICE: JsonSchema = {
    "type": "object",
    "properties": {"index": COUNT, "message": {"type": "object"}, "finish_reason": nullable(TEXT)},
}
COMPLETION: JsonSchema = {
    "type": "object",
    "required": ["id", "object", "model", "choices"],
    "properties": {
        "id": {"type": "string", "description": "the request id, for `GET /api/generation`"},
        "object": {"const": "chat.completion", "type": "string"},
        "created": COUNT,
        "model": TEXT,
        "choices": {"type": "array", "items": CHOICE},
        "usage": TOKENS,
        "x_komilion": {"type": "object", "description": "provider, cost, attempts, and what was adjusted"},
    },
}
FLAT_REQUEST: JsonSchema = {
    "type": "object",
    "required": ["model"],
    "properties": {
        "model": {"type": "string", "description": "an id from `GET /v1/models`; `neo-mode` and `auto` choose one"},
        "message": {"type": "string", "description": "the question; or send `messages`"},
        "messages": {"type": "array", "minItems": 1, "items": MESSAGE},
        "system": {"type": "string", "description": "how it should answer"},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "max_tokens": {"type": "integer", "minimum": 1},
        **ROUTING,
    },
}
FLAT_ANSWER: JsonSchema = {
    "type": "object",
    "required": ["reply", "model", "provider", "cost", "cost_nano_usd", "usage", "id"],
    "properties": {
        "reply": TEXT,
        "model": TEXT,
        "provider": TEXT,
        "cost": USD,
        "cost_nano_usd": NANO,
        "usage": TOKENS,
        "id": {"type": "string", "description": "the request id, for `GET /api/generation`"},
        "adjusted": {"type": "array", "items": {"type": "object"}},
        "receipt": {"type": ["object", "null"], "description": "where `x_komilion.explain` asks for it"},
    },
}
MODEL: JsonSchema = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by", "name", "context_length", "pricing"],
    "properties": {
        "id": TEXT,
        "object": {"const": "model", "type": "string"},
        "created": COUNT,
        "owned_by": TEXT,
        "name": TEXT,
        "context_length": nullable(COUNT),
        "kind": {"type": "string", "description": "`transcription`, `speech` or `realtime`; absent for chat"},
        "architecture": {"type": "object"},
        "supported_parameters": {"type": "array", "items": TEXT},
        "top_provider": {"type": "object"},
        "pricing": {
            "type": "object",
            "additionalProperties": TEXT,
            "description": "US dollars a token, fee included; -1 where the model is chosen for each request",
        },
        "expiration_date": {"type": ["string", "null"], "format": "date", "description": "when it ends"},
        "canonical_slug": TEXT,
        "provider_pricing": {"type": "object", "additionalProperties": TEXT, "description": "without our fee"},
    },
}
ESTIMATE: JsonSchema = thing(
    {
        "object": {"const": "estimate", "type": "string"},
        "requested_model": TEXT,
        "model": {**TEXT, "description": "that would answer"},
        "provider": TEXT,
        "fallbacks": {"type": "array", "items": TEXT, "description": "models that would be asked next"},
        "policy": nullable(TEXT),
        "task_type": nullable(TEXT),
        "rule": {**nullable(TEXT), "description": "why this model; null where the request names it"},
        "filters": {"type": "array", "items": TEXT, "description": "those that exclude a model"},
        "excluded": {"type": "object", "additionalProperties": TEXT, "description": "models, each with why"},
        "adjusted": {"type": "array", "items": {"type": "object"}},
        "input_tokens": COUNT,
        "output_tokens": {**COUNT, "description": "expected"},
        "cost": thing(money("minimum", "expected", "maximum")),
        **money("hold"),
        "would_be_402": FLAG,
        "refusal": {
            **thing({"reason": TEXT, "message": TEXT, **money("needed")}),
            "type": ["object", "null"],
        },
    }
)
WALLET: JsonSchema = thing(dict.fromkeys(("available", "held", "paid", "promo", "debt"), DOLLARS))

INFERENCE_SCHEMAS: dict[str, JsonSchema] = {
    "ChatCompletionRequest": CHAT_REQUEST,
    "ChatCompletion": COMPLETION,
    "FlatChatRequest": FLAT_REQUEST,
    "FlatChat": FLAT_ANSWER,
    "Estimate": ESTIMATE,
    "Model": MODEL,
    "Wallet": WALLET,
}

COMPLETION_EXAMPLE = {
    "id": "gen-019530000000aabbccddeeff001122",
    "object": "chat.completion",
    "created": 1_772_000_000,
    "model": "openai/gpt-4.1-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
}
MODEL_EXAMPLE = {
    "id": "openai/gpt-4.1-mini",
    "object": "model",
    "created": 1_744_000_000,
    "owned_by": "openai",
    "name": "GPT-4.1 mini",
    "context_length": 1_047_576,
    "pricing": {"prompt": "0.0000005", "completion": "0.000002"},
}
REQUEST_EXAMPLE = {"model": "openai/gpt-4.1-mini", "messages": [{"role": "user", "content": "Say hello."}]}
WALLET_EXAMPLE = {"available": "9.75", "held": "0.25", "paid": "10.00", "promo": "0.00", "debt": "0.00"}

ESTIMATE_EXAMPLE: dict[str, Any] = {
    "object": "estimate",
    "requested_model": "openai/gpt-4.1-mini",
    "model": "openai/gpt-4.1-mini",
    "provider": "openai",
    "fallbacks": [],
    "policy": None,
    "task_type": None,
    "rule": None,
    "filters": [],
    "excluded": {},
    "adjusted": [],
    "input_tokens": 9,
    "output_tokens": 200,
    "cost": {
        "minimum_usd": 0.0000025,
        "minimum_nano_usd": 2_500,
        "expected_usd": 0.0004045,
        "expected_nano_usd": 404_500,
        "maximum_usd": 0.01645,
        "maximum_nano_usd": 16_450_000,
    },
    "hold_usd": 0.01645,
    "hold_nano_usd": 16_450_000,
    "would_be_402": False,
    "refusal": None,
}
FLAT_REQUEST_EXAMPLE = {"model": "openai/gpt-4.1-mini", "message": "Say hello."}
FLAT_EXAMPLE = {
    "reply": "Hello!",
    "model": "openai/gpt-4.1-mini",
    "provider": "openai",
    "cost": 0.0000105,
    "cost_nano_usd": 10_500,
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    "id": "gen-019530000000aabbccddeeff001122",
}
ESTIMATE_ERRORS = (400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 503)
CHAT_ERRORS = (400, 401, 402, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 502, 503)

INFERENCE_PATHS: dict[str, Any] = {
    "/v1/chat/completions": {
        "post": {
            "operationId": "create_chat_completion",
            "tags": ["inference"],
            "summary": "Complete a chat",
            "description": "OpenAI's chat completions, whole or streamed (`stream: true`, server-sent events).",
            "security": KEY_ONLY,
            "parameters": [_idempotency_key()],
            "requestBody": {
                "required": True,
                "content": content(ref("ChatCompletionRequest"), REQUEST_EXAMPLE),
            },
            "responses": {
                "200": {
                    "description": "The completion; with `stream` its chunks as events, the last one `[DONE]`.",
                    "content": {
                        **content(ref("ChatCompletion"), COMPLETION_EXAMPLE),
                        "text/event-stream": {"schema": TEXT},
                    },
                },
                **errors("OpenAIError", *CHAT_ERRORS),
            },
        }
    },
    "/api/chat": {
        "post": {
            "operationId": "create_chat",
            "tags": ["inference"],
            "summary": "Ask one question",
            "description": "Flat JSON in, flat JSON out, for shells and small programs. It does not stream.",
            "security": KEY_ONLY,
            "parameters": [_idempotency_key()],
            "requestBody": {"required": True, "content": content(ref("FlatChatRequest"), FLAT_REQUEST_EXAMPLE)},
            "responses": {
                "200": {"description": "The answer.", "content": content(ref("FlatChat"), FLAT_EXAMPLE)},
                **errors("Error", *CHAT_ERRORS),
            },
        }
    },
    "/api/estimate": {
        "post": {
            "operationId": "estimate_chat",
            "tags": ["inference"],
            "summary": "Estimate a chat completion",
            "description": "Which model would answer, what it would cost and hold, and whether it would be refused for "
            "want of money. The body is that of a chat completion; nothing is sent to a provider and nothing held.",
            "security": KEY_ONLY,
            "requestBody": {"required": True, "content": content(ref("ChatCompletionRequest"), REQUEST_EXAMPLE)},
            "responses": {
                "200": {"description": "The estimate.", "content": content(ref("Estimate"), ESTIMATE_EXAMPLE)},
                **errors("Error", *ESTIMATE_ERRORS),
            },
        }
    },
    "/v1/models": {
        "get": {
            "operationId": "list_models",
            "tags": ["inference"],
            "summary": "List models",
            "description": "All of them; with a key those that it may call.",
            "security": KEY_OR_NOBODY,
            "responses": {
                "200": {
                    "description": "The models.",
                    "content": content(
                        thing(
                            {
                                "object": {"const": "list", "type": "string"},
                                "data": {"type": "array", "items": ref("Model")},
                            }
                        ),
                        {"object": "list", "data": [MODEL_EXAMPLE]},
                    ),
                },
                **errors("OpenAIError", 401, 403, 429, 503),
            },
        }
    },
    "/v1/models/{model_id}": {
        "get": {
            "operationId": "read_model",
            "tags": ["inference"],
            "summary": "Read a model",
            "security": KEY_OR_NOBODY,
            "parameters": [_model_parameter()],
            "responses": {
                "200": {"description": "The model.", "content": content(ref("Model"), MODEL_EXAMPLE)},
                **errors("OpenAIError", 401, 403, 404, 429, 503),
            },
        }
    },
    "/v1/providers": {
        "get": {
            "operationId": "list_providers",
            "tags": ["inference"],
            "summary": "List providers",
            "security": KEY_OR_NOBODY,
            "responses": {
                "200": {
                    "description": "Providers that serve a model.",
                    "content": content(
                        {"type": "object", "properties": {"data": {"type": "array", "items": {"type": "object"}}}},
                        {"object": "list", "data": [{"id": "openai", "name": "openai", "object": "provider"}]},
                    ),
                },
                **errors("OpenAIError", 401, 403, 429, 503),
            },
        }
    },
    "/api/wallet": {
        "get": {
            "operationId": "read_wallet",
            "tags": ["wallet"],
            "summary": "Read the wallet",
            "description": "paid + promo = available + held.",
            "security": KEY_ONLY,
            "responses": {
                "200": {
                    "description": "The organization's wallet.",
                    "content": content(ref("Wallet"), WALLET_EXAMPLE),
                },
                **errors("Error", 401, 403, 429, 503),
            },
        }
    },
}
