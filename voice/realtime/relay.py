"""The engine that lets a realtime provider answer: the client's events go there, its events come back, in order.

What goes up was checked (`events`) and is written anew, but for audio, which passes as it came. What comes down
passes too, with our id and model in `session` objects, without the provider's own trouble (`relay_events`), and
metered (`Meter`).

Where the provider drops the connection, what ran is charged as far as it was delivered and ends as `failed`, and the
conversation is replayed over one new connection. Where there is none, or it is dropped as well before it answered,
another engine takes over if nothing was answered yet; else the session ends with 1011.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence

from komilion.common.errors import BadRequest, KomilionError, ModelNotAllowed, ProviderError, UnknownModel
from komilion.common.numbers import numbers
from komilion.common.tasks import spawn
from routing.catalog.voice import VoiceOffer
from routing.gateway.types import Outcome
from voice.realtime.ends import End
from voice.realtime.events import Event, dump
from voice.realtime.meter import Meter
from voice.realtime.relay_events import Downstream
from voice.realtime.session import Session
from voice.realtime.transcribers import Transcribers
from voice.realtime.upstream import Dropped, Upstream

log = logging.getLogger(__name__)

ENDS: dict[str, Outcome] = {
    "insufficient_balance": "insufficient_balance",
    "key_cap_reached": "key_cap_reached",
    "client_left": "client_left",
    "server_stopped": "server_stopped",
}


class RelayEngine:
    """`voice.realtime.session.Engine` over the offers of one model, the first choice first."""

    def __init__(self, session: Session, offers: Sequence[VoiceOffer]) -> None:
        self.session = session
        self.is_closing = False
        self._offers = offers
        self._offer = offers[0]
        self._upstream: Upstream | None = None
        self._meter: Meter | None = None
        self._transcribers: Transcribers | None = None
        self._downstream: Downstream | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._is_second = False  # connection without an answer since the first one dropped
        self._has_committed = False  # the client asked for it, and it was not done yet

    # Engine

    @property
    def model(self) -> str:
        """The catalogue's id."""
        return self._offer.model_id

    async def open(self) -> None:
        """Hold for the first offer that opens a connection."""
        error: KomilionError = ProviderError()
        for offer in self._offers:
            meter = Meter(self.session.tab, offer, self.session.fail)
            meter.reckoning.configure(self.session.conversation.config, len(dump(self.session.conversation.config)))
            await meter.open()
            try:
                self._upstream = await Upstream.connect(offer)
            except KomilionError as failed:
                await meter.close()
                error = failed
            except BaseException:
                await meter.close()
                raise
            else:
                self._offer, self._meter = offer, meter
                self._transcribers = Transcribers(self.session, offer.provider)
                self._downstream = Downstream(self, meter, self._transcribers)
                return
        raise error

    async def start(self) -> None:
        """Begin to read, after what was said before, if anything was.

        The provider's `session.created` is ours as soon as it has taken the configuration.
        """
        for item in self.session.conversation.items.values():  # of an engine that was here before
            self._count("conversation.item.create", {"item": item}, "")
        await self._replay()
        self._connected.set()
        self._reading = spawn(self._read(), name="realtime-upstream")

    async def append(self, raw: str, audio_chars: int) -> None:
        """Audio passes as it came. What is lost with a connection is in the conversation, to be replayed."""
        if not self._connected.is_set():
            await self._connected.wait()
        self.meter.reckoning.heard_chars += audio_chars
        await self._send(raw)

    async def client_event(self, event: Event) -> None:
        """Write it anew, with the provider's own name for a transcription model."""
        if not self._connected.is_set():
            await self._connected.wait()
        kind = event["type"]
        if kind == "session.update":
            event = {**event, "session": await self._upstream_config(event["session"])}
        text = dump(event)
        self._count(kind, event, text)
        if kind == "response.create":
            self.session.conversation.asked = event
        elif kind == "input_audio_buffer.commit":
            self._has_committed = True
        await self._send(text)

    async def close(self, end: End) -> None:
        """Cancel what runs and wait a moment for its usage; what is not told is charged as counted."""
        self.is_closing = self.meter.is_closing = True
        then = ENDS.get(end.reason, "completed")
        running = list(self.meter.reckoning.answers)
        if running and self._upstream is not None:
            self.downstream.then = then
            for response_id in running:
                await self._send(dump({"type": "response.cancel", "response_id": response_id}))
            await self.downstream.wait_for_answers(numbers.REALTIME_CLOSE_TIMEOUT_S)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        self._give_up(then)
        await self.meter.close()
        await self.transcribers.close()
        if self._upstream is not None:
            await self._upstream.close()

    # for `Downstream`

    def taken_up(self, response_id: str) -> None:
        """A response has begun."""
        self.meter.began(response_id)

    def answered(self) -> None:
        """A response has ended well: another connection may be lost."""
        self._is_second = False

    def committed(self) -> None:
        """The audio is an item."""
        self._has_committed = False

    @property
    def offer(self) -> VoiceOffer:
        """Who answers."""
        return self._offer

    @property
    def meter(self) -> Meter:
        """Of this offer; only after `open`."""
        assert self._meter is not None, "not open"
        return self._meter

    @property
    def transcribers(self) -> Transcribers:
        """Only after `open`."""
        assert self._transcribers is not None, "not open"
        return self._transcribers

    @property
    def downstream(self) -> Downstream:
        """Only after `open`."""
        assert self._downstream is not None, "not open"
        return self._downstream

    # inside

    async def _send(self, text: str) -> None:
        """A connection that is lost is noticed by the reader."""
        assert self._upstream is not None
        try:
            await self._upstream.send(text)
        except OSError as error:
            log.info("not sent to the realtime provider", extra={"error": str(error)})

    async def _read(self) -> None:
        """Take what comes from the provider, and go on over another connection where one is lost."""
        error: KomilionError = ProviderError()
        try:
            while True:
                try:
                    await self._take_all()
                except Dropped as dropped:
                    extra = {"provider": self._offer.provider, "code": dropped.code, "session_id": self.session.id}
                    log.warning("realtime provider dropped a session", extra=extra)
                if self.is_closing:
                    self.downstream.all_ended()
                    return
                await self._go_on()
        except KomilionError as failed:
            error = failed
        except Exception:
            log.exception("realtime provider not understood", extra={"provider": self._offer.provider})
        self._connected.set()  # whoever waits to send finds nobody there
        _ = spawn(self.session.fail_over(self, error), name="realtime-fail-over")

    async def _take_all(self) -> None:
        assert self._upstream is not None
        receive, take = self._upstream.receive, self.downstream.take
        while True:
            await take(await receive())

    async def _go_on(self) -> None:
        """Replay the conversation over one new connection. Raises `KomilionError` where that is not to be had."""
        self._connected.clear()
        if self.downstream.has_delivered:
            self.session.conversation.answered()
        for event in self._give_up("provider_cut"):
            await self.session.emit(event)
        await self.meter.settled()
        if self._is_second:
            raise ProviderError
        self._is_second = True
        assert self._upstream is not None
        await self._upstream.close()
        self._upstream = await Upstream.connect(self._offer)
        await self._replay()
        self._connected.set()

    async def _replay(self) -> None:
        conversation = self.session.conversation
        await self._configure()
        for item in conversation.items.values():
            self.downstream.known.add(item["id"])
            await self._send(dump({"type": "conversation.item.create", "item": item}))
        frames = list(conversation.unanswered)
        for frame in frames:
            await self._send(frame)
        committed = conversation.committed_frames
        if self._has_committed or (committed and committed == len(frames) and not self._detects_turns()):
            await self._send(dump({"type": "input_audio_buffer.commit"}))
        if conversation.asked is not None:
            await self._send(dump(conversation.asked))

    def _detects_turns(self) -> bool:
        heard = (self.session.conversation.config.get("audio") or {}).get("input") or {}
        return heard.get("turn_detection", "by default") is not None

    def _give_up(self, then: Outcome) -> list[Event]:
        """Charge what was delivered of the responses that run; returns the events that end them."""
        return list(self._ends_of_all(then))

    def _ends_of_all(self, then: Outcome) -> Iterator[Event]:
        for response_id in list(self.meter.reckoning.answers):
            error = {"type": "server_error", "code": "provider_dropped"}
            response = {
                "object": "realtime.response",
                "id": response_id,
                "status": "failed",
                "status_details": {"type": "failed", "error": error},
                "output": [],
            }
            self.meter.ended(response, self.downstream.detail("failed"), then)
            yield {"type": "response.done", "response": response}
        self.downstream.all_ended()

    async def _configure(self) -> None:
        """Tell the provider what the session is to be, where that is more than its default."""
        config = self.session.conversation.config
        self.downstream.begin(waits_for_update=len(config) > 1)
        if len(config) > 1:
            await self._send(dump({"type": "session.update", "session": await self._upstream_config(config)}))

    async def _upstream_config(self, session: Event) -> Event:
        """A `session` for the provider. Raises `BadRequest` for a transcription model that has no price here."""
        config = {name: value for name, value in session.items() if name != "model"}
        heard = (config.get("audio") or {}).get("input") or {}
        if heard.get("transcription"):
            try:
                upstream_id = await self.transcribers.use(heard["transcription"]["model"])
            except (UnknownModel, ModelNotAllowed) as error:
                raise BadRequest(error.message, param="session.audio.input.transcription.model") from None
            transcription = {**heard["transcription"], "model": upstream_id}
            config = {**config, "audio": {**config["audio"], "input": {**heard, "transcription": transcription}}}
        return config

    def _count(self, kind: str, event: Event, text: str) -> None:
        """What the event adds to the input of the next answer."""
        reckoning = self.meter.reckoning
        if kind == "session.update":
            reckoning.configure(self.session.conversation.config, len(text))
        elif kind == "response.create":
            reckoning.said_bytes += len(dump(event["response"])) if event.get("response") else 0
        elif kind == "conversation.item.create":
            for part in event["item"].get("content") or []:
                if part["type"] == "input_image":
                    reckoning.images += 1
                elif part.get("audio"):
                    reckoning.heard_chars += len(part["audio"])
                else:
                    reckoning.said_bytes += len(dump(part))
            reckoning.said_bytes += len(str(event["item"].get("output", "")))
