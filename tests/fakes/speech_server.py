"""What the scripted providers of speech share: a server on loopback, scripts by model, and a journal.

In a test: `with FakeDeepgram() as deepgram:` runs it on a thread of its own; `deepgram.url` is the base URL,
`deepgram.script("nova-3", SpeechReply(...))` makes a model answer otherwise, `deepgram.calls` is what was asked and
what a provider would bill for it.
"""

import asyncio
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes import wire
from tests.fakes.on_thread import OnThread

PIECE_BYTES = 4_096

type Outcome = Literal["running", "completed", "cancelled", "cut", "refused"]


@dataclass(frozen=True, kw_only=True)
class SpeechReply:
    """One way to answer. The defaults are quick and honest."""

    text: str = "Good morning, everybody. Shall we begin?"  # what is heard in any audio
    seconds: float | None = None  # how long the audio is said to be, instead of its length; or is, where it is spoken
    speakers: int = 1
    usage: Literal["duration", "tokens", "none"] = "duration"
    tokens: int | None = None  # that the sound is said to be, instead of those of its length
    error: tuple[int, Any] | None = None  # status and body
    headers: Mapping[str, str] = field(default_factory=dict)
    before_head_s: float = 0.0
    between_pieces_s: float = 0.0
    cut_after_bytes: int | None = None  # of the body
    body: bytes | None = None  # sent as a whole 200 answer, whatever was asked for
    turns: tuple["SpeechReply", ...] = ()  # the calls of this model in turn, the last for all that follow


@dataclass
class SpeechCall:
    """One request as the provider sees it; `seconds` or `characters` are what it bills when `completed`."""

    path: str
    model: str
    parameters: dict[str, list[str]]
    headers: dict[str, str]
    content_type: str = ""
    audio: bytes = b""
    text: str = ""
    seconds: float = 0.0
    characters: int = 0
    outcome: Outcome = "running"
    status: int = 0


@dataclass(frozen=True)
class Answer:
    """What is to be sent; `is_chunked` bodies go out in pieces, as audio does that is made on the way."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_chunked: bool = False


class Refused(Exception):
    """The request is not one that the real provider takes; the answer says so."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body)
        self.answer = answer


class SpeechServer(OnThread):
    """The server, its scripts and its journal; `with` runs it on a thread."""

    base_path = ""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[SpeechCall] = []
        self.scripts: dict[str, SpeechReply] = {}
        self.port = 0
        self._counts: Counter[str] = Counter()
        self.connections: set[_Connection] = set()

    @property
    def url(self) -> str:
        """The base URL for a provider."""
        return f"http://127.0.0.1:{self.port}{self.base_path}"

    def script(self, model: str, reply: SpeechReply) -> str:
        """From now on the model answers like this; returns its name."""
        self.scripts[model] = reply
        self._counts[model] = 0
        return model

    def calls_of(self, model: str) -> list[SpeechCall]:
        """The calls of one model."""
        return [call for call in list(self.calls) if call.model == model]

    @abstractmethod
    def read(self, request: wire.Request) -> SpeechCall:
        """What is asked for. Raises `Refused`."""

    @abstractmethod
    def answer(self, call: SpeechCall, reply: SpeechReply) -> Answer:
        """What an honest provider says. Raises `Refused`."""

    def reply_of(self, call: SpeechCall) -> SpeechReply | None:
        """The script of the call's model; None for an unknown one."""
        return self.scripts.get(call.model)

    @abstractmethod
    def unknown_model(self, call: SpeechCall) -> Answer:
        """What is said where no script has the model's name."""

    async def begin(self) -> None:
        """On a free port."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def end(self) -> None:
        """Calls that run are broken off."""
        self._server.close()
        for connection in list(self.connections):
            connection.abandon()
        await self._server.wait_closed()

    def turn(self, call: SpeechCall, reply: SpeechReply) -> SpeechReply:
        """What this call of the model gets."""
        number = self._counts[call.model]
        self._counts[call.model] += 1
        return reply.turns[min(number, len(reply.turns) - 1)] if reply.turns else reply


class _Connection(asyncio.Protocol):
    """One connection; a gateway that leaves is noticed at once."""

    def __init__(self, server: SpeechServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A gateway connects."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=PIECE_BYTES)
        self._transport = transport
        self._writable.set()
        self._server.connections.add(self)

    def pause_writing(self) -> None:
        """The gateway does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It reads again."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._server.connections.discard(self)
        if self._task:
            self._task.cancel()

    def abandon(self) -> None:
        """Close at once: the server stops."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Part of a request."""
        self._buffer += data
        self._next()

    def _next(self) -> None:
        if self._task or self._transport.is_closing():
            return
        request = wire.take_request(self._buffer)
        if request is not None:
            self._task = asyncio.get_running_loop().create_task(self._run(request))

    async def _run(self, request: wire.Request) -> None:
        try:
            await self._answer(request)
        finally:
            self._task = None
        self._next()

    async def _answer(self, request: wire.Request) -> None:
        server = self._server
        try:
            call = server.read(request)
        except Refused as refused:
            await self._send(refused.answer)
            return
        server.calls.append(call)
        reply = server.reply_of(call)
        try:
            await self._answer_call(call, reply)
        except asyncio.CancelledError:
            if call.outcome == "running":
                call.outcome = "cancelled"
            raise

    async def _answer_call(self, call: SpeechCall, reply: SpeechReply | None) -> None:
        reply = self._server.turn(call, reply) if reply else None
        answer = self._answer_of(call, reply)
        call.status = answer.status
        if reply is None or answer.status != 200:
            if reply is not None:
                await asyncio.sleep(reply.before_head_s)
            call.outcome = "refused"
            await self._send(answer)
            return
        await asyncio.sleep(reply.before_head_s)
        if reply.cut_after_bytes is not None:
            call.outcome = "cut"
        await self._send(answer, reply, call)

    def _answer_of(self, call: SpeechCall, reply: SpeechReply | None) -> Answer:
        if reply is None:
            return self._server.unknown_model(call)
        if reply.error is not None:
            status, body = reply.error
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            return Answer(status, {"Content-Type": "application/json", **reply.headers}, data)
        try:
            answer = self._server.answer(call, reply)
        except Refused as refused:
            return refused.answer
        return answer if reply.body is None else Answer(200, {**answer.headers, **reply.headers}, reply.body)

    async def _send(self, answer: Answer, reply: SpeechReply | None = None, call: SpeechCall | None = None) -> None:
        reply = reply or SpeechReply()
        length = {"Content-Length": str(len(answer.body))}
        framing = {"Transfer-Encoding": "chunked"} if answer.is_chunked else length
        self._transport.write(wire.head(answer.status, {**answer.headers, **reply.headers, **framing}))
        end = len(answer.body) if reply.cut_after_bytes is None else reply.cut_after_bytes
        for start in range(0, max(end, 1), PIECE_BYTES):
            await self._writable.wait()
            if start:
                await asyncio.sleep(reply.between_pieces_s)
            piece = answer.body[start : min(start + PIECE_BYTES, end)]
            if call and start + PIECE_BYTES >= end and call.outcome == "running":
                call.outcome = "completed"  # before the last byte: whoever has the answer finds it in the journal
            self._transport.write(wire.chunk(piece) if answer.is_chunked else piece)
            await asyncio.sleep(0)
        if call and reply.cut_after_bytes is not None:
            self._transport.close()
        elif answer.is_chunked:
            self._transport.write(wire.chunk(b""))
