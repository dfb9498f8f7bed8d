"""OpenAI's chat answers as the scripted upstream writes them: one body, or the frames of a stream."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from tests.fakes.journal import Call, Tokens
from tests.fakes.replies import WORDS, Reply, ToolCall

CREATED = 1_739_000_000
ARGUMENT_PIECES = 3

type Json = dict[str, Any]


@dataclass(frozen=True)
class Frame:
    """One event of a stream; `content` is 1 where the model wrote something in it."""

    data: bytes
    content: int = 0
    declared: Any = None  # the usage in it, as it is sent


def choices_of(call: Call) -> int:
    """How many answers were asked for."""
    asked = call.body.get("n")
    return asked if isinstance(asked, int) and asked > 0 else 1


def usage_report(reply: Reply, tokens: Tokens) -> Any:
    """What the upstream says about usage: OpenAI's shape, or what the script makes of it."""
    if reply.declared:
        return reply.declared(tokens)
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def delivered(whole: Tokens, written: int, total: int) -> Tokens:
    """What was generated when `written` of `total` content frames are out; the last one completes the sum."""
    return Tokens(whole.prompt, whole.completion * written // total if total else 0)


def answer(reply: Reply, call: Call) -> tuple[Json, Any]:
    """A whole answer and the usage in it (None: it says nothing about usage)."""
    choices = []
    for index in range(choices_of(call)):
        message: Json = {"role": "assistant", "content": _text(reply), "refusal": reply.refusal or None}
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        if tools := _tool_calls(reply, call):
            message["content"] = None
            message["tool_calls"] = [{"id": tool.id, "type": "function", "function": _function(tool)} for tool in tools]
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": _finish(reply)})
    body = {**_envelope(call, "chat.completion"), "choices": choices, **reply.extra}
    if reply.report == "missing":
        return body, None
    body["usage"] = None if reply.report == "null" else usage_report(reply, call.whole)
    return body, body["usage"]


def content_frames(reply: Reply, call: Call) -> int:
    """How many content frames the whole stream has."""
    return sum(1 for _ in _interleaved(reply, call))


def stream(reply: Reply, call: Call) -> Iterator[Frame]:
    """The frames of a streamed answer, from the role to `[DONE]`."""
    maker = _FrameMaker(reply, call)
    deltas = list(_interleaved(reply, call))
    if reply.role_alone:
        for index in range(choices_of(call)):
            yield maker.frame(_choice(index, {"role": "assistant", "content": ""}))
    for written, (index, delta) in enumerate(deltas, start=1):
        if reply.error_after == written - 1:
            yield maker.frame_of({"error": {"message": "The server had an error.", "type": "server_error"}})
            return
        so_far = delivered(call.whole, written, len(deltas)) if reply.report == "every" else None
        yield maker.frame(_choice(index, delta), so_far, content=1)
    for index in range(choices_of(call)):
        on_finish = call.whole if reply.report in {"every", "finish"} else None
        yield maker.frame(_choice(index, {}, _finish(reply)), on_finish)
    if maker.usage_asked and reply.report in {"frame", "null"}:
        yield maker.usage_frame()
    if reply.done:
        yield maker.event(b"[DONE]")


class _FrameMaker:
    """Turns chunks into bytes in the style that the script asks for."""

    def __init__(self, reply: Reply, call: Call) -> None:
        self._reply = reply
        self._call = call
        options = call.body.get("stream_options") or {}
        self.usage_asked = bool(options.get("include_usage")) or reply.report_always
        self._separators = (", ", ": ") if reply.spaced else (",", ":")

    def frame(self, choice: Json, tokens: Tokens | None = None, content: int = 0) -> Frame:
        """A frame with one choice in it; with usage when `tokens` are given."""
        chunk = {**_envelope(self._call, "chat.completion.chunk"), "choices": [choice], **self._reply.extra}
        declared = None
        if tokens is not None:
            declared = chunk["usage"] = usage_report(self._reply, tokens)
        elif self.usage_asked and self._reply.report == "frame":
            chunk["usage"] = None  # so does OpenAI when usage is to come
        return self.frame_of(chunk, content, declared)

    def usage_frame(self) -> Frame:
        """The frame without choices that reports usage at the end."""
        declared = None if self._reply.report == "null" else usage_report(self._reply, self._call.whole)
        chunk = {**_envelope(self._call, "chat.completion.chunk"), "choices": [], "usage": declared}
        return self.frame_of(chunk, declared=declared)

    def frame_of(self, chunk: Json, content: int = 0, declared: Any = None) -> Frame:
        """Any JSON object as a frame."""
        text = json.dumps(chunk, separators=self._separators, ensure_ascii=False)
        return Frame(self.event(text.encode()).data, content, declared)

    def event(self, data: bytes) -> Frame:
        """Any data as an event."""
        end = self._reply.line_end.encode()
        comment = b": keep-alive" + end * 2 if self._reply.comments else b""
        return Frame(comment + b"data: " + data + end * 2)


def _envelope(call: Call, kind: str) -> Json:
    model = call.model.rsplit("/", 1)[-1]
    return {"id": f"chatcmpl-{call.number:09d}", "object": kind, "created": CREATED, "model": model}


def _choice(index: int, delta: Json, finish: str | None = None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}


def _finish(reply: Reply) -> str:
    return reply.finish or ("tool_calls" if reply.tool_calls else "stop")


def _interleaved(reply: Reply, call: Call) -> Iterator[tuple[int, Json]]:
    """The deltas of all choices in turn, each with its choice; the first of each carries the role."""
    per_choice = [list(_deltas(reply, call)) for _ in range(choices_of(call))]
    for place, deltas in enumerate(zip_longest(*per_choice)):
        for index, delta in enumerate(deltas):
            if delta is not None:
                role = {"role": "assistant"} if place == 0 and not reply.role_alone else {}
                yield index, {**role, **delta}


def _deltas(reply: Reply, call: Call) -> Iterator[Json]:
    """What one choice says, piece by piece."""
    for word in _pieces(reply.reasoning, len(reply.reasoning.split()) or 1):
        yield {"reasoning_content": word}
    if tools := _tool_calls(reply, call):
        for index, tool in enumerate(tools):
            start = {"index": index, "id": tool.id, "type": "function"}
            yield {"tool_calls": [{**start, "function": {"name": tool.name, "arguments": ""}}]}
            for piece in _pieces(tool.arguments, ARGUMENT_PIECES):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
    elif reply.refusal:
        yield from ({"refusal": piece} for piece in _pieces(reply.refusal, reply.frames))
    elif reply.content is not None:
        yield from ({"content": piece} for piece in _pieces(reply.content, reply.frames))
    else:
        yield from ({"content": _words(reply, place)} for place in range(reply.frames))


def _words(reply: Reply, place: int) -> str:
    return f"{WORDS[place % len(WORDS)]} " * reply.words_per_frame


def _text(reply: Reply) -> str | None:
    if reply.refusal:
        return None
    if reply.content is not None:
        return reply.content
    return "".join(_words(reply, place) for place in range(reply.frames))


def _pieces(text: str, count: int) -> Iterator[str]:
    """The text cut into at most `count` pieces of about one size."""
    size = -(-len(text) // count) or 1
    return (text[start : start + size] for start in range(0, len(text), size))


def _tool_calls(reply: Reply, call: Call) -> list[ToolCall]:
    """The calls of the script; those without a name call the tools that were offered, in turn."""
    offered = [tool["function"]["name"] for tool in call.body.get("tools") or () if "function" in tool]
    calls = []
    for place, tool in enumerate(reply.tool_calls):
        name = tool.name or (offered[place % len(offered)] if offered else "unnamed")
        calls.append(ToolCall(name, tool.arguments, tool.id))
    return calls


def _function(tool: ToolCall) -> Json:
    return {"name": tool.name, "arguments": tool.arguments}
