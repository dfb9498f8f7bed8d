"""What the OpenAPI document says of pins, feedback and single requests."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

from accounts.api.documented import (
    MOMENT,
    READ,
    READ_ONE,
    TEXT,
    WRITE,
    WRITE_ONE,
    JsonSchema,
    answer,
    errors,
    nullable,
    ref,
    thing,
)
from billing.api.documented import operation
from billing.api.documented_usage import GENERATION, GENERATION_EXAMPLE
from routing.selection.words import TASKS

TASK: JsonSchema = {"type": "string", "enum": list(TASKS)}
PIN: JsonSchema = thing(
    {
        "object": {"type": "string", "const": "pin"},
        "task_type": TASK,
        "model": TEXT,
        "source": {"type": "string", "enum": ["person", "key", "advisor"]},
        "set_by": {**TEXT, "description": "who set it: an e-mail address, or a key's hint"},
        "created_at": MOMENT,
        "upgrades": {"type": "string", "enum": ["auto", "ask", "off"]},
        "ceiling": {
            "type": "object",
            "additionalProperties": TEXT,
            "description": "what a newer model may cost at most: US dollars per million units by bucket, fee included",
        },
        "trial": {
            **nullable(thing({"model": TEXT, "share_basis_points": {"type": "integer"}})),
            "description": "a newer model that answers this share (of 10,000) of its calls; null where none does",
        },
    }
)
SCORE: JsonSchema = {"type": "number", "minimum": 0, "maximum": 1}
FEEDBACK: JsonSchema = thing(
    {
        "object": {"type": "string", "const": "feedback"},
        "request_id": TEXT,
        "score": SCORE,
        "task_type": {**nullable(TEXT), "description": "null where the request was not classified"},
        "model": {**TEXT, "description": "the model that answered"},
        "created_at": MOMENT,
    }
)
_INNER: JsonSchema = GENERATION["properties"]["x_komilion"]
ROUTED: JsonSchema = thing(
    {
        **_INNER["properties"],
        "task_type": {**nullable(TEXT), "description": "null where the request was not classified"},
        "receipt": {**nullable({"type": "object"}), "description": "why this model; null where the caller named it"},
        "feedback": nullable(SCORE),
    }
)
ROUTED_GENERATION: JsonSchema = thing({**GENERATION["properties"], "x_komilion": ROUTED})
COMPONENTS = {"Pin": PIN, "Feedback": FEEDBACK, "Generation": ROUTED_GENERATION}

PIN_EXAMPLE: dict[str, Any] = {
    "object": "pin",
    "task_type": "code-generation",
    "model": "openai/gpt-4.1-mini",
    "source": "person",
    "set_by": "alice@example.com",
    "created_at": "2026-03-01T09:00:00Z",
    "upgrades": "auto",
    "ceiling": {"input": "0.50", "output": "2.00"},
    "trial": None,
}
FEEDBACK_EXAMPLE: dict[str, Any] = {
    "object": "feedback",
    "request_id": GENERATION_EXAMPLE["id"],
    "score": 1.0,
    "task_type": "writing",
    "model": "openai/gpt-4.1-mini",
    "created_at": "2026-03-01T09:05:00Z",
}
ROUTED_EXAMPLE: dict[str, Any] = {
    **GENERATION_EXAMPLE,
    "x_komilion": {**GENERATION_EXAMPLE["x_komilion"], "task_type": "writing", "receipt": None, "feedback": None},
}
_PIN_BODY = {"taskType": "coding", "modelId": "openai/gpt-4.1-mini"}
PIN_REQUEST = [OpenApiExample("request", value=_PIN_BODY, request_only=True)]

LIST_PINS = operation(
    "list_pins",
    "routing",
    "List pins",
    "The organization's, one for each pinned task type.",
    {
        200: answer(thing({"data": {"type": "array", "items": ref("Pin")}}), "The pins.", {"data": [PIN_EXAMPLE]}),
        **errors(*READ),
    },
)
SET_PIN = operation(
    "set_pin",
    "routing",
    "Pin a model to a task type",
    "`neo-mode` and `auto` then answer requests of that task type by this model, where it can serve them. Replaces the "
    "pin that is there. A wrong task type or model is 400, with both lists beside the error. `upgrades` and `ceiling` "
    "say what becomes of it when a newer model of its line appears.",
    {200: answer(ref("Pin"), "The pin.", PIN_EXAMPLE), **errors(*WRITE)},
) | {"examples": PIN_REQUEST}
REMOVE_PIN = operation(
    "remove_pin",
    "routing",
    "Remove a pin",
    "The policy chooses again.",
    {200: answer(ref("Pin"), "What was pinned.", PIN_EXAMPLE), **errors(*READ_ONE)},
)
GIVE_FEEDBACK = operation(
    "give_feedback",
    "routing",
    "Give feedback on an answer",
    "For a settled request of yours. A second vote on it replaces the first. Nothing of prompt or answer is kept.",
    {200: answer(ref("Feedback"), "What is kept.", FEEDBACK_EXAMPLE), **errors(*WRITE_ONE)},
) | {
    "examples": [
        OpenApiExample("request", value={"request_id": GENERATION_EXAMPLE["id"], "thumbs": "up"}, request_only=True)
    ]
}
READ_GENERATION = operation(
    "read_generation",
    "usage",
    "Read one request",
    "Everything that is known of a settled request, in OpenRouter's shape, and in `x_komilion` why its model was "
    "chosen. Prompt and answer are not kept.",
    {
        200: answer(thing({"data": ref("Generation")}), "The request.", {"data": ROUTED_EXAMPLE}),
        **errors(*READ_ONE),
    },
)
READ_GENERATION_V1 = {**READ_GENERATION, "operation_id": "read_generation_v1"}
