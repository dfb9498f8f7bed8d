"""The Realtime protocol of before GA, for clients that still speak it: their session shapes and events <-> GA's.

A client speaks it when it connects with `OpenAI-Beta: realtime=v1` (or the sub-protocol `openai-beta.realtime-v1`),
or from its first event on whose shape is the old one's alone. Everything behind this module is GA.

    old                                              GA
    session.modalities ["text", "audio"]             output_modalities ["audio"]; ["text"] stays
    session.voice, speed, input_audio_format, ...    session.audio.{input,output}.*
    session.max_response_output_tokens               max_output_tokens
    session.temperature                              gone
    content types text, audio (assistant)            output_text, output_audio
    response.text.*, response.audio.*                response.output_text.*, response.output_audio.*
    conversation.item.created                        conversation.item.added; .done has no old name
"""

from collections.abc import Iterator
from typing import Any

type Event = dict[str, Any]

HEADER = "realtime=v1"
SUBPROTOCOL = "openai-beta.realtime-v1"

OLD_FIELDS = frozenset(
    (
        *("modalities", "voice", "speed", "input_audio_format", "output_audio_format", "turn_detection"),
        *("input_audio_transcription", "input_audio_noise_reduction", "max_response_output_tokens", "temperature"),
    )
)
FORMATS: dict[str, dict[str, Any]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
OLD_FORMATS = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}
PARTS = {"text": "output_text", "audio": "output_audio"}
OLD_PARTS = {new: old for old, new in PARTS.items()}

# (old, GA) beginnings of the types of server events
RENAMED = (
    ("response.text.", "response.output_text."),
    ("response.audio.", "response.output_audio."),
    ("response.audio_transcript.", "response.output_audio_transcript."),
)
OLD_TYPES = {"conversation.item.added": "conversation.item.created"}
UNKNOWN_TO_OLD = frozenset({"conversation.item.done"})
AUDIO_DELTA = '"response.output_audio.delta"'
OLD_AUDIO_DELTA = '"response.audio.delta"'


def is_beta(event: Event) -> bool:
    """Whether the shape of this client event is the old one's: a `session.update` without a `session.type`, or a
    `response.create`, with a field that only the old one has; an item of the assistant with a part of an old type.
    """
    match event:
        case {"type": "session.update", "session": dict(session)}:
            return "type" not in session and not OLD_FIELDS.isdisjoint(session)
        case {"type": "response.create", "response": dict(response)}:
            items = response.get("input")
            is_old = isinstance(items, list) and any(map(_is_old_item, items))
            return is_old or not OLD_FIELDS.isdisjoint(response)
        case {"type": "conversation.item.create", "item": item}:
            return _is_old_item(item)
    return False


def _is_old_item(item: Any) -> bool:
    new = _new_item(item)
    return new is not item and bool(new != item)


def client_event(event: Event) -> Event:
    """A client event in GA shape, whichever it came in; fields that neither knows stay, to be refused by name."""
    kind = event["type"]
    if kind == "session.update" and isinstance(event.get("session"), dict):
        return {**event, "session": _new_session(event["session"])}
    if kind == "response.create" and isinstance(event.get("response"), dict):
        return {**event, "response": _new_response(event["response"])}
    if kind == "conversation.item.create" and isinstance(event.get("item"), dict):
        return {**event, "item": _new_item(event["item"])}
    return event


def server_event(event: Event) -> Iterator[Event]:
    """What a client of the old protocol gets instead of this GA event: one event, or none."""
    kind: str = event["type"]
    if kind in UNKNOWN_TO_OLD:
        return
    old = {**event, "type": _old_type(kind)}
    if isinstance(event.get("session"), dict):
        old["session"] = _old_session(event["session"])
    if isinstance(event.get("item"), dict):
        old["item"] = _old_item(event["item"])
    if isinstance(event.get("response"), dict):
        old["response"] = _old_response(event["response"])
    part = event.get("part")
    if isinstance(part, dict) and part.get("type") in OLD_PARTS:
        old["part"] = {**part, "type": OLD_PARTS[part["type"]]}
    yield old


def raw_audio_delta(text: str) -> str:
    """A `response.output_audio.delta` as text, under its old name. The audio cannot hold a quotation mark."""
    return text.replace(AUDIO_DELTA, OLD_AUDIO_DELTA, 1)


