"""One spoken conversation: the client's side of the socket, and an engine behind it that answers.

    client  <-- WebSocket, GA events -->  Session  <-- Engine -->  relay (a realtime provider) | cascade (our own parts)
                                             |
                                             +-- Tab           holds, settlements, `x_komilion.cost`
                                             +-- Conversation  configuration and items, for another engine to go on with

**What the session does**, whatever engine is behind it: it reads frames in order, checks them (`events`), translates
for clients of the beta protocol (`beta`), keeps the limits (frame, idle, length), ends on news about key or
organization, and closes the socket once, with one code, after the engine has settled. One task reads; a frame that an
engine cannot take yet is not taken from the socket, which makes the client wait.

**What an engine does** (`Engine`): `open` reserves money and reaches what it needs, before the client is accepted, so
that 402 and 503 are statuses of the handshake; `start` says `session.created` and begins; `ready` waits until the next
frame can be taken; `append` gets a checked `input_audio_buffer.append` as it came, `client_event` every other event,
checked and in GA shape; `close` cancels what runs, settles it and returns when nothing more will be emitted. An engine
speaks by `session.emit`, which waits while the client does not read, charges by `session.tab`, and never closes the
socket itself: it calls `session.end`.

**Order of one session**

    Session.open     engines in order: Engine.open; the first that opens is it, KomilionError where none does
    (101)            the consumer accepts
    Session.run      Engine.start, then frames until somebody calls `end`: client left, error, limit, news, no money
                     Engine.close, the `error` event if there is one, the close frame, the parallel slot is given back

Before its first answer an engine may give up: `session.fail_over()` opens the next one, which finds in
`session.conversation` what was configured and said.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from komilion.common.errors import BadRequest, InsufficientBalance, InternalError, KomilionError, LedgerUnavailable
from komilion.common.ids import new_id
from komilion.common.numbers import numbers
from routing.gateway.exchange import Vouch
from routing.gateway.metered import CallFacts
from routing.gateway.services import Services
from routing.gateway.types import Session as CallerSession
from voice.realtime import beta
from voice.realtime.conversation import Conversation
from voice.realtime.discretion import discreet
from voice.realtime.ends import BINARY, CLIENT_LEFT, EXPIRED, IDLE, SERVER_STOPPED, End, end_of
from voice.realtime.events import Event, append_audio, dump, error_event, parse_client_event
from voice.realtime.tab import Tab

log = logging.getLogger(__name__)

type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type SendText = Callable[[str], Awaitable[None]]

ANSWERED = frozenset({"completed", "incomplete", "cancelled"})


@dataclass(frozen=True, slots=True)
class Opening:
    """What a session begins with: who asks for what, by the URL or by a ticket.

    `config` is a GA `session` (voice, instructions, tools); `authenticate` looks the caller up again, and raises 401
    or 403 where there is none any more. `tells_balance`: the client may know what the organization's wallet has.
    """

    caller: CallerSession
    authenticate: Vouch
    facts: CallFacts
    is_beta: bool = False
    config: Event | None = None
    tells_balance: bool = True


class Engine(Protocol):
    """What answers. One task of the session calls `append` and `client_event`, in the order of the frames."""

    @property
    def model(self) -> str:
        """Who answers, as the session says it of itself: a catalogue id. Only after `open`."""

    async def open(self) -> None:
        """Reserve money and reach what is needed. Raises `KomilionError` after giving back what was reserved."""

    async def start(self) -> None:
        """Emit `session.created` (not where another engine did: `session.is_created`) and begin to answer."""

    async def ready(self) -> None:
        """Wait until a frame can be taken; what it changes of `session.conversation` is changed then."""

    async def append(self, raw: str, audio_chars: int) -> None:
        """A checked `input_audio_buffer.append`, as it came, with so many characters of base64 in it.

        What another connection or engine would have to hear again is kept in `session.conversation`.
        """

    async def client_event(self, event: Event) -> None:
        """Any other checked event in GA shape. Raises `BadRequest` for what it cannot do; the session goes on.

        A `session.update` is merged into `session.conversation.config` when it comes here.
        """

    async def close(self, end: End) -> None:
        """Cancel and settle what runs, then let go of everything. Called once, where `open` was."""


type Make = Callable[["Session"], Engine]


class Session:
    """See the module. `caller` is replaced when key or organization changed."""

    def __init__(self, services: Services, opening: Opening, engines: Iterable[Make]) -> None:
        self.id = new_id("sess")
        self.services = services
        self.opening = opening
        self.caller = opening.caller
        self.conversation = Conversation(opening.config)
        facts = replace(opening.facts, detail={"session_id": self.id})
        self.tab = Tab(self, facts, tells_balance=opening.tells_balance)
        self.is_beta = opening.is_beta
        self.is_created = False
        self.has_answered = False  # no other engine may take over any more
        self._early_errors: list[Event] = []
        self._engines = iter(engines)
        self._engine: Engine | None = None
        self._send: SendText | None = None
        self._ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._heard_s = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._switching = asyncio.Lock()

    # what an engine uses

    async def emit(self, event: Event) -> None:
        """Send a GA server event; it gets an `event_id` where it has none. Waits while the client does not read."""
        if event["type"] == "error" and not (self.is_created or self.is_ending):
            self._early_errors.append(event)  # the first event of a session is `session.created`
            return
        if "event_id" not in event:
            event = {"type": event["type"], "event_id": new_id("event"), **event}
        self._observe(event)
        if not self.opening.tells_balance:
            event = discreet(event)
        for said in beta.server_event(event) if self.is_beta else (event,):
            await self._write(dump(said))
        if event["type"] == "session.created":
            early, self._early_errors = self._early_errors, []
            for error in early:
                await self.emit(error)

    async def emit_audio(self, text: str) -> None:
        """Send a `response.output_audio.delta` that is JSON already, as it is."""
        await self._write(beta.raw_audio_delta(text) if self.is_beta else text)

    async def complain(self, error: KomilionError, event_id: str | None = None) -> None:
        """An `error` event about one client event; the session goes on."""
        await self.emit(error_event(error, event_id))

    def end(self, end: End) -> None:
        """Have the session end; the first one who says why decides. Returns at once."""
        if not self._ended.done():
            self._ended.set_result(end)

    def fail(self, error: KomilionError) -> None:
        """Have the session end with this error, by the close code that stands for it."""
        self.end(end_of(error))

    @property
    def is_ending(self) -> bool:
        """Whether `end` was called; an engine then starts nothing new."""
        return self._ended.done()

    async def fail_over(self, failed: Engine, error: KomilionError) -> None:
        """Let the next engine take over, where nothing was answered yet; else end the session with `error`."""
        async with self._switching:
            if self.is_ending or self._engine is not failed:
                return
            if self.has_answered:
                self.fail(error)
                return
            try:
                await self._open_next(error)
                await failed.close(end_of(error))
                if not self.is_ending:  # else `_close` waits for us, and closes what was opened
                    await self.engine.start()
            except KomilionError as last:
                self.fail(last)

    async def reauthenticate(self) -> CallerSession:
        """Look the caller up again. Raises `Unauthenticated`, `Suspended`, `LedgerUnavailable`."""
        self.caller = await self.opening.authenticate()
        return self.caller

    # what the consumer uses

    async def open(self) -> None:
        """Open the first engine that can be. Raises `KomilionError`: of the last one where none can."""
        await self._open_next(InternalError("No engine can hold this conversation."))

    async def run(self, receive: Receive, send: SendText) -> End:
        """Everything from the accepted socket to the settled end; only the close frame is left to do."""
        loop = asyncio.get_running_loop()
        self._send, self._heard_s = send, loop.time()
        self._check_idle()
        limit = loop.call_later(numbers.REALTIME_SESSION_LIMIT_S, self.end, EXPIRED)
        reader = loop.create_task(self._read(receive), name="realtime-client")
        try:
            await self._ended
        finally:
            self.end(SERVER_STOPPED)  # we were cancelled: any other way out of the wait has said why
            limit.cancel()
            if self._idle_timer is not None:
                self._idle_timer.cancel()
            reader.cancel()
            await asyncio.wait({reader})
            await self._close()
        return self._ended.result()

    async def abandon(self) -> None:
        """The client is gone before it was accepted."""
        self.end(CLIENT_LEFT)
        await self._close()

    async def check_caller(self) -> None:
        """Key or organization changed: look whether the caller may still be here, and end the session where not."""
        try:
            await self.reauthenticate()
        except LedgerUnavailable:
            return  # the next hold compares
        except KomilionError as error:
            self.fail(error)

    @property
    def engine(self) -> Engine:
        """The one that answers; only after `open`."""
        assert self._engine is not None, "no engine is open"
        return self._engine

    # inside

    async def _read(self, receive: Receive) -> None:
        """Take frames until the client leaves. Nothing is made for a piece of audio but what the server hands over."""
        try:
            await self.engine.start()
            while True:
                message = await receive()
                text = message.get("text")
                if text is not None:
                    await self._take(text)
                elif message["type"] == "websocket.disconnect":
                    code = message.get("code", CLIENT_LEFT.code)
                    self.end(SERVER_STOPPED if code == SERVER_STOPPED.code else CLIENT_LEFT)
                    return
                else:
                    await self.complain(BINARY)
        except KomilionError as error:
            self.fail(error)
        except Exception:
            log.exception("voice session failed", extra={"session_id": self.id})
            self.fail(InternalError())

    async def _take(self, text: str) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        await self._ready()
        audio_chars = append_audio(text)
        if audio_chars is not None:
            await self.engine.append(text, audio_chars)
            return
        event_id = None
        try:
            event, is_old = parse_client_event(text)
            event_id = event.get("event_id")
            self.is_beta |= is_old
            await self._handle(event)
        except BadRequest as error:
            await self.complain(error, event_id or error.extra.get("event_id"))

    async def _ready(self) -> None:
        """Until there is an engine to take a frame, and nobody is about to replace it."""
        await self.engine.ready()
        while self._switching.locked():
            async with self._switching:
                pass
            await self.engine.ready()

    async def _handle(self, event: Event) -> None:
        kind = event["type"]
        if kind == "session.update":
            await self._configure(event)
            return
        if kind == "input_audio_buffer.append":  # of an unusual shape, such as with its fields spelled by escapes
            plain = dump({"type": kind, "audio": event["audio"]})
            audio_chars = append_audio(plain)
            if audio_chars is None:
                raise BadRequest("`audio` must be base64.", param="audio")
            await self.engine.append(plain, audio_chars)
            return
        elif kind == "conversation.item.create":
            event["item"].setdefault("id", new_id("item"))
            self.conversation.keep(event["item"], event.get("previous_item_id"))
        await self.engine.client_event(event)

    async def _configure(self, event: Event) -> None:
        """What the engine refuses is no part of the configuration: it would be refused at each reconnect again."""
        before = self.conversation.config
        self.conversation.configure(event["session"])
        try:
            await self.engine.client_event(event)
        except BadRequest:
            self.conversation.config = before
            raise

    def _observe(self, event: Event) -> None:
        """What another connection or engine would have to know."""
        kind, conversation = event["type"], self.conversation
        if kind == "conversation.item.done":
            conversation.keep(event["item"])
        elif kind == "conversation.item.input_audio_transcription.completed":
            conversation.transcribed(event["item_id"], event["transcript"])
        elif kind == "conversation.item.deleted":
            conversation.delete(event["item_id"])
        elif kind == "session.created":
            self.is_created = True
        elif kind == "response.created" and not _is_beside(event):
            conversation.began()
        elif kind == "response.done" and event["response"].get("status") in ANSWERED:
            self.has_answered = True
            if not _is_beside(event):
                conversation.answered()

    async def _open_next(self, error: KomilionError) -> None:
        for make in self._engines:
            engine = make(self)
            try:
                await engine.open()
            except (InsufficientBalance, LedgerUnavailable):
                raise  # another engine would need money too
            except KomilionError as failed:
                log.warning("engine not opened", extra={"reason": failed.reason, "session_id": self.id})
                error = failed
            else:
                self._engine = engine
                return
        raise error

    async def _write(self, text: str) -> None:
        if self._send is None:
            return
        try:
            await self._send(text)
        except OSError:  # the server's word for a client that is gone
            self._send = None
            self.end(CLIENT_LEFT)

    async def _close(self) -> None:
        """Settle, then tell the client why it ends. A client that does not read is not waited for."""
        end = self._ended.result()
        async with self._switching:  # an engine that is being opened is closed too
            if self._engine is not None:
                await self._engine.close(end)
        if end.error is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(numbers.REALTIME_GOODBYE_S):
                    await self.emit(error_event(end.error))
        self._send = None

    def _check_idle(self) -> None:
        loop = asyncio.get_running_loop()
        left_s = self._heard_s + numbers.REALTIME_IDLE_TIMEOUT_S - loop.time()
        if left_s <= 0:
            self.end(IDLE)
        else:
            self._idle_timer = loop.call_later(left_s, self._check_idle)


def _is_beside(event: Event) -> bool:
    """Whether the response of an event is outside of the conversation."""
    return event["response"].get("conversation_id", "") is None
