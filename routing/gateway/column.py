"""One of the calls that are compared: an exchange of its own whose writes are caught, and what is remembered of them.

What is caught is what any client would have received: a status with a JSON body, or frames. Frames are taken apart only
at their top: every value in them is passed on byte for byte, so no amount ever becomes a float.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

import msgspec
import orjson

from komilion.common.clock import monotonic_s
from komilion.common.money import format_usd
from routing.gateway.differences import CHARACTERS_READ
from routing.gateway.exchange import Exchange

NOT_OF_THE_CALL = frozenset({b"content-length", b"transfer-encoding"})  # those of the body that names all models
WRITTEN = ("content", "reasoning", "reasoning_content", "refusal", "tool_calls")
LEAST_MEASURED_S = 0.001
NULL, NOTHING = msgspec.Raw(b"null"), msgspec.Raw(b"[]")

type Fields = dict[str, msgspec.Raw]
type Relay = Callable[[bytes], Awaitable[None]]

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Note(msgspec.Struct):
    """What is read of an answer's `x_komilion`."""

    model: str
    cost_nano_usd: int


class Tokens(msgspec.Struct):
    """What is read of its `usage`."""

    completion_tokens: int = 0


class Column:
    """The call of one model. `relay` sends a frame on; `gone` is set when the client has left."""

    def __init__(self, index: int, model: str, relay: Relay, gone: asyncio.Event) -> None:
        self.index = index
        self.model = model
        self.exchange: Exchange
        self.status = 0
        self.retry_after: bytes | None = None
        self.text = ""  # how the answer begins, for the differences
        self.characters = 0
        self.refusal: Fields = {}  # the body of an error status
        self.answer = NULL  # a whole answer
        self.is_running = False
        self._relay = relay
        self._gone = gone
        self._body: bytes | None = None
        self._caught = bytearray()
        self._is_stream = False
        self._error = NULL
        self._usage = NULL
        self._note: Note | None = None
        self._started_s = self._ended_s = monotonic_s()
        self._first_content_s: float | None = None

    def open(self, outer: Exchange, chat: Mapping[str, Any], *, stream: bool) -> Exchange:
        """The call's own exchange, with an id of its own; made in the call's own task, whose log lines it names.

        A call that was refused may be opened again.
        """
        self._body = orjson.dumps({**chat, "model": self.model, "stream": stream})
        headers = [(name, value) for name, value in outer.raw_headers if name not in NOT_OF_THE_CALL]
        scope = {"method": outer.method, "path": outer.path, "headers": headers}
        self.refusal, self._error = {}, NULL  # of a try before this one
        self.is_running = True
        self._started_s = monotonic_s()
        self.exchange = Exchange(scope, self._receive, self._catch)
        return self.exchange

    @property
    def is_admitted(self) -> bool:
        """Whether the limits let it in."""
        return self.exchange.admission is not None and self.exchange.admission.allowed

    @property
    def is_refused(self) -> bool:
        """Whether it ended before anything was answered."""
        return bool(self.refusal)

    def end(self) -> None:
        """The call is over: read what came whole."""
        self._ended_s = monotonic_s()
        self.is_running = False
        if not self._caught:
            return
        caught = bytes(self._caught)
        self._caught.clear()
        fields = _fields(caught)
        if self.status == 200:
            self.answer = msgspec.Raw(caught)
            self._look(fields, "message")
        else:
            self.refusal, self._error = fields, fields["error"]

    def error_frame(self) -> bytes:
        """For a call that was refused: its error as a frame."""
        told = {"request_id": self.exchange.request_id, "begun": self.exchange.is_begun}
        return _frame({**self._whose(), **told, "error": self._error})

    def result(self) -> dict[str, Any]:
        """What became of it, with its bill, as the summary says it."""
        charge = 0 if self._note is None else self._note.cost_nano_usd
        first = self._first_content_s
        return {
            "index": self.index,
            "model": self.model,
            "answered_by": None if self._note is None else self._note.model,
            "request_id": self.exchange.request_id,
            "begun": self.exchange.is_begun,
            "cost_usd": msgspec.Raw(format_usd(charge).encode()),
            "cost_nano_usd": charge,
            "duration_ms": _ms(self._ended_s - self._started_s),
            "first_content_ms": None if first is None else _ms(first - self._started_s),
            "tokens_per_s": self._tokens_per_s(),
            "usage": self._usage,
            "error": self._error,
        }

    def _tokens_per_s(self) -> float | None:
        """Output by the time since its first content, or since the start where it came whole; None if that is none."""
        usage = _read(self._usage, Tokens)
        took_s = self._ended_s - (self._first_content_s or self._started_s)
        if usage is None or not usage.completion_tokens or took_s < LEAST_MEASURED_S:
            return None
        return round(usage.completion_tokens / took_s, 1)

    def _whose(self) -> dict[str, Any]:
        return {"index": self.index, "model": self.model}

    async def _receive(self) -> MutableMapping[str, Any]:
        """The body once, then nothing until the client leaves."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _catch(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            self.status = message["status"]
            self.retry_after = headers.get(b"retry-after")
            self._is_stream = headers[b"content-type"].startswith(b"text/event-stream")
        elif self._is_stream:
            frames = b"".join(self._rename(message["body"]))
            if frames:
                await self._relay(frames)
        else:
            self._caught += message["body"]

    def _rename(self, data: bytes) -> Iterator[bytes]:
        """The frames in what was written, each with whose it is; comments and the end are not passed on."""
        for event in data.split(b"\n\n"):
            if not event.startswith(b"data: {"):
                continue
            try:
                fields = _fields(event[len(b"data: ") :])
            except msgspec.DecodeError:  # relayed unparsed from the provider, and no JSON after all
                continue
            self._look(fields, "delta")
            answered_by = msgspec.json.decode(fields.pop("model"))
            whose = self._whose()
            if answered_by != self.model:
                whose["answered_by"] = answered_by
            yield _frame({**whose, **fields, **whose})  # they stand first, and no provider's word replaces them

    def _look(self, fields: Fields, part: str) -> None:
        """Note text, usage, bill and error of a frame (`delta`) or an answer (`message`)."""
        found = msgspec.json.decode(fields.get("choices", NOTHING))
        choices = found if type(found) is list else []
        if part == "delta" and self._first_content_s is None and any(_has_content(choice) for choice in choices):
            self._first_content_s = monotonic_s()
        text = "".join(_text(choice, part) for choice in choices)
        self.characters += len(text)
        self.text += text[: CHARACTERS_READ - len(self.text)]
        note = _read(fields.get("x_komilion", NULL), Note)
        if note is not None:
            self._note, self._usage = note, fields.get("usage", NULL)
        self._error = fields.get("error", self._error)


def _read[T](value: msgspec.Raw, kind: type[T]) -> T | None:
    """None for what is not of this kind: a provider's frames may hold anything."""
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.ValidationError:
        return None


def _has_content(choice: Any) -> bool:
    delta = choice.get("delta") if type(choice) is dict else None
    return type(delta) is dict and any(delta.get(name) for name in WRITTEN)


def _text(choice: Any, part: str) -> str:
    """What the first choice says; parts that are no text are passed over."""
    said = choice.get(part) if type(choice) is dict and choice.get("index") == 0 else None
    content = said.get("content") if type(said) is dict else None
    return content if type(content) is str else ""


def _frame(fields: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(fields) + b"\n\n"


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
