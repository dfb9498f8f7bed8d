"""The shapes of client events (GA), as one table: which fields there are and what each may hold.

A field that is not in the table is an error that names it, as with the real API. What would be run or billed elsewhere
(MCP servers and connectors, stored prompts, tracing into somebody's account) is in the table as refused.
"""

from collections.abc import Callable, Mapping
from typing import Any

from komilion.common.errors import BadRequest
from routing.selection.words import POLICIES

type Check = Callable[[Any, str], None]  # value, path of the field; raises BadRequest
type Fields = Mapping[str, Check]

VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
PCM_RATE_HZ = 24_000
TEXT_MOST_CHARACTERS = 256 * 2**10
AUDIO_MOST_CHARACTERS = 8 * 2**20
IMAGE_MOST_CHARACTERS = 4 * 2**20
NAME_MOST_CHARACTERS = 256
TOOLS_MOST = 128
ITEMS_MOST = 64
KEYWORDS_MOST = 100
OUTPUT_TOKENS_MOST = 4_096


def check_fields(value: Any, fields: Fields, path: str) -> None:
    """An object with nothing but `fields`, each as its check wants it. Raises `BadRequest` naming the field."""
    if not isinstance(value, dict):
        raise BadRequest(f"`{path or 'event'}` must be an object.", param=path or None)
    for name, inner in value.items():
        here = _inner(path, name)
        check = fields.get(name)
        if check is None:
            raise BadRequest(f"Unknown parameter: `{here[:200]}`.", param=here[:200])
        check(inner, here)


def _inner(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _text(most: int) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or len(value) > most:
            raise BadRequest(f"`{path}` must be a text of at most {most} characters.", param=path)

    return check


def _one_of(*choices: Any) -> Check:
    def check(value: Any, path: str) -> None:
        if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in choices):
            shown = ", ".join(str(choice) for choice in choices if choice is not None)
            raise BadRequest(f"`{path}` must be one of: {shown}.", param=path)

    return check


def _number(least: float, most: float, *, whole: bool = False) -> Check:
    def check(value: Any, path: str) -> None:
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            raise BadRequest(
                f"`{path}` must be a {'whole ' if whole else ''}number from {least} to {most}.", param=path
            )

    return check


def _list(check_item: Check, most: int) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, list) or len(value) > most:
            raise BadRequest(f"`{path}` must be a list of at most {most}.", param=path)
        for number, item in enumerate(value):
            check_item(item, f"{path}[{number}]")

    return check


