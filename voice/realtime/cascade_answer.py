"""One answer of the cascade: a chat that is streamed, spoken sentence by sentence, told as the events of one response.

The chat is read as fast as it comes; its sentences wait in line for the voice, which is at most `AHEAD_S` ahead of what
the client can have played, so that an answer that is interrupted has not been spoken to its end for nothing. An answer
that is cut tells its end at once; what ran then settles behind it.
"""

import asyncio
import base64
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples
from komilion.common.errors import (
    BadRequest,
    Forbidden,
    InsufficientBalance,
    InternalError,
    KomilionError,
    ProviderError,
    RateLimited,
    Unauthenticated,
)
from komilion.common.ids import new_id
from routing.gateway.inside import ChatRefused, Cost, Finished, TextDelta, ToolCallDelta, ask_in_slot
from routing.providers.speech import PCM_RATE_HZ, Speaking
from voice.realtime.cascade_chat import chat_of
from voice.realtime.cascade_parts import Calls
from voice.realtime.cascade_text import Sentences, speakable
from voice.realtime.events import Event
from voice.realtime.session import Session

log = logging.getLogger(__name__)

USUAL_VOICE = "alloy"
AHEAD_S = 8.0
PIECE_MS = 200  # of sound in one event
G711_RATE_HZ = 8_000
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
ENDS_SESSION = (InsufficientBalance, Unauthenticated, Forbidden)
REFUSALS: dict[int, type[KomilionError]] = {
    error.status: error for error in (Unauthenticated, InsufficientBalance, Forbidden, RateLimited)
}
G711: dict[str, Callable[[Samples], bytes]] = {"audio/pcmu": pcm.samples_to_mu_law, "audio/pcma": pcm.samples_to_a_law}


class Owner(Protocol):
    """Whose answer it is: the engine."""

    session: Session
    calls: Calls


@dataclass(slots=True)
class Said:
    """A sentence, and where its sound ends in the item's audio."""

    text: str
    end_ms: int


@dataclass(slots=True)
class Item:
    """An item of the answer's output. `said` is of a message that is spoken."""

    id: str
    index: int
    text: str = ""
    said: list[Said] = field(default_factory=list)
    is_done: bool = False


