"""A streamed chat completion on its way to the client: renamed as bytes, parsed only where it matters.

    bytes -> EventBuffer -> block of whole events
      plain block (nothing but `data: {...}`)  -> renamed as it is
      else (comments, other spacing, names)    -> rewritten to a plain block first
      no marker in the block                   -> one `Frames`
      a marker (finish, usage, error)          -> that frame is parsed: `Closing` | `Failed`

Replacing bytes is safe because inside a JSON string every quote is escaped: `"id":"chatcmpl-1"` or
`"usage":{` can only be a key and its value, never something a model wrote. The provider's spelling of id and
model is learnt from its first frame, and with it the head that all frames share up to `"choices"`; a frame
that spells them otherwise is parsed and written anew. What comes out, and what is counted, does not depend on
how the bytes were cut.

A frame that is relayed unparsed is not proved to be JSON: it begins with `{`, ends with `}` and has the id
and the model. A frame that has to be parsed and is no JSON object is dropped.
"""

import json
import re
from typing import Any

import orjson

from komilion.common.errors import KomilionError, ProviderError
from routing.providers.base import Closing, Ended, Failed, Frames, Identity, StreamEvent
from routing.providers.failures import failure_inside
from routing.providers.sse import EVENT_LIMIT_BYTES, EventBuffer, events
from routing.providers.usage import usage_of_chunk

DONE = b"[DONE]"
START = b"data: {"
END = b"}\n\n"
SEAM = END + START
UNSPELLED = b"\n\n\n"  # in no frame, so that every frame is parsed
LESSONS_MOST = 8  # spellings, and heads, learnt for one stream; with ever new ones the way is slower
BRACKETS_ALWAYS_SHALLOW = 200  # orjson writes 254 levels at most

STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
ID_SPELLING = re.compile(rb'"id"\s*+:\s*+' + STRING)
MODEL_SPELLING = re.compile(rb'"model"\s*+:\s*+' + STRING)
# A value that is neither null nor "": some providers say `"finish_reason":""` in every frame.
MARKER = re.compile(rb'"(?:finish_reason|usage|error|base_resp)"\s*+:\s*+(?!null|"")')
# What a model wrote: text, reasoning, refusals, names and arguments of calls (`input` is a custom tool's).
_WRITTEN = rb'"(?:content|reasoning_content|reasoning|refusal|arguments|name|input)"\s*+:\s*+"(?!")'
WRITTEN = re.compile(_WRITTEN + rb'([^"\\]*+(?:\\.[^"\\]*+)*+)"')
FRAME_WITH_WRITTEN = re.compile(_WRITTEN + rb"[^\n]*+")
# Where nothing of this is in a frame: the parts of a list of content (Mistral), or an old completion's text.
PART = re.compile(rb'"(?:text|thinking)"\s*+:\s*+"(?!")([^"\\]*+(?:\\.[^"\\]*+)*+)"')
PART_NAMES = (b'"text"', b'"thinking"')
UNICODE_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})")

FINISH_REASONS = {"eos": "stop", "model_length": "length", "sensitive": "content_filter"}
FAILED_FINISHES = frozenset({"error", "network_error", "insufficient_system_resource"})


def decoded_size(text: bytes) -> int:
    """UTF-8 bytes of the inside of a JSON string once its escapes are resolved; additive over its pieces.

    Half of a surrogate pair counts 2 bytes, so a pair is 4 even when its halves came in two frames.
    """
    text = text.replace(b"\\\\", b"_")
    size = len(text) - text.count(b"\\")  # as if every escape were of the kind \n: two bytes for one
    if b"\\u" in text:
        for digits in UNICODE_ESCAPE.findall(text):
            point = int(digits, 16)
            if point < 0x80:
                size -= 4
            elif point < 0x800 or 0xD800 <= point <= 0xDFFF:
                size -= 3
            else:
                size -= 2
    return size


def measure(block: bytes, frames: int) -> tuple[int, int]:
    """(frames in which a model wrote something, UTF-8 bytes of what it wrote) of a plain block."""
    written = WRITTEN.findall(block)
    if frames > 1 and (PART_NAMES[0] in block or PART_NAMES[1] in block):
        counts, sizes = zip(*(measure(frame, 1) for frame in block.split(b"\n\n")), strict=True)
        return sum(counts), sum(sizes)
    if not written:
        written = PART.findall(block)
        if not written:
            return 0, 0
    count = 1 if frames == 1 else len(FRAME_WITH_WRITTEN.findall(block))
    text = written[0] if len(written) == 1 else b"".join(written)
    return count, len(text) if b"\\" not in text else decoded_size(text)


