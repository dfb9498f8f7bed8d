"""What the OpenAPI document says of the management endpoints: the keyword arguments of `extend_schema`."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

from accounts.api.documented import (
    COUNT,
    DOLLARS,
    FLAG,
    MOMENT,
    READ,
    READ_ONE,
    TEXT,
    WRITE,
    WRITE_ONE,
    JsonSchema,
    answer,
    errors,
    listing,
    money,
    nullable,
    ref,
    thing,
)
from billing.cap_periods import PERIODS

LIMITS = ("requests_per_minute", "tokens_per_minute", "parallel", "burst_per_s")

KEY: JsonSchema = thing(
    {
        "id": COUNT,
        "object": {"type": "string", "const": "key"},
        "name": TEXT,
        "hint": {**TEXT, "description": "the first and the last characters of the secret"},
        "state": {"type": "string", "enum": ["active", "expired", "revoked"]},
        "created_at": MOMENT,
        "expires_at": nullable(MOMENT),
        "revoked_at": nullable(MOMENT),
        "created_by": {**TEXT, "description": "e-mail address of the member it belongs to"},
        "parent_id": {**nullable(COUNT), "description": "the key that made it; it ends with that one"},
        "models": {**nullable({"type": "array"}), "items": TEXT, "description": "null: every model"},
        "limits": thing(dict.fromkeys(LIMITS, COUNT), *LIMITS),
        "manage": FLAG,
        "caps": thing(dict.fromkeys(PERIODS, DOLLARS), *PERIODS),
        "cap_use": thing(dict.fromkeys(PERIODS, thing(money("limit", "used"))), *PERIODS),
    }
)
SECRET_KEY: JsonSchema = thing({"key": {**TEXT, "description": "the secret, shown this once"}, **KEY["properties"]})

COMPONENTS = {"Key": KEY, "KeyWithSecret": SECRET_KEY}

KEY_EXAMPLE: dict[str, Any] = {
    "id": 7,
    "object": "key",
    "name": "batch job",
    "hint": "ck_Ab12...wxyz",
    "state": "active",
    "created_at": "2026-03-01T09:00:00Z",
    "expires_at": "2026-03-31T09:00:00Z",
    "revoked_at": None,
    "created_by": "alice@example.com",
    "parent_id": None,
    "models": ["openai/gpt-4.1-mini"],
    "limits": {"requests_per_minute": 60},
    "manage": False,
    "caps": {"day": "1.00"},
    "cap_use": {
        "day": {"limit_usd": 1.0, "limit_nano_usd": 1_000_000_000, "used_usd": 0.25, "used_nano_usd": 250_000_000}
    },
}
SECRET_EXAMPLE = {"key": "ck_" + "0" * 38, **KEY_EXAMPLE}
REQUEST_EXAMPLE = {
    "name": "batch job",
    "expires_in": 2_592_000,
    "models": ["openai/gpt-4.1-mini"],
    "caps": {"day": "1.00"},
    "limits": {"requests_per_minute": 60},
    "manage": False,
}


def operation(name: str, tag: str, summary: str, description: str, responses: dict[Any, Any]) -> dict[str, Any]:
    """The arguments that every operation has."""
    return {
        "operation_id": name,
        "tags": [tag],
        "summary": summary,
        "description": description,
        "responses": responses,
    }


LIST_KEYS = operation(
    "list_keys",
    "keys",
    "List keys",
    "The newest first, revoked ones too. A session sees the organization's keys; a key with `manage` sees itself and "
    "the keys that it made.",
    {
        200: answer(listing(ref("Key")), "A page of keys.", {"data": [KEY_EXAMPLE], "next_cursor": None}),
        **errors(*READ),
    },
)
MAKE_KEY = operation(
    "make_key",
    "keys",
    "Make a key",
    "The secret is in this answer and nowhere else. A key that asks needs `manage`, and gives no more than it has; "
    "what it leaves open, the new key has from it.",
    {201: answer(ref("KeyWithSecret"), "The new key with its secret.", SECRET_EXAMPLE), **errors(*WRITE)},
) | {"examples": [OpenApiExample("request", value=REQUEST_EXAMPLE, request_only=True)]}
READ_KEY = operation(
    "read_key",
    "keys",
    "Read a key",
    "Everything but its secret.",
    {200: answer(ref("Key"), "The key.", KEY_EXAMPLE), **errors(*READ_ONE)},
)
CHANGE_KEY = operation(
    "change_key",
    "keys",
    "Change a key",
    "Changes what the body names. In force at once; the keys that it made are narrowed with it.",
    {200: answer(ref("Key"), "The key as it is now.", KEY_EXAMPLE), **errors(*WRITE_ONE)},
) | {"examples": [OpenApiExample("request", value={"caps": {"day": "2.00"}}, request_only=True)]}
REVOKE_KEY = operation(
    "revoke_key",
    "keys",
    "Revoke a key",
    "It is refused from now on, and so is every key that it made. Revoking twice is no error.",
    {
        200: answer(
            ref("Key"), "The revoked key.", {**KEY_EXAMPLE, "state": "revoked", "revoked_at": "2026-03-02T10:00:00Z"}
        ),
        **errors(*READ_ONE),
    },
)
ROTATE_KEY = operation(
    "rotate_key",
    "keys",
    "Give a key a new secret",
    "The old secret is refused from now on; caps, usage and the keys that it made go on.",
    {200: answer(ref("KeyWithSecret"), "The key with its new secret.", SECRET_EXAMPLE), **errors(*WRITE_ONE)},
)