def _or_null(check_value: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if value is not None:
            check_value(value, path)

    return check


def _object(fields: Fields, *, needs: tuple[str, ...] = ()) -> Check:
    def check(value: Any, path: str) -> None:
        check_fields(value, fields, path)
        for name in needs:
            if name not in value:
                missing = _inner(path, name)
                raise BadRequest(f"`{missing}` is missing.", param=missing)

    return check


def _by_type(kinds: Mapping[str, Check], *, otherwise: Mapping[str, str] | None = None) -> Check:
    """An object whose `type` says which fields it has; `otherwise`: types that are refused, and why."""

    def check(value: Any, path: str) -> None:
        kind = value.get("type") if isinstance(value, dict) else None
        known = kinds.get(kind) if isinstance(kind, str) else None
        if known is None:
            why = (otherwise or {}).get(kind) if isinstance(kind, str) else None
            raise BadRequest(why or f"`{path}.type` must be one of: {', '.join(kinds)}.", param=f"{path}.type")
        known(value, path)

    return check


def _refused(why: str) -> Check:
    def check(value: Any, path: str) -> None:
        if value is not None:
            raise BadRequest(f"`{path}` is not available here: {why}.", param=path)

    return check


def _any_object(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise BadRequest(f"`{path}` must be an object.", param=path)


def _anything(value: Any, path: str) -> None:
    """A constant that was looked at already, such as `type`."""


NAME = _text(NAME_MOST_CHARACTERS)
TEXT = _text(TEXT_MOST_CHARACTERS)
AUDIO = _text(AUDIO_MOST_CHARACTERS)
SWITCH = _one_of(True, False)
NO_SERVERS = "tools that a server runs are billed elsewhere; use tools of the type `function`"

FORMAT = _by_type(
    {
        "audio/pcm": _object({"type": _anything, "rate": _one_of(PCM_RATE_HZ)}),
        "audio/pcmu": _object({"type": _anything}),
        "audio/pcma": _object({"type": _anything}),
    }
)
TOOL = _by_type(
    {
        "function": _object(
            {"type": _anything, "name": NAME, "description": _or_null(TEXT), "parameters": _or_null(_any_object)},
            needs=("name",),
        )
    },
    otherwise={"mcp": f"MCP is not available here: {NO_SERVERS}."},
)


def _tool_choice(value: Any, path: str) -> None:
    if isinstance(value, dict):
        check_fields(value, {"type": _one_of("function"), "name": NAME}, path)
    else:
        _one_of("auto", "none", "required")(value, path)


MAX_TOKENS = _one_of("inf")


def _max_tokens(value: Any, path: str) -> None:
    if value != "inf":
        _number(1, OUTPUT_TOKENS_MOST, whole=True)(value, path)


TRANSCRIPTION = _object(
    {
        "model": NAME,
        "language": NAME,
        "languages": _list(NAME, KEYWORDS_MOST),
        "prompt": TEXT,
        "keywords": _list(NAME, KEYWORDS_MOST),
        "delay": _one_of("minimal", "low", "medium", "high", "xhigh"),
    },
    needs=("model",),
)
VAD_FLAGS: Fields = {"type": _anything, "create_response": SWITCH, "interrupt_response": SWITCH}
TURN_DETECTION = _by_type(
    {
        "server_vad": _object(
            {
                **VAD_FLAGS,
                "threshold": _number(0, 1),
                "prefix_padding_ms": _number(0, 10_000, whole=True),
                "silence_duration_ms": _number(0, 60_000, whole=True),
                "idle_timeout_ms": _or_null(_number(1_000, 600_000, whole=True)),
            }
        ),
        "semantic_vad": _object({**VAD_FLAGS, "eagerness": _one_of("low", "medium", "high", "auto")}),
    }
)
INPUT_AUDIO = _object(
    {
        "format": FORMAT,
        "transcription": _or_null(TRANSCRIPTION),
        "turn_detection": _or_null(TURN_DETECTION),
        "noise_reduction": _or_null(_object({"type": _one_of("near_field", "far_field"), "strength": _number(0, 1)})),
    }
)
VOICE = _one_of(*VOICES)
OUTPUT_AUDIO = _object({"format": FORMAT, "voice": VOICE, "speed": _number(0.25, 1.5)})
MODALITIES = _one_of(["audio"], ["text"])
REASONING = _object({"effort": _or_null(_one_of("minimal", "low", "medium", "high", "xhigh"))})
TRUNCATION = _object(
    {
        "type": _one_of("retention_ratio"),
        "retention_ratio": _number(0, 1),
        "token_limits": _object({"post_instructions": _number(1, 1_000_000, whole=True)}),
    }
)


def _truncation(value: Any, path: str) -> None:
    if value not in ("auto", "disabled"):
        TRUNCATION(value, path)


ANSWERING: Fields = {
    "instructions": TEXT,
    "output_modalities": MODALITIES,
    "tools": _list(TOOL, TOOLS_MOST),
    "tool_choice": _tool_choice,
    "parallel_tool_calls": SWITCH,
    "max_output_tokens": _max_tokens,
    "reasoning": _or_null(REASONING),
    "prompt": _refused("prompts that are stored at a provider are not yours"),
}
SESSION = _by_type(
    {
        "realtime": _object(
            {
                **ANSWERING,
                "type": _anything,
                "model": NAME,
                "audio": _object({"input": INPUT_AUDIO, "output": OUTPUT_AUDIO}),
                "include": _or_null(_list(_one_of("item.input_audio_transcription.logprobs"), 1)),
                "tracing": _refused("nothing is traced into a provider's account"),
                "truncation": _truncation,
            }
        )
    },
    otherwise={"transcription": "Sessions that only transcribe are not available here; use /v1/audio/transcriptions."},
)

ITEM_FIELDS: Fields = {
    "id": NAME,
    "type": _anything,
    "object": _one_of("realtime.item"),
    "status": _one_of("completed", "incomplete", "in_progress"),
}
USER_PART = _by_type(
    {
        "input_text": _object({"type": _anything, "text": TEXT}, needs=("text",)),
        "input_audio": _object({"type": _anything, "audio": AUDIO, "transcript": _or_null(TEXT)}),
        "input_image": _object(
            {
                "type": _anything,
                "image_url": _text(IMAGE_MOST_CHARACTERS),
                "detail": _one_of("auto", "low", "high"),
            },
            needs=("image_url",),
        ),
    }
)
SYSTEM_PART = _by_type({"input_text": _object({"type": _anything, "text": TEXT}, needs=("text",))})
ASSISTANT_PART = _by_type(
    {
        "output_text": _object({"type": _anything, "text": TEXT}, needs=("text",)),
        "output_audio": _object({"type": _anything, "audio": AUDIO, "transcript": _or_null(TEXT)}),
    }
)
PARTS = {"user": USER_PART, "system": SYSTEM_PART, "assistant": ASSISTANT_PART}


def _message(value: Any, path: str) -> None:
    role = value.get("role")
    part = PARTS.get(role) if isinstance(role, str) else None
    if part is None:
        raise BadRequest(f"`{path}.role` must be one of: {', '.join(PARTS)}.", param=f"{path}.role")
    _object({**ITEM_FIELDS, "role": _anything, "content": _list(part, ITEMS_MOST)}, needs=("content",))(value, path)
    for number, inner in enumerate(value["content"]):
        if inner["type"] == "input_image" and not inner["image_url"].startswith("data:image/"):
            name = f"{path}.content[{number}].image_url"
            raise BadRequest(f"`{name}` must be a data URL; send the picture itself.", param=name)


CALL_NEEDS = ("call_id", "name", "arguments")
ITEM = _by_type(
    {
        "message": _message,
        "function_call": _object({**ITEM_FIELDS, "call_id": NAME, "name": NAME, "arguments": TEXT}, needs=CALL_NEEDS),
        "function_call_output": _object({**ITEM_FIELDS, "call_id": NAME, "output": TEXT}, needs=("call_id", "output")),
    },
    otherwise=dict.fromkeys(
        ("mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response"),
        f"MCP is not available here: {NO_SERVERS}.",
    ),
)
ITEM_REFERENCE = _object({"type": _anything, "id": NAME}, needs=("id",))


def _item_or_reference(value: Any, path: str) -> None:
    is_reference = isinstance(value, dict) and value.get("type") == "item_reference"
    (ITEM_REFERENCE if is_reference else ITEM)(value, path)


def _metadata(value: Any, path: str) -> None:
    _any_object(value, path)
    if len(value) > 16 or not all(isinstance(text, str) and len(text) <= 512 for text in value.values()):
        raise BadRequest(f"`{path}` takes at most 16 texts of at most 512 characters.", param=path)


RESPONSE = _object(
    {
        **ANSWERING,
        "audio": _object({"output": OUTPUT_AUDIO}),
        "conversation": _one_of("auto", "none"),
        "input": _list(_item_or_reference, ITEMS_MOST),
        "metadata": _or_null(_metadata),
    }
)


# What `POST /api/voice/realtime` takes.
SESSION_WISHES = _object(
    {
        "policy": _one_of(*POLICIES),
        "voice": VOICE,
        "instructions": TEXT,
        "tools": _list(TOOL, TOOLS_MOST),
        "showBalance": SWITCH,
    }
)


def _event(*needs: str, **fields: Check) -> Check:
    return _object({"type": _anything, "event_id": _text(512), **fields}, needs=needs)


EVENTS: Mapping[str, Check] = {
    "session.update": _event("session", session=SESSION),
    "input_audio_buffer.append": _event("audio", audio=AUDIO),
    "input_audio_buffer.commit": _event(),
    "input_audio_buffer.clear": _event(),
    "conversation.item.create": _event("item", item=ITEM, previous_item_id=_or_null(NAME)),
    "conversation.item.retrieve": _event("item_id", item_id=NAME),
    "conversation.item.truncate": _event(
        "item_id",
        "content_index",
        "audio_end_ms",
        item_id=NAME,
        content_index=_number(0, ITEMS_MOST, whole=True),
        audio_end_ms=_number(0, 24 * 3_600_000, whole=True),
    ),
    "conversation.item.delete": _event("item_id", item_id=NAME),
    "response.create": _event(response=_or_null(RESPONSE)),
    "response.cancel": _event(response_id=_or_null(NAME)),
}