def parse(data: bytes) -> Any:
    """The JSON document in `data`; None where it is none, or is nested too deeply to be written again."""
    try:
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            if b"\\u" not in data:
                return None
            # Half an emoji, where a provider cuts tokens: no reason to lose a finish frame; it becomes "?".
            text = json.dumps(json.loads(data), ensure_ascii=False)
            document = orjson.loads(text.encode("utf-8", "replace"))
        if data.count(b"{") + data.count(b"[") > BRACKETS_ALWAYS_SHALLOW:
            orjson.dumps(document)
    except (ValueError, RecursionError, orjson.JSONEncodeError):  # the first covers both parsers' errors
        return None
    return document


def failure_within(document: Any) -> KomilionError | None:
    """The error that a 200 answer or a frame carries in place of a completion, in any vendor's shape."""
    first = document[0] if type(document) is list and document else document
    if type(first) is not dict:
        return None
    base = first.get("base_resp")
    if first.get("error") or first.get("object") == "error" or (type(base) is dict and base.get("status_code")):
        return failure_inside(first)
    return None


def settle_finishes(choices: list[Any]) -> bool:
    """Whether any choice is finished; vendors' own finish reasons become OpenAI's.

    Raises `ProviderError` where the reason says that generating failed.
    """
    finished = False
    for choice in choices:
        reason = choice.get("finish_reason") if type(choice) is dict else None
        if not reason:
            continue
        finished = True
        if type(reason) is str:
            if reason in FAILED_FINISHES:
                raise ProviderError("The provider broke off the answer.")
            choice["finish_reason"] = FINISH_REASONS.get(reason, reason)
    return finished


def _spelling(pattern: re.Pattern[bytes], frame: bytes, value: object) -> bytes:
    """The bytes of the frame's key and value that mean `value`; `UNSPELLED` where there are none."""
    if type(value) is str:
        for found in pattern.findall(frame):
            if orjson.loads(b"{%b}" % found).popitem()[1] == value:
                return bytes(found)
    return UNSPELLED