class Answer:
    """`config` is the session's, with the wishes of this response over it. `items` are what is answered, the whole
    conversation where None.
    """

    def __init__(self, owner: Owner, config: Event, wishes: Event, items: list[Event] | None) -> None:
        self.id = new_id("resp")
        self._items = items
        self._is_begun = False
        self.is_over = False  # told to its end; nothing more of it may be
        self.message: Item | None = None
        self._session = owner.session
        self._calls = owner.calls
        self._config = config
        self._wishes = wishes
        self._is_beside = wishes.get("conversation") == "none"  # nothing of it is in the conversation
        self.is_spoken = config.get("output_modalities", ["audio"]) == ["audio"]
        self._spoken = (config.get("audio") or {}).get("output") or {}
        self._output: list[Event] = []
        self._tools: dict[int, list[str]] = {}  # id, name, arguments by index
        self._sentences: asyncio.Queue[str | None] = asyncio.Queue()
        self._finished: Finished | None = None
        self._sent_ms = 0
        self._began_s = 0.0
        self._form = (self._spoken.get("format") or {}).get("type", "audio/pcm")

    # the whole of it

    async def run(self) -> None:
        """From `response.created` to `response.done`, with whatever goes wrong."""
        await self._begin()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._think())
                if self.is_spoken:
                    group.create_task(self._speak())
        except* KomilionError as errors:
            await self._fail(_first(errors))
        except* Exception as errors:
            log.exception("answer failed", exc_info=errors, extra={"session_id": self._session.id})
            await self._fail(InternalError())
        else:
            await self._complete()

    async def cut(self, reason: str) -> None:
        """The answer ends here: tell so. Whoever runs it cancels it afterwards."""
        if not self.is_over:
            await self._begin()
            await self._close_message("incomplete")
            await self._done("cancelled", {"type": "cancelled", "reason": reason})

    async def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            await self._emit("response.created", response=self._response("in_progress"))

    # thinking

    async def _think(self) -> None:
        items = self._session.conversation.items.values() if self._items is None else self._items
        body = chat_of(self._calls.parts.thinks, self._config, items, is_spoken=self.is_spoken)
        cost, sentences = Cost(), Sentences()
        chat = ask_in_slot(self._session.opening.authenticate, body, self._session.services, cost=cost)
        try:
            async with aclosing(chat) as events:
                async for event in events:
                    if isinstance(event, TextDelta):
                        await self._take_text(event.text, sentences)
                    elif isinstance(event, ToolCallDelta):
                        self._take_call(event)
                    else:
                        self._finished = event
        except ChatRefused as refused:
            raise _error_of(refused) from refused
        finally:
            self._calls.thought(cost)
        for sentence in sentences.finish():
            self._sentences.put_nowait(sentence)
        self._sentences.put_nowait(None)

    async def _take_text(self, text: str, sentences: Sentences) -> None:
        if self.is_spoken:
            for sentence in sentences.feed(text):
                self._sentences.put_nowait(sentence)
            return
        message = await self._open_message()
        message.text += text
        await self._emit_part("response.output_text.delta", message, delta=text)

    def _take_call(self, event: ToolCallDelta) -> None:
        call = self._tools.setdefault(event.index, ["", "", ""])
        call[0] = call[0] or event.id
        call[1] = call[1] or event.name
        call[2] += event.arguments

    # speaking

    async def _speak(self) -> None:
        while (sentence := await self._sentences.get()) is not None:
            words = speakable(sentence)
            if not words:
                continue
            await self._wait_for_playing()
            message = await self._open_message()
            before = " " if message.text else ""
            message.text += before + sentence
            await self._emit_part("response.output_audio_transcript.delta", message, delta=before + sentence)
            options = Speaking(
                words, self._spoken.get("voice") or "alloy", "pcm", float(self._spoken.get("speed") or 1)
            )
            sound = _Sound(self, message)
            await self._calls.say(options, sound.take)
            await sound.finish()
            message.said.append(Said(before + sentence, self._sent_ms))

    async def _wait_for_playing(self) -> None:
        ahead_s = self._sent_ms / 1000 - (asyncio.get_running_loop().time() - self._began_s)
        if self._sent_ms and ahead_s > AHEAD_S:
            await asyncio.sleep(ahead_s - AHEAD_S)

    async def send_sound(self, message: Item, samples: Samples, rate_hz: int) -> None:
        """A piece of the voice, in the client's format."""
        if not self._sent_ms:
            self._began_s = asyncio.get_running_loop().time()
        self._sent_ms += pcm.duration_ms(samples, rate_hz)
        data = G711[self._form](samples) if self._form in G711 else pcm.to_bytes(samples)
        await self._emit_part("response.output_audio.delta", message, delta=base64.b64encode(data).decode())

    @property
    def spoken_ms(self) -> int:
        """How much sound the client got."""
        return self._sent_ms

    @property
    def rate_hz(self) -> int:
        """Of what the client gets."""
        return G711_RATE_HZ if self._form in G711 else PCM_RATE_HZ

    # the end

    async def _complete(self) -> None:
        await self._close_message("completed")
        for item_id, name, arguments in self._tools.values():
            await self._tell_call(item_id or new_id("call"), name, arguments)
        reason = INCOMPLETE.get(self._finished.finish_reason if self._finished else "")
        if reason:
            await self._done("incomplete", {"type": "incomplete", "reason": reason})
        else:
            await self._done("completed", None)

    async def _fail(self, error: KomilionError) -> None:
        await self._close_message("incomplete")
        told = {"type": error.type, "code": error.reason, "message": error.message}
        await self._done("failed", {"type": "failed", "error": told})
        if isinstance(error, ENDS_SESSION):
            self._session.fail(error)

    async def _done(self, status: str, details: Event | None) -> None:
        await self._emit("response.done", response=self._response(status, details))
        self.is_over = True

    async def _open_message(self) -> Item:
        if self.message is None:
            self.message = message = Item(new_id("item"), 0)
            if not self._is_beside:
                self._session.conversation.expect(message.id, "assistant")
            await self._emit("response.output_item.added", output_index=0, item=self._message("in_progress"))
            await self._emit_item("conversation.item.added", self._message("in_progress"))
            part = {"type": "audio", "transcript": ""} if self.is_spoken else {"type": "text", "text": ""}
            await self._emit_part("response.content_part.added", message, part=part)
        return self.message

    async def _close_message(self, status: str) -> None:
        message = self.message
        if message is None or message.is_done or self.is_over:
            return
        message.is_done = True
        if self.is_spoken:
            await self._emit_part("response.output_audio.done", message)
            await self._emit_part("response.output_audio_transcript.done", message, transcript=message.text)
            part = {"type": "audio", "transcript": message.text}
        else:
            await self._emit_part("response.output_text.done", message, text=message.text)
            part = {"type": "text", "text": message.text}
        await self._emit_part("response.content_part.done", message, part=part)
        whole = self._message(status)
        self._output.append(whole)
        await self._emit("response.output_item.done", output_index=0, item=whole)
        await self._emit_item("conversation.item.done", whole)

    async def _tell_call(self, call_id: str, name: str, arguments: str) -> None:
        index = len(self._output)
        item = {"id": new_id("item"), "object": "realtime.item", "type": "function_call", "call_id": call_id}
        item |= {"name": name, "arguments": "", "status": "in_progress"}
        place: Event = {"item_id": item["id"], "output_index": index, "call_id": call_id}
        whole = {**item, "arguments": arguments, "status": "completed"}
        self._output.append(whole)
        await self._emit("response.output_item.added", output_index=index, item=item)
        await self._emit_item("conversation.item.added", item)
        await self._emit("response.function_call_arguments.delta", **place, delta=arguments)
        await self._emit("response.function_call_arguments.done", **place, name=name, arguments=arguments)
        await self._emit("response.output_item.done", output_index=index, item=whole)
        await self._emit_item("conversation.item.done", whole)

    # events

    async def _emit(self, kind: str, **fields: Any) -> None:
        if not self.is_over:
            its = {} if "response" in fields else {"response_id": self.id}
            await self._session.emit({"type": kind, **its, **fields})

    async def _emit_item(self, kind: str, item: Event) -> None:
        if not self.is_over and not self._is_beside:
            previous = self._session.conversation.before(item["id"])
            await self._session.emit({"type": kind, "previous_item_id": previous, "item": item})

    async def _emit_part(self, kind: str, item: Item, **fields: Any) -> None:
        await self._emit(kind, item_id=item.id, output_index=item.index, content_index=0, **fields)

    def _message(self, status: str) -> Event:
        message = self.message
        assert message is not None
        kind = {"type": "output_audio", "transcript": message.text} if self.is_spoken else {"type": "output_text"}
        if not self.is_spoken:
            kind["text"] = message.text
        content = [] if status == "in_progress" else [kind]
        shape = {"id": message.id, "object": "realtime.item", "type": "message", "role": "assistant"}
        return {**shape, "status": status, "content": content}

    def _response(self, status: str, details: Event | None = None) -> Event:
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": self._output,
            "conversation_id": None if self._is_beside else self._session.id,
            "output_modalities": ["audio"] if self.is_spoken else ["text"],
            "max_output_tokens": self._config.get("max_output_tokens", "inf"),
            "audio": {"output": {"format": _format_of(self._form), "voice": self._spoken.get("voice") or USUAL_VOICE}},
            "metadata": self._wishes.get("metadata"),
            "usage": None if status == "in_progress" else self._usage(),
        }

    def _usage(self) -> Event:
        """Tokens of the chat; what was heard and spoken is paid by seconds and characters (`x_komilion.cost`)."""
        usage = self._finished.usage if self._finished else {}
        read, written = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        details = {"text_tokens": read, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": cached}
        kinds = {"text_tokens": cached, "audio_tokens": 0, "image_tokens": 0}
        return {
            "total_tokens": read + written,
            "input_tokens": read,
            "output_tokens": written,
            "input_token_details": {**details, "cached_tokens_details": kinds},
            "output_token_details": {"text_tokens": written, "audio_tokens": 0},
        }


class _Sound:
    """The bytes of one sentence on their way to events of `PIECE_MS`."""

    def __init__(self, answer: Answer, message: Item) -> None:
        self._answer = answer
        self._message = message
        self._resampler = pcm.Resampler(PCM_RATE_HZ, answer.rate_hz)
        self._rest = b""

    async def take(self, data: bytes) -> None:
        """The next samples at 24 kHz, cut anywhere."""
        data = self._rest + data
        whole = len(data) - len(data) % pcm.BYTES_PER_SAMPLE
        self._rest = data[whole:]
        await self._send(self._resampler.feed(pcm.from_bytes(data[:whole])))

    async def finish(self) -> None:
        """The last of the sentence."""
        await self._send(self._resampler.finish())

    async def _send(self, samples: Samples) -> None:
        rate_hz = self._answer.rate_hz
        step = PIECE_MS * rate_hz // 1000
        for start in range(0, len(samples), step):
            await self._answer.send_sound(self._message, samples[start : start + step], rate_hz)


def _first(errors: BaseExceptionGroup[KomilionError]) -> KomilionError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, KomilionError)
    return error


def _error_of(refused: ChatRefused) -> KomilionError:
    otherwise = ProviderError if refused.status >= 500 else BadRequest
    return REFUSALS.get(refused.status, otherwise)(refused.message)


def _format_of(form: str) -> Event:
    return {"type": form, "rate": PCM_RATE_HZ} if form == "audio/pcm" else {"type": form}
