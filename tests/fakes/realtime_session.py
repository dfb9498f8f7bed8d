"""One conversation of the stand-in for a realtime provider: what a client may send, and what it is answered."""

import asyncio
import base64
import binascii
import itertools
import json
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.realtime_bill import Bill
from tests.fakes.realtime_schema import KNOWN, PARTS, SESSION_FIELDS

if TYPE_CHECKING:
    from tests.fakes.realtime import RealtimeScript

BYTES_PER_MS = 48
SPEECH = "item_speech"
LOUD = 1_000  # of a sample that is speech
SILENCE_MS = 300
PADDING_MS = 300


class Refused(Exception):
    """An event that is answered by `error`; the session goes on."""

    def __init__(self, code: str, message: str, event_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.event_id = event_id


class Lost(Exception):
    """The connection is to be lost here."""


class FakeSession:
    """`received` are the events of the client, `audio_bytes` what it appended, `close_code` how it ended."""

    def __init__(
        self, model: str, script: "RealtimeScript", socket: web.WebSocketResponse, *, is_to_be_lost: bool
    ) -> None:
        self.model = model
        self.received: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self.appended = bytearray()
        self.audio = bytearray()  # all of it, in order
        self.close_code: int | None = None
        self.is_over = False
        self.config: dict[str, Any] = {
            "type": "realtime",
            "object": "realtime.session",
            "id": "sess_upstream",
            "model": model,
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "audio": {
                "input": {"format": {"type": "audio/pcm", "rate": 24_000}, "turn_detection": {"type": "server_vad"}},
                "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "alloy"},
            },
        }
        self.bill = Bill(self.config, reads_late=script.reads_late)
        self._script = script
        self._socket = socket
        self._delayed: asyncio.Queue[tuple[float, str]] = asyncio.Queue()
        self._pump: asyncio.Task[None] | None = None
        self._is_to_be_lost = is_to_be_lost
        self._ids = itertools.count(1)
        self._items: list[dict[str, Any]] = []
        self._answering: asyncio.Task[None] | None = None
        self._response: dict[str, Any] = {}
        self._beside: dict[str, asyncio.Task[None]] = {}  # answers outside of the conversation, by id
        self._answers = 0
        self._speech_ms = self._silence_ms = self._heard_ms = 0
        self._name = f"{id(self):x}"

    def types(self) -> list[str]:
        """The types of what the client sent."""
        return [event["type"] for event in self.received]

    async def begin(self) -> None:
        """The first events."""
        if self._is_to_be_lost and self._script.lost_at == "connect":
            raise Lost
        await asyncio.sleep(self._script.created_after_s)
        await self.send({"type": "session.created", "session": self.config})
        for event in self._script.extra_events:
            await self.send(event)

    async def take(self, text: str) -> None:
        """One event of the client. Raises `Refused`, `Lost`."""
        event = json.loads(text)
        self.received.append(event)
        kind = event.get("type")
        if kind not in KNOWN:
            raise Refused("invalid_value", f"Invalid value: {kind!r}.", event.get("event_id"))
        unknown = set(event) - KNOWN[kind] - {"type", "event_id"}
        if unknown:
            raise Refused("unknown_parameter", f"Unknown parameter: {unknown.pop()!r}.", event.get("event_id"))
        await getattr(self, "_" + kind.replace(".", "_"))(event)
        if self._answering is not None and self._answering.done():
            task, self._answering = self._answering, None
            task.result()

    async def complain(self, refused: Refused) -> None:
        """The `error` of an event."""
        error = {"type": "invalid_request_error", "code": refused.code, "message": str(refused), "param": None}
        await self.send({"type": "error", "error": {**error, "event_id": refused.event_id}})

    async def lose(self) -> None:
        """End the connection as the script says."""
        if self._script.lost_code is not None:
            await self._socket.close(code=self._script.lost_code)
        else:
            transport = self._socket._req.transport  # there is no other way to lose a connection
            transport.abort()

    def end(self, close_code: int | None) -> None:
        """The connection is over."""
        self.close_code = close_code
        for task in (self._answering, self._pump, *self._beside.values()):
            if task is not None:
                task.cancel()
        self.bill.leave()
        self.is_over = True

    async def send(self, event: dict[str, Any]) -> None:
        """One event of the server, unless the connection is to be lost before it."""
        if self._is_to_be_lost and event["type"] == self._script.lost_at:
            raise Lost
        event = {"type": event["type"], "event_id": f"event_{next(self._ids)}", **event}
        self.sent.append(event)
        if not self._script.delay_s:
            await self._socket.send_str(json.dumps(event))
            return
        loop = asyncio.get_running_loop()
        self._delayed.put_nowait((loop.time() + self._script.delay_s, json.dumps(event)))
        if self._pump is None:
            self._pump = loop.create_task(self._send_delayed())

    async def _send_delayed(self) -> None:
        while True:
            at_s, text = await self._delayed.get()
            await asyncio.sleep(at_s - asyncio.get_running_loop().time())
            with suppress(ConnectionError):  # the client does not wait for it
                await self._socket.send_str(text)

    # the client's events

    async def _session_update(self, event: dict[str, Any]) -> None:
        session = event["session"]
        if session.get("type") != "realtime":
            missing = "Missing required parameter: 'session.type'."
            raise Refused("missing_required_parameter", missing, event.get("event_id"))
        unknown = set(session) - SESSION_FIELDS
        if unknown:
            raise Refused("unknown_parameter", f"Unknown parameter: 'session.{unknown.pop()}'.", event.get("event_id"))
        heard = session.get("audio", {}).get("input", {})
        if self._script.refuses_far_field and heard.get("noise_reduction") == {"type": "far_field"}:
            raise Refused("invalid_value", "Nothing is heard from that far.", event.get("event_id"))
        for name, value in session.items():
            if name == "audio":
                for side, fields in value.items():
                    self.config["audio"][side] = {**self.config["audio"][side], **fields}
            else:
                self.config[name] = value
        await self.send({"type": "session.updated", "session": self.config})

    async def _input_audio_buffer_append(self, event: dict[str, Any]) -> None:
        try:
            audio = base64.b64decode(event["audio"], validate=True)
        except binascii.Error:
            raise Refused("invalid_audio", "Invalid audio.", event.get("event_id")) from None
        self.appended += audio
        self.audio += audio
        self.bill.append(len(audio))
        if self.config["audio"]["input"]["turn_detection"] is not None:
            await self._listen(audio)

    async def _listen(self, audio: bytes) -> None:
        samples = array("h", audio[: len(audio) // 2 * 2])
        milliseconds = len(audio) // BYTES_PER_MS
        if max(map(abs, samples), default=0) >= LOUD:
            if not self._speech_ms:
                await self._tell_speech("started", "audio_start_ms", max(0, self._heard_ms - PADDING_MS))
                if self._answering is not None:
                    await self._cancel("turn_detected")
            self._speech_ms += milliseconds
            self._silence_ms = 0
        elif self._speech_ms:
            self._silence_ms += milliseconds
            if self._silence_ms >= SILENCE_MS:
                self._speech_ms = self._silence_ms = 0
                await self._tell_speech("stopped", "audio_end_ms", self._heard_ms + milliseconds)
                await self._commit()
                self._answer({})

        self._heard_ms += milliseconds

    async def _tell_speech(self, what: str, name: str, at_ms: int) -> None:
        await self.send({"type": f"input_audio_buffer.speech_{what}", name: at_ms, "item_id": SPEECH})

    async def _input_audio_buffer_commit(self, event: dict[str, Any]) -> None:
        if len(self.appended) < 100 * BYTES_PER_MS:
            raise Refused("input_audio_buffer_commit_empty", "The buffer is too small.", event.get("event_id"))
        await self._commit()

    async def _commit(self) -> None:
        self.appended.clear()
        self.bill.commit()
        item_id = f"item_{self._name}_{next(self._ids)}"
        await self.send({"type": "input_audio_buffer.committed", "previous_item_id": None, "item_id": item_id})
        content = [{"type": "input_audio", "transcript": None}]
        await self._add({"id": item_id, "type": "message", "role": "user", "content": content})
        if self.config["audio"]["input"].get("transcription") and self._script.writes_down:
            await self.send(
                {
                    "type": "conversation.item.input_audio_transcription.completed",
                    "item_id": item_id,
                    "content_index": 0,
                    "transcript": self._script.hears,
                    "usage": self._script.transcription_usage,
                }
            )

    async def _input_audio_buffer_clear(self, event: dict[str, Any]) -> None:
        if self._script.refuses_clear:
            raise Refused("invalid_value", "Nothing can be cleared now.", event.get("event_id"))
        self.appended.clear()
        self.bill.clear()
        await self.send({"type": "input_audio_buffer.cleared"})

    async def _conversation_item_create(self, event: dict[str, Any]) -> None:
        item = event["item"]
        if any(item.get("id") == known["id"] for known in self._items):
            raise Refused("item_exists", "There is an item of that id.", event.get("event_id"))
        if item["type"] == "message":
            wrong = [part["type"] for part in item["content"] if part["type"] not in PARTS[item["role"]]]
            if wrong:
                raise Refused("invalid_value", f"Invalid value: {wrong[0]!r}.", event.get("event_id"))
        self.bill.item(item)
        await self._add({"id": f"item_{self._name}_{next(self._ids)}", **item})

    async def _add(self, item: dict[str, Any]) -> None:
        item = {"object": "realtime.item", "status": "completed", **item}
        self._items.append(item)
        for kind in ("added", "done"):
            await self.send({"type": f"conversation.item.{kind}", "previous_item_id": None, "item": item})

    async def _conversation_item_retrieve(self, event: dict[str, Any]) -> None:
        found = [item for item in self._items if item["id"] == event["item_id"]]
        if not found:
            raise Refused("item_not_found", "No such item.", event.get("event_id"))
        await self.send({"type": "conversation.item.retrieved", "item": found[0]})

    async def _conversation_item_truncate(self, event: dict[str, Any]) -> None:
        await self.send({**event, "type": "conversation.item.truncated"})

    async def _conversation_item_delete(self, event: dict[str, Any]) -> None:
        self._items = [item for item in self._items if item["id"] != event["item_id"]]
        await self.send({"type": "conversation.item.deleted", "item_id": event["item_id"]})

    async def _response_create(self, event: dict[str, Any]) -> None:
        wishes = event.get("response") or {}
        is_beside = wishes.get("conversation") == "none"
        if not is_beside and self._answering is not None and not self._answering.done():
            code = "conversation_already_has_active_response"
            raise Refused(code, "Conversation already has an active response.", event.get("event_id"))
        self._answer(wishes, is_beside=is_beside)

    async def _response_cancel(self, event: dict[str, Any]) -> None:
        beside = self._beside.get(event.get("response_id", ""))
        if beside is not None:
            beside.cancel()
            response = {"object": "realtime.response", "id": event["response_id"], "conversation_id": None}
            await self._finish({**response, "status": "cancelled", "output": [], "usage": self._script.cancelled_usage})
            return
        if self._answering is None or self._answering.done():
            raise Refused(
                "response_cancel_not_active", "Cancellation failed: no active response.", event.get("event_id")
            )
        if not self._script.ignores_cancel:
            await self._cancel("client_cancelled")

    async def _cancel(self, reason: str) -> None:
        assert self._answering is not None
        self._answering.cancel()
        await asyncio.wait({self._answering})
        self._answering = None
        response = {**self._response, "status": "cancelled", "output": []}
        response["status_details"] = {"type": "cancelled", "reason": reason}
        await self._finish({**response, "usage": self._script.cancelled_usage})

    # an answer

    def _answer(self, wishes: dict[str, Any], *, is_beside: bool = False) -> None:
        self._answers += 1
        response = {"object": "realtime.response", "id": f"resp_{self._name}_{self._answers}"}
        response["conversation_id"] = None if is_beside else f"conv_{self._name}"
        response["metadata"] = wishes.get("metadata")
        task = asyncio.get_running_loop().create_task(self._speak(wishes, response))
        task.add_done_callback(self._spoken)
        if is_beside:
            self._beside[response["id"]] = task
            task.add_done_callback(lambda _: self._beside.pop(response["id"], None))
        else:
            self._answering, self._response = task, response

    def _spoken(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(task.exception(), Lost):
            self._losing = asyncio.get_running_loop().create_task(self.lose())

    async def _speak(self, wishes: dict[str, Any], response: dict[str, Any]) -> None:
        script, response_id = self._script, response["id"]
        self.bill.begin(response_id, wishes)
        await asyncio.sleep(script.begins_after_s)
        await self.send({"type": "response.created", "response": {**response, "status": "in_progress", "output": []}})
        if script.status == "failed":
            details = {"type": "failed", "error": script.error}
            await self._finish({**response, "status": "failed", "output": [], "status_details": details, "usage": None})
            return
        modalities = wishes.get("output_modalities", self.config["output_modalities"])
        is_call = script.call is not None and self._answers == 1
        item = {"id": f"item_{self._name}_{next(self._ids)}", "object": "realtime.item", "status": "in_progress"}
        item |= (
            {"type": "function_call", "call_id": "call_1", "name": script.call[0], "arguments": ""}
            if is_call and script.call
            else {"type": "message", "role": "assistant", "content": []}
        )
        place = {"response_id": response_id, "output_index": 0}
        await self.send({"type": "response.output_item.added", **place, "item": item})
        await self.send({"type": "conversation.item.added", "previous_item_id": None, "item": item})
        place["item_id"] = item["id"]
        if is_call and script.call:
            done = await self._call(place, item)
        else:
            done = await self._message(place, item, wishes if modalities == ["audio"] else None)
        self._items.append(done)
        ended = {"response_id": response_id, "output_index": 0, "item": done}
        await self.send({"type": "response.output_item.done", **ended})
        await self.send({"type": "conversation.item.done", "previous_item_id": None, "item": done})
        response = {**response, "status": script.status, "output": [done], "status_details": None}
        await self._finish({**response, "usage": script.usage})
        if script.echoes_key:
            error = {"type": "server_error", "code": "oops", "message": "sk-upstream-canary-0123456789 is wrong"}
            await self.send({"type": "error", "error": error})

    async def _call(self, place: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        assert self._script.call is not None
        name, arguments = self._script.call
        half = len(arguments) // 2
        kind = "response.function_call_arguments"
        for delta in (arguments[:half], arguments[half:]):
            await self.send({"type": f"{kind}.delta", **place, "call_id": "call_1", "delta": delta})
        await self.send({"type": f"{kind}.done", **place, "call_id": "call_1", "name": name, "arguments": arguments})
        return {**item, "status": "completed", "arguments": arguments}

    async def _message(
        self, place: dict[str, Any], item: dict[str, Any], spoken: dict[str, Any] | None
    ) -> dict[str, Any]:
        """`spoken`: the wishes for an answer that is audio."""
        script, is_audio = self._script, spoken is not None
        place = {**place, "content_index": 0}
        part = {"type": "output_audio", "transcript": ""} if is_audio else {"type": "output_text", "text": ""}
        await self.send({"type": "response.content_part.added", **place, "part": part})
        words = script.says.split(" ")
        for number, word in enumerate(words):
            delta = word if number == 0 else f" {word}"
            kind = "response.output_audio_transcript" if is_audio else "response.output_text"
            await self.send({"type": f"{kind}.delta", **place, "delta": delta})
        if spoken is not None:
            piece_bytes = self.bill.output_bytes_per_s(spoken) * script.piece_ms // 1_000
            for number in range(script.audio_ms // script.piece_ms):
                if script.pause_s:
                    await asyncio.sleep(script.pause_s)
                piece = number.to_bytes(2, "little") * (piece_bytes // 2)
                self.bill.speak(place["response_id"], script.piece_ms / 1_000)
                delta = base64.b64encode(piece).decode()
                await self.send({"type": "response.output_audio.delta", **place, "delta": delta})
            await self.send({"type": "response.output_audio.done", **place})
            await self.send({"type": "response.output_audio_transcript.done", **place, "transcript": script.says})
            part = {**part, "transcript": script.says}
        else:
            await self.send({"type": "response.output_text.done", **place, "text": script.says})
            part = {**part, "text": script.says}
        await self.send({"type": "response.content_part.done", **place, "part": part})
        return {**item, "status": "completed", "content": [part]}

    async def _finish(self, response: dict[str, Any]) -> None:
        usage = self.bill.end(response["id"])
        if self._script.bills:
            response = {**response, "usage": usage}
        await self.send({"type": "response.done", "response": response})
        limit = {"name": "tokens", "limit": 40_000, "remaining": 39_000, "reset_seconds": 1.0}
        await self.send({"type": "rate_limits.updated", "rate_limits": [limit]})
