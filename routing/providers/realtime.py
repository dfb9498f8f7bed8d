"""OpenAI's Realtime API (GA) and what is compatible with it: where to connect, and what an answer used. Pure.

Never sends `OpenAI-Beta`: with it the API accepts the connection and closes it with 4000. Usage counts every input
token again in each answer, cached ones included; here each token stands in one bucket (`komilion.common.usage`).
Source: the types of the `openai` package and OpenAI's OpenAPI document, November 2026.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from komilion.common.usage import MAX_UNITS, Usage
from routing.providers.base import Target

MS_PER_S = 1_000
CONTEXT_MOST_TOKENS = 2**20  # eight times the largest window there is
OUTPUT_MOST_TOKENS = 2**17
SCHEMES = {"http": "ws", "https": "wss"}


class _UnreadableError(Exception):
    """The figures cannot be what was used."""


def upstream_url(target: Target) -> str:
    """`wss://.../v1/realtime?model=...` of an offer whose base URL is `https://.../v1`."""
    parts = urlsplit(target.base_url)
    path = f"{parts.path.rstrip('/')}/realtime"
    return urlunsplit((SCHEMES[parts.scheme], parts.netloc, path, f"model={quote(target.upstream_id, safe='')}", ""))


def upstream_headers(target: Target) -> dict[str, str]:
    """What the handshake carries."""
    return {"Authorization": f"Bearer {target.api_key}"}


def response_usage(response: Mapping[str, Any]) -> Usage | None:
    """The usage of a `response.done`, whatever its status; None where there is none or it is impossible. Never 0 for
    that.

    `{total_tokens, input_tokens, output_tokens, input_token_details {text_tokens, audio_tokens, image_tokens,
    cached_tokens, cached_tokens_details {...}}, output_token_details {text_tokens, audio_tokens}}`: cached is a part of
    input, and what the details leave out is text.
    """
    raw = response.get("usage")
    if not raw:
        return None
    try:
        return _read(_object(raw))
    except _UnreadableError:
        return None


def transcription_usage(raw: Any) -> Usage | None:
    """The usage of a `conversation.item.input_audio_transcription.completed`; None where there is none, or nonsense.

    `{type: "tokens", input_tokens, output_tokens, input_token_details {text_tokens, audio_tokens}}` or `{type:
    "duration", seconds}`, whose seconds may be fractions; milliseconds are rounded up.
    """
    if not isinstance(raw, Mapping):
        return None
    try:
        if raw.get("type") == "duration":
            return Usage(audio_ms=_milliseconds(raw.get("seconds")))
        if raw.get("type") == "tokens":
            text, audio, _ = _split(_units(raw, "input_tokens"), _details(raw, "input_token_details"))
            return Usage(input=text, input_audio=audio, output=_units(raw, "output_tokens"))
    except _UnreadableError:  # nonsense is never read as nothing
        return None
    return None


def _read(raw: Mapping[str, Any]) -> Usage:
    details = _details(raw, "input_token_details")
    text, audio, image = _split(_units(raw, "input_tokens"), details)
    cached = _optional(details, "cached_tokens")
    cached_text, cached_audio, cached_image = _split(cached, _details(details, "cached_tokens_details"))
    produced = _units(raw, "output_tokens")
    spoken = _optional(_details(raw, "output_token_details"), "audio_tokens")
    usage = Usage(
        input=text - cached_text,
        cache_read=cached_text,
        input_audio=audio - cached_audio,
        cache_read_audio=cached_audio,
        input_image=image - cached_image,
        cache_read_image=cached_image,
        output=produced - spoken,
        output_audio=spoken,
    )
    is_possible = usage.total_input <= CONTEXT_MOST_TOKENS and usage.total_output <= OUTPUT_MOST_TOKENS
    if not is_possible or min(usage.input, usage.input_audio, usage.input_image, usage.output) < 0:
        raise _UnreadableError
    return usage


def _split(total: int, details: Mapping[str, Any]) -> tuple[int, int, int]:
    """Text, audio and image tokens of a total: what is neither audio nor image is text."""
    audio, image = _optional(details, "audio_tokens"), _optional(details, "image_tokens")
    text = total - audio - image
    if text < 0:
        raise _UnreadableError
    return text, audio, image


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _UnreadableError
    return value


def _details(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    return {} if value is None else _object(value)


def _optional(raw: Mapping[str, Any], name: str) -> int:
    return 0 if raw.get(name) is None else _units(raw, name)


def _units(raw: Mapping[str, Any], name: str) -> int:
    value = raw.get(name)
    if type(value) is not int or not 0 <= value <= MAX_UNITS:  # True is an int to Python, but no count of tokens
        raise _UnreadableError
    return value


def _milliseconds(seconds: Any) -> int:
    """Rounded up. A float of seconds is what the provider sends; as a whole number it is money's business."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_UNITS / MS_PER_S:
        raise _UnreadableError
    return -int(-seconds * MS_PER_S // 1)
