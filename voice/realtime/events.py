"""Client events of the Realtime API (GA): what is taken, in which shape, and what never goes upstream.

A piece of audio is recognised by one strict regular expression and forwarded as it came, without being parsed. All
other events are parsed, checked (`schema`) and written anew. Source: the event types of the `openai` package,
November 2026.
"""

import re
from typing import Any

import orjson

from komilion.common.errors import OPENAI_CODES, BadRequest, KomilionError
from komilion.common.ids import new_id
from routing.gateway.json_guard import parse_object
from voice.realtime import beta
from voice.realtime.schema import EVENTS

type Event = dict[str, Any]

# {"type": ..., "audio": ...} in either order, with an `event_id` at most once, in front, between or behind.
_ID = r'"event_id"\s*:\s*"[\w.:-]{1,128}"'
_TYPE = r'"type"\s*:\s*"input_audio_buffer\.append"'
_BASE64 = r"[A-Za-z0-9+/]*+={0,2}"
APPEND = re.compile(
    rf"\s*+\{{\s*+(?P<front>{_ID}\s*,\s*)?"
    rf'(?:{_TYPE}\s*,\s*(?(front)|(?P<between>{_ID}\s*,\s*)?)"audio"\s*:\s*"(?P<audio>{_BASE64})"'
    rf'|"audio"\s*:\s*"(?P<first>{_BASE64})"\s*,\s*{_TYPE})'
    rf"(?(front)|(?(between)|(?:\s*,\s*{_ID})?))\s*+\}}\s*+",
    re.ASCII,
)


def append_audio(text: str) -> int | None:
    """How many characters of base64 the frame appends; None where it is no `input_audio_buffer.append` of plain
    shape.
    """
    match = APPEND.fullmatch(text)
    if match is None:
        return None
    start, end = match.span("audio")
    return end - start if start >= 0 else match.end("first") - match.start("first")


def audio_of(text: str) -> str:
    """The base64 of a frame that `append_audio` recognised."""
    match = APPEND.fullmatch(text)
    assert match is not None
    return match["audio"] if match["audio"] is not None else match["first"]


def parse_client_event(text: str) -> tuple[Event, bool]:
    """A client event in GA shape, known and checked, and whether it shows that the client speaks the beta protocol.

    Raises `BadRequest`, whose `extra` holds the client's `event_id`.
    """
    event = parse_object(text.encode("utf-8", "surrogatepass"))
    event_id = event.get("event_id")
    known_id = {"event_id": event_id} if isinstance(event_id, str) else {}
    try:
        kind = event.get("type")
        check = EVENTS.get(kind) if isinstance(kind, str) else None
        if check is None:
            raise BadRequest(f"There is no client event of the type {str(kind)[:80]!r}.", param="type")
        is_old = beta.is_beta(event)
        event = beta.client_event(event)
        check(event, "")
    except BadRequest as error:
        raise BadRequest(error.message, param=error.param, extra=known_id) from None
    return event, is_old


def refusal(code: str, message: str | None, param: str | None = None) -> BadRequest:
    """What a client sent cannot be done; `code` is OpenAI's for that, by which clients tell what they may ignore."""
    return BadRequest(message, param=param, extra={"code": code})


def error_event(error: KomilionError, event_id: str | None = None) -> Event:
    """The GA `error` event; `event_id` is that of the client's event at fault."""
    return {
        "type": "error",
        "event_id": new_id("event"),
        "error": {
            "type": error.type,
            "code": error.extra.get("code") or OPENAI_CODES.get(error.reason, error.reason),
            "message": error.message,
            "param": error.param,
            "event_id": event_id,
            "reason": error.reason,
        },
    }


def dump(event: Event) -> str:
    """An event as the text of a frame."""
    return orjson.dumps(event).decode()