class ChatStream:
    """The decoder of one streamed answer in OpenAI's dialect (`StreamDecoder`)."""

    __slots__ = (
        "_buffer",
        "_ended",
        "_head",
        "_head_lessons",
        "_id",
        "_identity",
        "_lessons",
        "_model",
        "_new_head",
        "_new_id",
        "_new_model",
        "skipped",
    )

    def __init__(self, identity: Identity, event_limit_bytes: int = EVENT_LIMIT_BYTES) -> None:
        self._buffer = EventBuffer(event_limit_bytes)
        self._identity = identity
        self._new_id = b'"id":' + orjson.dumps(identity.request_id)
        self._new_model = b'"model":' + orjson.dumps(identity.model)
        self._new_head = b""
        self._id = self._model = self._head = UNSPELLED
        self._lessons = self._head_lessons = 0
        self._ended = False
        self.skipped = 0

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Events completed by these bytes. Raises `ProviderError` when an event is over the size limit."""
        if self._ended:
            return []
        block = self._buffer.feed(data)
        if not block:
            return []
        breaks = block.count(b"\n")
        frames = breaks >> 1
        # With two LF to a frame, all used up by the seams and the end, each frame is one line that begins
        # and ends as it should.
        plain = block.startswith(START) and block.endswith(END) and breaks == 2 * frames
        if not plain or (frames > 1 and block.count(SEAM) != frames - 1):
            return self._untidy(block)
        if frames == 1:
            if not block.startswith(self._head):
                return self._plain(block, 1)
            rest = block[len(self._head) :]
            data = self._new_head + rest
        else:
            # The head holds unescaped quotes, so it stands at the start of a frame or nowhere.
            pieces = block.split(self._head)
            if len(pieces) != frames + 1:
                return self._plain(block, frames)
            rest = b"".join(pieces)
            data = self._new_head.join(pieces)
        if MARKER.search(rest) is not None:
            return self._one_by_one(block)
        return [Frames(data, *measure(rest, frames))]

    def close(self) -> list[StreamEvent]:
        """Events completed by the end of the stream; an unfinished frame counts if it is whole JSON."""
        rest = self._buffer.finish()
        if not rest or self._ended:
            return []
        failure = failure_within(parse(rest))  # a streamed call may be answered by a bare JSON error
        if failure is not None:
            return [Failed(failure)]
        return self._untidy(rest, cut=True)

    def _plain(self, block: bytes, frames: int) -> list[StreamEvent]:
        if MARKER.search(block) is None:
            pieces = block.split(self._id)
            if len(pieces) == frames + 1:
                pieces = self._new_id.join(pieces).split(self._model)
                if len(pieces) == frames + 1:
                    data = self._new_model.join(pieces)
                    self._learn_head(block)
                    return [Frames(data, *measure(data, frames))]
        return self._one_by_one(block)

    def _learn_head(self, block: bytes) -> None:
        """Take what the first frame has before `"choices"` for the head of all, if id and model are in it."""
        if self._head_lessons < LESSONS_MOST:
            self._head_lessons += 1
            head = block[: max(0, block.find(b'"choices"'))]
            new_head = self._renamed(head)
            if new_head is not None and WRITTEN.search(head) is None:
                self._head, self._new_head = head, new_head

    def _untidy(self, block: bytes, cut: bool = False) -> list[StreamEvent]:
        """A block with comments, other spacing, names or the end in it; `cut`: its end may be missing."""
        out: list[StreamEvent] = []
        plain: list[bytes] = []
        for name, data in events(block):
            if data == DONE:
                self._ended = True
                break
            failure = _failure_of_event(name, data)
            if failure is not None:
                out += self._flush(plain)
                out.append(Failed(failure))
            elif data.startswith(b"{") and data.endswith(b"}") and not (cut and parse(data) is None):
                # A line break left inside is white space of JSON written over several data lines.
                plain.append(b"data: " + data.replace(b"\n", b" "))
            else:
                self.skipped += 1
        out += self._flush(plain)
        if self._ended:
            out.append(Ended())
        return out

    def _flush(self, plain: list[bytes]) -> list[StreamEvent]:
        if not plain:
            return []
        block = b"\n\n".join(plain) + b"\n\n"
        frames = len(plain)
        plain.clear()
        return self._plain(block, frames)

    def _one_by_one(self, block: bytes) -> list[StreamEvent]:
        """A plain block in which at least one frame has to be looked at."""
        out: list[StreamEvent] = []
        run: list[bytes] = []
        for frame in block[:-2].split(b"\n\n"):
            renamed = self._renamed(frame)
            if renamed is None or MARKER.search(frame) is not None:
                event = self._read(frame)
                if event is None:
                    self.skipped += 1
                    continue
                if not isinstance(event, bytes):
                    _join(run, out)
                    out.append(event)
                    continue
                renamed = event
            run.append(renamed)
        _join(run, out)
        return out

    def _renamed(self, frame: bytes) -> bytes | None:
        """The frame with id and model replaced; None where it does not spell each of them once, as learnt."""
        if frame.count(self._id) != 1 or frame.count(self._model) != 1:
            return None
        return frame.replace(self._id, self._new_id).replace(self._model, self._new_model)

    def _read(self, frame: bytes) -> StreamEvent | bytes | None:
        """Parse one frame: an event, the bytes of an ordinary frame, or None for what is no chunk at all."""
        data = frame[len(START) - 1 :]
        chunk = parse(data)
        if type(chunk) is not dict:
            return None
        failure = failure_within(chunk)
        if failure is not None:
            return Failed(failure)
        report = usage_of_chunk(chunk)
        choices = chunk.get("choices")
        if type(choices) is not list:
            if report is None:
                return None
            choices = chunk["choices"] = []
        try:
            finished = settle_finishes(choices)
        except ProviderError as broken:
            return Failed(broken)
        renamed = self._renamed(frame)
        if renamed is None and self._lessons < LESSONS_MOST:
            self._lessons += 1
            self._head = UNSPELLED
            self._id = _spelling(ID_SPELLING, data, chunk.get("id"))
            self._model = _spelling(MODEL_SPELLING, data, chunk.get("model"))
            renamed = self._renamed(frame)
        chunk["id"] = self._identity.request_id
        chunk["model"] = self._identity.model
        if finished or report is not None:
            return Closing(chunk, finished, report, *measure(frame, 1))
        return renamed if renamed is not None else b"data: " + orjson.dumps(chunk)


def _failure_of_event(name: bytes, data: bytes) -> KomilionError | None:
    """The error in an event named `error`, or in a list (Gemini's shape); in plain frames a marker tells."""
    if name == b"error":
        return failure_inside(parse(data))
    return failure_within(parse(data)) if data.startswith(b"[") else None


def _join(run: list[bytes], out: list[StreamEvent]) -> None:
    """Turn the frames gathered so far into one event."""
    if run:
        data = b"\n\n".join(run) + b"\n\n"
        out.append(Frames(data, *measure(data, len(run))))
        run.clear()