def _new_session(session: Event) -> Event:
    """`type` is filled in: a session that says nothing of what is old or new is the same in both."""
    if "type" in session or "audio" in session:
        return session
    new = {name: value for name, value in session.items() if name not in OLD_FIELDS}
    new["type"] = "realtime"
    _take_modalities(session, new)
    if "max_response_output_tokens" in session:
        new["max_output_tokens"] = session["max_response_output_tokens"]
    heard: Event = {}
    if "input_audio_format" in session:
        heard["format"] = _new_format(session["input_audio_format"])
    for old, name in (
        ("turn_detection", "turn_detection"),
        ("input_audio_transcription", "transcription"),
        ("input_audio_noise_reduction", "noise_reduction"),
    ):
        if old in session:
            heard[name] = session[old]
    spoken = _new_output(session)
    audio = {**({"input": heard} if heard else {}), **({"output": spoken} if spoken else {})}
    return {**new, "audio": audio} if audio else new


def _new_response(response: Event) -> Event:
    new = {name: value for name, value in response.items() if name not in OLD_FIELDS}
    _take_modalities(response, new)
    if "max_response_output_tokens" in response:
        new["max_output_tokens"] = response["max_response_output_tokens"]
    spoken = _new_output(response)
    if spoken:
        new["audio"] = {"output": spoken}
    if isinstance(response.get("input"), list):
        new["input"] = [_new_item(item) for item in response["input"]]
    return new


def _take_modalities(old: Event, new: Event) -> None:
    if "modalities" in old:
        modalities = old["modalities"]
        new["output_modalities"] = ["audio"] if isinstance(modalities, list) and "audio" in modalities else ["text"]


def _new_output(old: Event) -> Event:
    spoken: Event = {name: old[name] for name in ("voice", "speed") if name in old}
    if "output_audio_format" in old:
        spoken["format"] = _new_format(old["output_audio_format"])
    return spoken


def _new_format(name: Any) -> Any:
    """The object for a known name; anything else stays, to be refused."""
    return FORMATS.get(name, name) if isinstance(name, str) else name


def _new_item(item: Any) -> Any:
    if not isinstance(item, dict) or item.get("role") != "assistant" or not isinstance(item.get("content"), list):
        return item
    parts = [
        {**part, "type": PARTS[part["type"]]} if isinstance(part, dict) and part.get("type") in PARTS else part
        for part in item["content"]
    ]
    return {**item, "content": parts}


def _old_type(kind: str) -> str:
    for old, new in RENAMED:
        if kind.startswith(new):
            return old + kind[len(new) :]
    return OLD_TYPES.get(kind, kind)


def _old_session(session: Event) -> Event:
    audio = session.get("audio") or {}
    heard, spoken = audio.get("input") or {}, audio.get("output") or {}
    old = {name: value for name, value in session.items() if name not in {"audio", "type", "output_modalities"}}
    if "output_modalities" in session:
        old["modalities"] = _old_modalities(session["output_modalities"])
    if "max_output_tokens" in session:
        old["max_response_output_tokens"] = old.pop("max_output_tokens")
    for side, source in (("input", heard), ("output", spoken)):
        if source.get("format"):
            old[f"{side}_audio_format"] = OLD_FORMATS.get(source["format"].get("type"), "pcm16")
    for new, name in (
        ("turn_detection", "turn_detection"),
        ("transcription", "input_audio_transcription"),
        ("noise_reduction", "input_audio_noise_reduction"),
    ):
        if new in heard:
            old[name] = heard[new]
    old.update({name: spoken[name] for name in ("voice", "speed") if name in spoken})
    return old


def _old_response(response: Event) -> Event:
    old = {name: value for name, value in response.items() if name not in {"audio", "output_modalities"}}
    if "output_modalities" in response:
        old["modalities"] = _old_modalities(response["output_modalities"])
    spoken = (response.get("audio") or {}).get("output") or {}
    if "voice" in spoken:
        old["voice"] = spoken["voice"]
    if spoken.get("format"):
        old["output_audio_format"] = OLD_FORMATS.get(spoken["format"].get("type"), "pcm16")
    if isinstance(response.get("output"), list):
        old["output"] = [_old_item(item) for item in response["output"]]
    return old


def _old_modalities(modalities: Any) -> list[str]:
    return ["text", "audio"] if modalities == ["audio"] else ["text"]


def _old_item(item: Event) -> Event:
    if not isinstance(item.get("content"), list):
        return item
    parts = [
        {**part, "type": OLD_PARTS[part["type"]]} if isinstance(part, dict) and part.get("type") in OLD_PARTS else part
        for part in item["content"]
    ]
    return {**item, "content": parts}
