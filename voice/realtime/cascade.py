"""The engine that is put together from parts: voice activity -> speech-to-text -> chat -> text-to-speech.

It speaks the same events as the relay. What it hears becomes turns (`cascade_ears`); a turn is written down, becomes an
item of the conversation and is answered (`cascade_answer`); who speaks into an answer cuts it. Everything it does
beside reading frames runs in tasks: one that hears, in the order of the turns, and one for the answer that runs.

Other than OpenAI's: the transcript of a turn is always told, whether it was asked for or not, and a response begins
after it; a turn in which nothing was said is not answered; `idle_timeout_ms` has no effect.
"""

import asyncio
from contextlib import aclosing, suppress

from komilion.common.audio.pcm import Samples
from komilion.common.errors import BadRequest, KomilionError, ProviderTimeout
from komilion.common.ids import new_id
from komilion.common.tasks import spawn
from voice.audio import vad
from voice.realtime.cascade_ahead import Reserve, demand_tools
from voice.realtime.cascade_answer import ENDS_SESSION, Answer
from voice.realtime.cascade_chat import items_of
from voice.realtime.cascade_ears import Began, Ears, Ended
from voice.realtime.cascade_hearing import Pace, hear
from voice.realtime.cascade_parts import Calls, Parts
from voice.realtime.cascade_session import complete
from voice.realtime.cascade_spoken import heard_until
from voice.realtime.conversation import ROOT
from voice.realtime.ends import End
from voice.realtime.events import Event, refusal
from voice.realtime.in_order import InOrder
from voice.realtime.session import Session

REMEMBERED = 20  # spoken items that can be truncated
TURNS_MOST = 4  # that are written down or wait to be; then the client waits,
TURN_WAIT_S = 30.0  # at most so long: then its turn is dropped
SETTLING_MOST = 8  # answers that were cut and are not charged yet; then who asks for another one waits
TOO_SLOW = "What is said is written down more slowly than it is spoken; this turn is dropped. Say it again later."


