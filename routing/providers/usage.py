"""Reading OpenAI-shaped usage into disjoint buckets, for every vendor that speaks Chat Completions.

OpenAI's details are subsets of the two totals, so input = prompt - cached - cache writes - audio. What is
not an integer in 0..2^31, or a detail above its total, makes the whole report unreadable (`usage` None): a
wrong figure is worse than none, because none is estimated and marked as such. A detail that is null or
missing was not reported; its tokens then stay in the plain bucket. A total that is null or missing is
unknown, never 0.
"""

import json
from typing import Any

from komilion.common.usage import MAX_UNITS, Usage
from routing.providers.base import UsageReport

WHITE_SPACE_AND_COLON = " \t\r\n:"

_decoder = json.JSONDecoder()


class _UnreadableError(Exception):
    """The figures cannot be what was used."""


def _units(source: dict[str, Any], name: str) -> int:
    """A detail; 0 where the provider did not report it."""
    value = source.get(name)
    return 0 if value is None else _checked(value)


def _checked(value: object) -> int:
    # `type` and not `isinstance`: True is an int to Python, but no count of tokens.
    if type(value) is not int or not 0 <= value <= MAX_UNITS:
        raise _UnreadableError
    return value


def _details(raw: dict[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name)
    if value is None:
        return {}
    if type(value) is not dict:
        raise _UnreadableError
    return value


def _cached(raw: dict[str, Any], details: dict[str, Any]) -> int:
    """Cache reads: OpenAI's detail, else DeepSeek's or Moonshot's field beside the totals."""
    for source, name in (
        (details, "cached_tokens"),
        (raw, "prompt_cache_hit_tokens"),
        (raw, "cached_tokens"),
    ):
        if source.get(name) is not None:
            return _checked(source[name])
    return 0


def _split(raw: dict[str, Any]) -> dict[str, Any]:
    """Anthropic's cache writes by how long they last, beside the totals or in their details; empty where not told."""
    return _details(raw, "cache_creation") or _details(_details(raw, "prompt_tokens_details"), "cache_creation")


def _read(raw: dict[str, Any]) -> Usage:
    prompt = _checked(raw.get("prompt_tokens"))
    completion = _checked(raw.get("completion_tokens"))
    details = _details(raw, "prompt_tokens_details")
    cached = _cached(raw, details)
    written = written_1h = audio_in = reasoning = audio_out = 0
    if details:
        written = _units(details, "cache_write_tokens")
        audio_in = _units(details, "audio_tokens")
    split = _split(raw)
    if split:
        written = _units(split, "ephemeral_5m_input_tokens")
        written_1h = _units(split, "ephemeral_1h_input_tokens")
    details = _details(raw, "completion_tokens_details")
    if details:
        reasoning = _units(details, "reasoning_tokens")
        audio_out = _units(details, "audio_tokens")
    if reasoning and _units(raw, "total_tokens") == prompt + completion + reasoning:
        # xAI's chat counts reasoning beside the completion (its total shows that) and bills both as output.
        completion += reasoning
    uncached = prompt - cached - written - written_1h - audio_in
    output = completion - audio_out
    if uncached < 0 or output < 0 or reasoning > completion:
        raise _UnreadableError
    return Usage(
        input=uncached,
        cache_read=cached,
        cache_write=written,
        cache_write_1h=written_1h,
        input_audio=audio_in,
        output=output,
        output_audio=audio_out,
        reasoning=reasoning,
    )


def read_usage(raw: Any) -> UsageReport | None:
    """Read a `usage` field: None where there is none (null, empty); nonsense is a report without `usage`."""
    if raw is None or raw == {}:
        return None
    if type(raw) is not dict:
        return UsageReport(None, raw)
    try:
        return UsageReport(_read(raw), raw, bool(_split(raw)))
    except _UnreadableError:
        return UsageReport(None, raw)


def usage_at_end(tail: bytes) -> UsageReport | None:
    """The usage in the last bytes of an answer, behind its text. Inside a text the name's quotes would be escaped."""
    _, found, rest = tail.rpartition(b'"usage"')
    written = rest.decode("utf-8", "replace").lstrip(WHITE_SPACE_AND_COLON)
    try:
        return read_usage(_decoder.raw_decode(written)[0]) if found else None
    except ValueError:
        return None


def usage_of_chunk(chunk: dict[str, Any]) -> UsageReport | None:
    """The usage of a chunk: at its top, else in the first choice (Moonshot), else in `x_groq` (Groq)."""
    report = read_usage(chunk.get("usage"))
    if report is not None:
        return report
    choices = chunk.get("choices")
    places = (choices[0] if type(choices) is list and choices else None, chunk.get("x_groq"))
    for place in places:
        if type(place) is dict and place.get("usage"):
            return read_usage(place["usage"])
    return None
