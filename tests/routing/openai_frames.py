"""Frames in OpenAI's dialect, and what a stream of them comes to."""

import json
from dataclasses import dataclass
from typing import Any

import orjson

from komilion.common.errors import KomilionError
from routing.providers.base import Closing, Ended, Failed, Frames, Identity, StreamEvent
from routing.providers.openai_compat import OpenAICompatible

IDENTITY = Identity("gen-0123456789", "openai/gpt-4o")
BASE = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1739000000, "model": "ok"}
USAGE = {"prompt_tokens": 25, "completion_tokens": 150, "total_tokens": 175}


@dataclass
class Outcome:
    """What a stream came to: the bytes for the client, and the sums of its events."""

    data: bytes
    count: int
    output_bytes: int
    closings: list[Closing]
    failures: list[KomilionError]
    ended: int


def total(events: list[StreamEvent]) -> Outcome:
    """The sums of these events."""
    out = Outcome(b"", 0, 0, [], [], 0)
    for event in events:
        match event:
            case Frames():
                out.data += event.data
                out.count += event.count
                out.output_bytes += event.output_bytes
            case Closing():
                out.data += b"data: " + orjson.dumps(event.chunk) + b"\n\n"
                out.count += event.count
                out.output_bytes += event.output_bytes
                out.closings.append(event)
            case Failed():
                out.failures.append(event.error)
            case Ended():
                out.ended += 1
    return out


def stream(*pieces: bytes, limit: int = 100_000) -> Outcome:
    """What a new decoder makes of these pieces."""
    decoder = OpenAICompatible(limit).chat_stream(IDENTITY)
    return total([event for piece in pieces for event in decoder.feed(piece)] + decoder.close())


def chunk(delta: dict[str, Any] | None, finish: Any = None, **more: Any) -> dict[str, Any]:
    """One chunk with one choice; with none where there is no delta."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {**BASE, "choices": choices, **more}


def frame(document: Any, separators: tuple[str, str] = (",", ":"), *, ascii_only: bool = False) -> bytes:
    """A chunk, or bytes as they are, as an event."""
    text = (
        document
        if isinstance(document, bytes)
        else json.dumps(document, separators=separators, ensure_ascii=ascii_only).encode()
    )
    return b"data: " + text + b"\n\n"


USUAL = [
    chunk({"role": "assistant", "content": ""}, usage=None),
    chunk({"content": "Hel"}, usage=None),
    chunk({"content": 'lo "you" \\ \U0001f600\n'}, usage=None),
    chunk({"reasoning_content": "hm"}),
    chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"id":"chatcmpl-up"}'}}]}),
    chunk({"content": '"usage":{"error":{},"finish_reason":"stop"} data: {'}),
    chunk({}, "stop"),
    chunk(None, usage=USAGE),
]
WRITTEN_BYTES = len('Hello "you" \\ \U0001f600\nhmf{"id":"chatcmpl-up"}'.encode()) + len(
    USUAL[6]["choices"][0]["delta"]["content"]
)


def usual(separators: tuple[str, str] = (",", ":"), *, ascii_only: bool = False) -> bytes:
    """The bytes of the usual stream to its end."""
    return b"".join(frame(c, separators, ascii_only=ascii_only) for c in USUAL) + b"data: [DONE]\n\n"


def documents(data: bytes) -> list[Any]:
    """The frames that a client reads, parsed; each is exactly one line."""
    assert data.endswith(b"\n\n")
    lines = data[:-2].split(b"\n\n")
    assert all(line.startswith(b"data: {") and b"\n" not in line for line in lines)
    return [orjson.loads(line[6:]) for line in lines]


def renamed(document: dict[str, Any]) -> dict[str, Any]:
    """A chunk as the client must see it."""
    return {**document, "id": IDENTITY.request_id, "model": IDENTITY.model}