class CascadeEngine:
    """`voice.realtime.session.Engine` over `parts`."""

    def __init__(self, session: Session, parts: Parts) -> None:
        self.session = session
        self.calls = Calls(session, parts)
        self._reserve = Reserve(session, parts)
        self._ears = Ears()
        self._pace = Pace()
        self._hearing = InOrder("cascade-hearing")
        self._behind = InOrder("cascade-settling")
        self._answer: Answer | None = None
        self._answering: asyncio.Task[None] | None = None
        self._spoken: dict[str, Answer] = {}  # by item
        self._turn_id = new_id("item")  # of the turn that is being heard
        self._owes = False  # an answer to what was said
        self._is_closing = False

    # Engine

    @property
    def model(self) -> str:
        """The policy or model that thinks."""
        return self.calls.parts.thinks

    async def open(self) -> None:
        """The wallet must pay for the first turn."""
        self._configure()
        await asyncio.to_thread(vad.load)
        await self._reserve.place()

    async def start(self) -> None:
        """Begin, or go on with a conversation that another engine began."""
        if not self.session.is_created:
            await self.session.emit({"type": "session.created", "session": self._session_object()})
            return
        conversation = self.session.conversation
        committed = conversation.committed_frames
        for number, frame in enumerate(conversation.take_unanswered(), start=1):
            await self.append(frame, 0)
            if number == committed and not self._ears.detects_turns:
                await self._commit(self._ears.commit())
        asked, conversation.asked = conversation.asked, []
        for event in asked:
            try:
                self._begin(event.get("response") or {})
            except BadRequest as error:
                await self.session.complain(error, event.get("event_id"))

    async def ready(self) -> None:
        """Always."""

    async def append(self, raw: str, audio_chars: int) -> None:
        """Hear it; whoever sends faster than it may waits."""
        try:
            async with aclosing(hear(self._ears, self._pace, raw)) as events:
                async for event in events:
                    await (self._began(event) if isinstance(event, Began) else self._ended(event))
        except BadRequest as error:
            await self.session.complain(error)

    async def client_event(self, event: Event) -> None:
        """Anything but audio. Raises `BadRequest`."""
        match event["type"]:
            case "session.update":
                session = self.session
                await demand_tools(session.services, session.caller, self.calls.parts, event["session"])
                self._configure()
                await self.session.emit({"type": "session.updated", "session": self._session_object()})
                self._answer_what_is_owed()
            case "input_audio_buffer.commit":
                await self._commit(self._ears.commit())
            case "input_audio_buffer.clear":
                self._ears.clear()
                await self.session.emit({"type": "input_audio_buffer.cleared"})
                self._answer_what_is_owed()
            case "conversation.item.create":
                await self._add_item(event["item"], event.get("previous_item_id"))
            case "conversation.item.retrieve":
                item = self._item(event["item_id"], "item_retrieve_invalid_item_id")
                await self.session.emit({"type": "conversation.item.retrieved", "item": item})
            case "conversation.item.delete":
                self._item(event["item_id"], "item_delete_invalid_item_id")
                await self.session.emit({"type": "conversation.item.deleted", "item_id": event["item_id"]})
            case "conversation.item.truncate":
                await self._truncate(event)
            case "response.create":
                await self._behind.room(SETTLING_MOST)
                self._begin(event.get("response") or {})
            case "response.cancel":
                await self._cancel(event.get("response_id"))

    async def close(self, end: End) -> None:
        """Cut the answer, and let everything settle."""
        self._is_closing = True
        await self._interrupt("client_cancelled")
        await self._hearing.done()
        await self._behind.done()
        await self._reserve.give_back()
        with suppress(OSError):
            await self.session.tab.report()

    # hearing

    async def _began(self, event: Began) -> None:
        self._turn_id = new_id("item")
        await self.session.emit(
            {"type": "input_audio_buffer.speech_started", "audio_start_ms": event.at_ms, "item_id": self._turn_id}
        )
        if self._interrupts():
            await self._interrupt("turn_detected")

    async def _ended(self, event: Ended) -> None:
        await self.session.emit(
            {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": event.at_ms, "item_id": self._turn_id}
        )
        await self._commit(event.samples, is_answered=bool(self._detection().get("create_response", True)))

    async def _commit(self, samples: Samples, *, is_answered: bool = False) -> None:
        """A turn becomes an item, which is then written down."""
        try:
            async with asyncio.timeout(TURN_WAIT_S):
                await self._hearing.room(TURNS_MOST)
        except TimeoutError:
            await self.session.complain(ProviderTimeout(TOO_SLOW))
            return
        item_id, self._turn_id = self._turn_id, new_id("item")
        self.session.conversation.expect(item_id, "user")
        previous = self.session.conversation.before(item_id)
        await self.session.emit(
            {"type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": item_id}
        )
        item: Event = {"id": item_id, "object": "realtime.item", "type": "message", "status": "completed"}
        item |= {"role": "user", "content": [{"type": "input_audio", "transcript": None}]}
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self.session.emit({"type": kind, "previous_item_id": previous, "item": item})
        self._hearing.add(self._write_down(item_id, samples, is_answered=is_answered))

    async def _write_down(self, item_id: str, samples: Samples, *, is_answered: bool) -> None:
        place: Event = {"item_id": item_id, "content_index": 0}
        await self._reserve.give_back()
        try:
            text = await self.calls.hear(samples)
        except KomilionError as error:
            told = {"type": error.type, "code": error.reason, "message": error.message, "param": error.param}
            await self.session.emit(
                {"type": "conversation.item.input_audio_transcription.failed", **place, "error": told}
            )
            if isinstance(error, ENDS_SESSION):
                self.session.fail(error)
            self._written_down()
            return
        usage = {"type": "duration", "seconds": round(len(samples) / 16_000, 3)}
        await self.session.emit(
            {
                "type": "conversation.item.input_audio_transcription.completed",
                **place,
                "transcript": text,
                "usage": usage,
            }
        )
        self._owes |= is_answered and bool(text)
        self._written_down()

    def _written_down(self) -> None:
        self._answer_what_is_owed()
        if self._answer is None:  # whose end would tell what this cost too
            self._behind.add(self._rest())

    # answering

    def _answer_what_is_owed(self) -> None:
        """A turn that ended while another answer ran, or while somebody had begun to speak again: what is being said
        now would cut the answer at once.
        """
        if self._owes and self._answer is None and not (self._ears.is_in_turn and self._interrupts()):
            self._begin({})

    def _begin(self, wishes: Event) -> None:
        if self._answer is not None:
            message = f"The response {self._answer.id} is still in progress; wait until it is done, or cancel it."
            raise refusal("conversation_already_has_active_response", message)
        if self._is_closing or self.session.is_ending:
            return
        config = {**self.session.conversation.config, **wishes}
        if "audio" in wishes:
            config["audio"] = {**(self.session.conversation.config.get("audio") or {}), **wishes["audio"]}
        conversation = self.session.conversation
        items = None if wishes.get("input") is None else items_of(wishes["input"], conversation.items)
        self._owes = self._owes and wishes.get("conversation") == "none"
        self._answer = answer = Answer(self, config, wishes, items)
        self._answering = running = spawn(self._run(answer), name="cascade-answer")
        self._behind.add(self._settle(answer, running))

    async def _run(self, answer: Answer) -> None:
        await self._hearing.done()  # what was said before belongs to what is answered
        await self._reserve.give_back()
        await answer.run()

    async def _settle(self, answer: Answer, running: "asyncio.Task[None]") -> None:
        """Until the answer has ended or was cut, and what it used is charged."""
        await asyncio.wait({running})
        if self._answer is answer:
            self._answer = None
            self._remember(answer)
            self._answer_what_is_owed()
        await self._rest(answer.id)

    async def _rest(self, response_id: str | None = None) -> None:
        """Tell what was charged; where nothing runs any more, the next turn must be paid for."""
        await self.session.tab.report(response_id)
        await self._reserve.follow(self._is_at_rest)

    def _is_at_rest(self) -> bool:
        return not (self._answer or self._hearing.waiting or self._is_closing or self.session.is_ending)

    async def _interrupt(self, reason: str) -> None:
        """Cut the answer that runs; what it used settles behind."""
        answer, running = self._answer, self._answering
        if answer is None or running is None:
            return
        self._answer = self._answering = None
        await answer.cut(reason)
        running.cancel()
        self._remember(answer)

    async def _cancel(self, response_id: str | None) -> None:
        if self._answer is None or response_id not in (None, self._answer.id):
            raise refusal("response_cancel_not_active", "There is no such response in progress.", "response_id")
        await self._interrupt("client_cancelled")

    def _remember(self, answer: Answer) -> None:
        if answer.message is not None:
            self._spoken[answer.message.id] = answer
            while len(self._spoken) > REMEMBERED:
                del self._spoken[next(iter(self._spoken))]

    # items

    async def _add_item(self, item: Event, previous: str | None) -> None:
        conversation = self.session.conversation
        try:
            self._check_item(item, previous)
        except BadRequest:
            conversation.delete(item["id"])
            raise
        whole = {"object": "realtime.item", "status": "completed", **item}
        told = {"previous_item_id": conversation.before(item["id"]), "item": whole}
        await self.session.emit({"type": "conversation.item.added", **told})
        await self.session.emit({"type": "conversation.item.done", **told})

    def _check_item(self, item: Event, previous: str | None) -> None:
        items = self.session.conversation.items
        if any(part["type"] in {"input_audio", "output_audio"} for part in item.get("content") or []):
            raise BadRequest("Audio is taken by `input_audio_buffer.append` alone.", param="item.content")
        if previous not in (None, ROOT) and (previous not in items or previous == item["id"]):
            raise BadRequest(f"There is no item {previous!r} to come behind.", param="previous_item_id")
        if item["type"] == "function_call_output" and not any(
            other["type"] == "function_call" and other["call_id"] == item["call_id"] for other in items.values()
        ):
            raise BadRequest(f"There is no call {item['call_id']!r} of a function.", param="item.call_id")

    def _item(self, item_id: str, otherwise: str) -> Event:
        item = self.session.conversation.items.get(item_id)
        if item is None:
            raise refusal(otherwise, f"There is no item {item_id!r}.", "item_id")
        return {"object": "realtime.item", "status": "completed", **item}

    async def _truncate(self, event: Event) -> None:
        """What was not played was not said."""
        item_id, until_ms = event["item_id"], event["audio_end_ms"]
        answer, item = self._spoken.get(item_id), self.session.conversation.items.get(item_id)
        if answer is None or answer.message is None or not answer.is_spoken:
            raise refusal("item_truncate_invalid_item_id", f"There is no spoken item {item_id!r}.", "item_id")
        if event["content_index"]:
            raise refusal("invalid_value", "The sound of an item is its first content.", "content_index")
        if until_ms > answer.spoken_ms:
            message = f"There are {answer.spoken_ms} ms of sound, not {until_ms}."
            raise refusal("invalid_value", message, "audio_end_ms")
        if item is not None:
            heard = heard_until(answer.message, until_ms)
            item["content"] = [{"type": "output_text", "text": heard}] if heard else []
        place = {"item_id": item_id, "content_index": event["content_index"], "audio_end_ms": until_ms}
        await self.session.emit({"type": "conversation.item.truncated", **place})

    # the session

    def _configure(self) -> None:
        heard = (self.session.conversation.config.get("audio") or {}).get("input") or {}
        self._ears.configure(heard)
        self.calls.configure(heard.get("transcription"))

    def _interrupts(self) -> bool:
        return bool(self._detection().get("interrupt_response", True))

    def _detection(self) -> Event:
        heard = (self.session.conversation.config.get("audio") or {}).get("input") or {}
        return heard.get("turn_detection") or {}

    def _session_object(self) -> Event:
        return {
            **complete(self.session.conversation.config),
            "object": "realtime.session",
            "id": self.session.id,
            "model": self.model,
        }
