"""What a realtime provider says, on its way to the client: metered, and without what is between the provider and us."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from komilion.common.errors import KomilionError, ProviderError
from routing.gateway.types import Outcome
from routing.providers.scrub import LEAST_SECRET_BYTES, MASK
from voice.realtime.events import Event, error_event, refusal
from voice.realtime.meter import Meter
from voice.realtime.transcribers import Transcribers
from voice.realtime.upstream import Dropped

if TYPE_CHECKING:
    from voice.realtime.relay import RelayEngine

PASSED = ("response.", "conversation.item.", "input_audio_buffer.")  # beginnings of types that a client may see
HIDDEN = ("response.mcp_", "input_audio_buffer.dtmf")
TEXTS = frozenset(
    (
        "response.output_text.delta",
        "response.output_audio_transcript.delta",
        "response.function_call_arguments.delta",
    )
)
THEIR_OWN = ("model", "id", "prompt", "tracing", "expires_at")  # of a session object: not the client's business
CALLERS_FAULT = "invalid_request_error"
PROVIDERS_FAULT = {"type": "server_error", "code": "provider_error"}


class Downstream:
    """Of one relay; `take` is called with one frame after the other."""

    def __init__(self, relay: "RelayEngine", meter: Meter, transcribers: Transcribers) -> None:
        self.known: set[str] = set()  # ids of items that were replayed: the client knows them
        self.then: Outcome = "completed"  # how what runs is booked when it ends
        self._relay = relay
        self._session = relay.session
        self._meter = meter
        self._transcribers = transcribers
        self._secret = relay.offer.target.api_key
        self._waits_for_update = False
        self._default: Event | None = None  # the `session.created` of a session that is being configured
        self._idle = asyncio.Event()
        self._handlers: dict[str, Callable[[Event], Awaitable[None]]] = {
            "session.created": self._created,
            "session.updated": self._updated,
            "response.created": self._began,
            "response.done": self._done,
            "error": self._error,
            "conversation.item.input_audio_transcription.completed": self._transcribed,
            "conversation.item.input_audio_transcription.failed": self._not_transcribed,
            "input_audio_buffer.committed": self._committed,
            "input_audio_buffer.cleared": self._cleared,
            "input_audio_buffer.speech_started": self._speech_started,
            "input_audio_buffer.speech_stopped": self._speech_stopped,
        }

    def begin(self, *, waits_for_update: bool) -> None:
        """A connection begins. Its configuration is told first; until it is taken, the client hears of no session."""
        self._waits_for_update = waits_for_update

    async def take(self, text: str) -> None:
        """One frame. Raises `Dropped` for what is no event."""
        try:
            event = orjson.loads(text)
            kind = event["type"]
        except (orjson.JSONDecodeError, TypeError, KeyError):
            raise Dropped(None, "no JSON event") from None
        if len(self._secret) >= LEAST_SECRET_BYTES and self._secret in text:
            text = text.replace(self._secret, MASK.decode())
            event = orjson.loads(text)
        if kind == "response.output_audio.delta":
            self._meter.spoke(event["response_id"], len(event["delta"]))
            if not self._relay.is_closing:
                await self._session.emit_audio(text)
            return
        if kind in TEXTS:
            self._meter.wrote(event["response_id"], event["delta"])
        handler = self._handlers.get(kind)
        if handler is not None:
            await handler(event)
        elif kind.startswith(PASSED) and not kind.startswith(HIDDEN):
            await self._pass(event)

    def detail(self, status: str) -> dict[str, Any]:
        """What the usage row keeps of an answer."""
        return {"engine": "relay", "status": status}

    def all_ended(self) -> None:
        """Nothing runs any more."""
        self._idle.set()

    async def wait_until_idle(self, timeout_s: float) -> None:
        """Until nothing runs or is asked for any more, at most so long."""
        self._idle.clear()
        if not self._is_idle():
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._idle.wait()

    async def _pass(self, event: Event) -> None:
        item = event.get("item")
        if (
            event["type"].startswith("conversation.item.")
            and isinstance(item, Mapping)
            and item.get("id") in self.known
        ):
            if event["type"] == "conversation.item.done":
                self.known.discard(item["id"])
            return
        await self._session.emit(event)

    def _ours(self, session: Mapping[str, Any]) -> Event:
        """A session object as the client sees it."""
        kept = {name: value for name, value in session.items() if name not in THEIR_OWN}
        return {**kept, "id": self._session.id, "model": self._relay.model}

    async def _created(self, event: Event) -> None:
        if self._waits_for_update:
            self._default = event
        else:
            await self._say_created(event)

    async def _updated(self, event: Event) -> None:
        self._meter.reckoning.updated(event["session"])
        self._transcribers.follow()
        if self._waits_for_update:
            self._waits_for_update = False
            await self._say_created(event)
            return
        await self._session.emit({**event, "session": self._ours(event["session"])})

    async def _say_created(self, event: Event) -> None:
        if not self._session.is_created:
            await self._session.emit({**event, "type": "session.created", "session": self._ours(event["session"])})

    def _is_idle(self) -> bool:
        reckoning = self._meter.reckoning
        return not (reckoning.answers or reckoning.asked or self._transcribers.is_busy)

    async def _began(self, event: Event) -> None:
        response = event["response"]
        self._meter.began(response)
        if self._relay.is_closing:
            await self._relay.cancel(response["id"])
        await self._session.emit({**event, "response": self._with_own_metadata(response)})

    async def _done(self, event: Event) -> None:
        """The client hears of the end at once; of its cost, when that is settled."""
        response = event["response"]
        await self._session.emit({**event, "response": self._without_account(self._with_own_metadata(response))})
        self._meter.ended(response, self.detail(str(response.get("status"))), self.then)
        self._relay.answered()
        self._look_idle()

    def _with_own_metadata(self, response: Event) -> Event:
        """Those of the client's, in place of ours."""
        if "metadata" not in response:
            return response
        answer = self._meter.reckoning.answers.get(response["id"])
        asked_by = None if answer is None else answer.asked_by
        return {**response, "metadata": ((asked_by or {}).get("response") or {}).get("metadata")}

    def _look_idle(self) -> None:
        if self._is_idle():
            self._idle.set()

    @staticmethod
    def _without_account(response: Event) -> Event:
        """A failed response says why, unless that is about our account at the provider."""
        details = response.get("status_details")
        if response.get("status") != "failed" or not isinstance(details, dict):
            return response
        error = details.get("error")
        if isinstance(error, dict) and error.get("type") == CALLERS_FAULT:
            return response
        return {
            **response,
            "status_details": {"type": "failed", "error": PROVIDERS_FAULT},
        }

    async def _transcribed(self, event: Event) -> None:
        await self._session.emit({name: value for name, value in event.items() if name != "logprobs" or value})
        self._transcribers.completed(event)
        self._look_idle()

    async def _not_transcribed(self, event: Event) -> None:
        self._transcribers.failed(str(event.get("item_id")))
        self._look_idle()
        error = event.get("error")
        is_told = isinstance(error, dict) and error.get("type") == CALLERS_FAULT
        await self._session.emit(event if is_told else {**event, "error": PROVIDERS_FAULT})

    async def _committed(self, event: Event) -> None:
        self._relay.committed(str(event.get("item_id")))
        await self._session.emit(event)

    async def _cleared(self, event: Event) -> None:
        self._relay.cleared()
        await self._session.emit(event)

    async def _speech_started(self, event: Event) -> None:
        self._meter.reckoning.buffer.speech_started(_milliseconds(event, "audio_start_ms"))
        await self._session.emit(event)

    async def _speech_stopped(self, event: Event) -> None:
        self._meter.reckoning.buffer.speech_stopped(_milliseconds(event, "audio_end_ms"))
        await self._session.emit(event)

    async def _error(self, event: Event) -> None:
        """What the caller did wrong is told in the provider's words; anything else is between the provider and us."""
        raw = event.get("error") or {}
        if raw.get("code") == "session_expired":
            return  # the provider's limit, not ours: it closes now, and the conversation goes on elsewhere
        if self._waits_for_update and self._default is not None:  # our configuration was not taken
            self._waits_for_update = False
            await self._say_created(self._default)
        error: KomilionError = ProviderError()
        if raw.get("type") == CALLERS_FAULT:
            error = refusal(str(raw.get("code") or "")[:100], str(raw.get("message") or "")[:2_000], raw.get("param"))
        told = error_event(error, self._relay.ids.clients(raw.get("event_id")))
        self._relay.refused(raw.get("event_id"))
        self._look_idle()
        await self._session.emit(told)


def _milliseconds(event: Event, name: str) -> int:
    value = event.get(name)
    return value if type(value) is int else 0
