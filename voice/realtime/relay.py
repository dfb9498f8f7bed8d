"""The engine that lets a realtime provider answer: the client's events go there, its events come back, in order.

What goes up was checked (`events`), is paid for ahead (`Meter.covers`) and is written anew, but for audio, which passes
as it came. What comes down passes too, with our id and model in `session` objects, without the provider's own trouble
(`relay_events`), and metered (`Meter`).

Where the provider drops the connection, what ran is charged as far as it was delivered and ends as `failed`, and the
conversation is replayed over one new connection. Where there is none, or it is dropped as well before it answered,
another engine takes over if nothing was answered yet; else the session ends with 1011.
"""

import asyncio
import logging
from collections.abc import Sequence

from komilion.common.clock import monotonic_s
from komilion.common.errors import (
    BadRequest,
    KomilionError,
    ModelNotAllowed,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    UnknownModel,
)
from komilion.common.numbers import numbers
from komilion.common.tasks import spawn
from routing.catalog.voice import VoiceOffer
from routing.gateway.types import Outcome
from voice import offer_health
from voice.realtime.ends import End
from voice.realtime.event_ids import EventIds
from voice.realtime.events import Event, dump
from voice.realtime.meter import HEARD_S, Meter
from voice.realtime.modes import CHARS_PER_S
from voice.realtime.reckoning import LEAST_S, TAG, Answer
from voice.realtime.relay_events import Downstream
from voice.realtime.replay import act_out, audio_again, ended_by_drop
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
# What makes the input of the next answer, or of a transcription, larger.
GROWS = frozenset({"session.update", "conversation.item.create", "input_audio_buffer.commit"})
REPLAYED = GROWS | {"input_audio_buffer.clear"}  # of what went up before a connection was lost, to the next one
ANSWERS_MOST = 8  # that were asked for or run; of the conversation itself there can be one


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
        self._is_lost = False  # the connection, for good
        self._is_second = False  # connection without an answer since the first one dropped
        self._paid_chars = 0  # of audio that may be heard in all before the next look at the hold
        self.ids = EventIds()

    # Engine

    @property
    def model(self) -> str:
        """The catalogue's id."""
        return self._offer.model_id

    async def open(self) -> None:
        """Hold for the first offer that opens a connection."""
        error: KomilionError = ProviderError()
        async with offer_health.in_order(self.session.services, self._offers) as offers:
            for offer in offers:
                try:
                    await self._open(offer)
                except (ProviderError, ProviderUnavailable, ProviderTimeout) as failed:
                    error = failed
                else:
                    return
        raise error

    async def start(self) -> None:
        """Begin to read, after what was said before, if anything was.

        The provider's `session.created` is ours as soon as it has taken the configuration.
        """
        for item in self.session.conversation.items.values():  # of an engine that was here before
            self.meter.reckoning.said.item(item)
        await self._replay()
        self._connected.set()
        self._reading = spawn(self._read(), name="realtime-upstream")

    async def ready(self) -> None:
        """There is a connection, or never will be one again: what comes now goes to this one, or is replayed to the
        next.
        """
        if not self._connected.is_set():
            await self._connected.wait()

    async def append(self, raw: str, audio_chars: int) -> None:
        """Audio passes as it came. What is lost with a connection is in the conversation, to be replayed."""
        connection, buffer = self._upstream, self.meter.reckoning.buffer
        self.session.conversation.heard(raw, buffer.heard_chars)
        buffer.append(audio_chars)
        if buffer.heard_chars > self._paid_chars and not await self._pays_for_audio():
            return
        if self._upstream is connection:  # else it was replayed to another one
            await self._send(raw)

    async def client_event(self, event: Event) -> None:
        """Write it anew, with an id of ours and the provider's own name for a transcription model. What is not paid for
        is not sent: the session ends.
        """
        connection, kind = self._upstream, event["type"]
        if kind == "session.update":
            event = {**event, "session": await self._upstream_config(event["session"])}
        if kind == "response.create":
            answer = await self._asking(event)
            if answer is not None:
                await self._connected.wait()
                await self._ask(event, answer)
            return
        event_id = self.ids.of(event)
        text = dump({**event, "event_id": event_id})
        reckoning = self.meter.reckoning
        if kind == "session.update":
            reckoning.configure(self.session.conversation.config, text, event_id)
        elif kind == "conversation.item.create":
            reckoning.item(event["item"])
        elif kind == "input_audio_buffer.commit":
            reckoning.buffer.commit(event_id)
        elif kind == "input_audio_buffer.clear":
            reckoning.buffer.clear(event_id)
        if kind in GROWS and not (await self.meter.covers(0) and await self.transcribers.covers()):
            return
        await self._connected.wait()
        if self._upstream is connection or kind not in REPLAYED:
            await self._send(text)

    async def close(self, end: End) -> None:
        """Cancel what runs and wait a moment for its usage; what is not told is charged as counted."""
        self.is_closing = self.meter.is_closing = True
        then = ENDS.get(end.reason, "completed")
        if self._upstream is not None and not self._is_lost:
            self.downstream.then = then
            for response_id in list(self.meter.reckoning.answers):
                await self.cancel(response_id)
            await self.downstream.wait_until_idle(numbers.REALTIME_CLOSE_TIMEOUT_S)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        self._give_up("provider_cut" if self._is_lost else then)
        await self.meter.close()
        await self.transcribers.close()
        if self._upstream is not None:
            await self._upstream.close()

    # for `Downstream`

    async def cancel(self, response_id: str) -> None:
        """Have the provider end a response."""
        await self._send(dump({"type": "response.cancel", "response_id": response_id}))

    def refused(self, event_id: str | None) -> None:
        """An event of ours was not understood. None: one without an id, and so a piece of audio; whatever else goes up
        has one.
        """
        if event_id is not None:
            self.meter.reckoning.refused(event_id)
            self.transcribers.follow()

    def answered(self) -> None:
        """A response has ended well: another connection may be lost."""
        self._is_second = False

    def committed(self, item_id: str) -> None:
        """The audio is an item."""
        buffer = self.meter.reckoning.buffer
        self.transcribers.committed(item_id, buffer.committed())
        self.session.conversation.committed(buffer.kept_chars)

    def cleared(self) -> None:
        """The audio was thrown away."""
        buffer = self.meter.reckoning.buffer
        buffer.cleared()
        self.session.conversation.cleared(buffer.kept_chars)

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

    async def _open(self, offer: VoiceOffer) -> None:
        """Hold for an offer and connect to it. Raises `KomilionError` with nothing held."""
        meter = Meter(self.session.tab, offer, self.session.fail)
        meter.reckoning.configure(self.session.conversation.config, dump(self.session.conversation.config))
        await meter.open()
        try:
            self._upstream = await Upstream.connect(offer, self.session.services)
        except BaseException:
            await meter.close()
            raise
        self._offer, self._meter = offer, meter
        self._transcribers = Transcribers(self.session, offer.provider, meter.reckoning, meter.make_room)
        self._downstream = Downstream(self, meter, self._transcribers)

    async def _asking(self, event: Event) -> Answer | None:
        """The answer to a `response.create`, where what it may cost is held. Raises `BadRequest` where too many run."""
        reckoning = self.meter.reckoning
        if len(reckoning.asked) + len(reckoning.answers) >= ANSWERS_MOST:
            raise BadRequest(f"At most {ANSWERS_MOST} responses can be asked for or in progress at the same time.")
        answer = reckoning.asking(event.get("response") or {}, self.ids.of(event))
        return answer if await self.meter.covers(LEAST_S, answer) else None

    async def _ask(self, event: Event, answer: Answer) -> None:
        if self._is_lost:
            self.session.conversation.asked.append(event)
            return
        answer.asked_by = event
        self.meter.reckoning.asked.append(answer)
        wishes = {**(event.get("response") or {}), "metadata": {TAG: answer.event_id}}
        await self._send(dump({**event, "response": wishes, "event_id": answer.event_id}))

    async def _pays_for_audio(self) -> bool:
        """Whether what was heard, and a second more, is paid for; looked at once a second of audio."""
        buffer = self.meter.reckoning.buffer
        buffer.look(monotonic_s())
        self._paid_chars = buffer.heard_chars + HEARD_S * CHARS_PER_S
        return await self.meter.covers(0) and await self.transcribers.covers()

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
                    self._is_lost = True
                    self.downstream.all_ended()
                    return
                await self._go_on()
        except KomilionError as failed:
            error = failed
        except Exception:
            log.exception("realtime provider not understood", extra={"provider": self._offer.provider})
        self._is_lost = True
        self.session.conversation.asked += map(dict, self.meter.reckoning.unanswered)
        await act_out(self.session, self.meter.reckoning.buffer)
        _ = spawn(self.session.fail_over(self, error), name="realtime-fail-over")
        self._connected.set()  # whoever waits to send finds that being done

    async def _take_all(self) -> None:
        assert self._upstream is not None
        receive, take = self._upstream.receive, self.downstream.take
        while True:
            await take(await receive())

    async def _go_on(self) -> None:
        """Replay the conversation over one new connection. Raises `KomilionError` where that is not to be had."""
        self._connected.clear()
        if self.meter.reckoning.is_answering:
            self.session.conversation.answered()
        self.session.conversation.asked += map(dict, self.meter.reckoning.unanswered)
        for event in self._give_up("provider_cut"):
            await self.session.emit(event)
        await self.meter.settled()
        if self._is_second:
            raise ProviderError
        self._is_second = True
        assert self._upstream is not None
        await self._upstream.close()
        self._upstream = await Upstream.connect(self._offer, self.session.services)
        await self._replay()
        self._connected.set()

    async def _replay(self) -> None:
        conversation = self.session.conversation
        await self._configure()
        for item in conversation.items.values():
            self.downstream.known.add(item["id"])
            await self._send(dump({"type": "conversation.item.create", "item": item}))
        buffer = self.meter.reckoning.buffer
        commits = await act_out(self.session, buffer)
        for text in audio_again(conversation, buffer, self.ids, commits):
            await self._send(text)
        while conversation.asked:
            answer = await self._asking(conversation.asked[0])
            if answer is None:
                return
            await self._ask(conversation.asked.pop(0), answer)

    def _give_up(self, then: Outcome) -> list[Event]:
        """Charge what was used of the responses that run or were asked for; returns the events that end them."""
        is_dropped = then == "provider_cut"
        status = "failed" if is_dropped else "cancelled"
        events = list(map(ended_by_drop, self.meter.reckoning.answers))
        for event in events:
            self.meter.ended({**event["response"], "status": status}, self.downstream.detail(status), then)
        if is_dropped:
            self.meter.reckoning.asked.clear()
            self.transcribers.dropped()
        else:
            self.meter.left(self.downstream.detail(status), then)
            self.transcribers.left(then)
        self.downstream.all_ended()
        return events

    async def _configure(self) -> None:
        """Tell the provider what the session is to be, where that is more than its default."""
        config = self.session.conversation.config
        self.downstream.begin(waits_for_update=len(config) > 1)
        self.meter.reckoning.connect()
        if len(config) > 1:
            try:
                session = await self._upstream_config(config)
            except BadRequest:  # another provider's model was to write down what is said; the talk goes on without it
                self.session.conversation.configure({"audio": {"input": {"transcription": None}}})
                config = self.session.conversation.config
                session = await self._upstream_config(config)
            update: Event = {"type": "session.update", "session": session}
            update["event_id"] = event_id = self.ids.of(update)
            self.meter.reckoning.send(config, event_id)
            await self._send(dump(update))

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
