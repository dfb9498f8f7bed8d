"""The server's side of a spoken conversation for the page `/dashboard/voice`: GA events in their order, by a script.

It hears by loudness, answers each turn with the next of `answers` (words, and a tone as long as it says) and charges a
fixed amount. Nothing in it waits: each frame of the page brings about the events that follow from it. Strict: what a
real server refuses is an `error` event here too, and `faults` keeps it, so that a test can demand that there is none.
"""

import base64
import json
import math
import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

RATE = 24_000
SAMPLE_BYTES = 2
PIECE_S = 0.2
LOUD = 600  # root mean square of PCM16, from which on it is speech
QUIET_FRAMES = 12  # that end it
LEAST_COMMIT_S = 0.1
CHARGE_NANO = 1_200_000
CONFIG: dict[str, Any] = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "",
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": RATE},
            "turn_detection": {"type": "server_vad"},
        },
        "output": {"format": {"type": "audio/pcm", "rate": RATE}, "voice": "alloy"},
    },
}

type Event = dict[str, Any]


@dataclass(frozen=True)
class Spoken:
    """An answer. `stays_open`: it is not done before somebody cancels it."""

    words: str
    seconds: float = 1.0
    heard: str = "What is a ledger?"  # what the person said before it
    stays_open: bool = False
    error: str = ""  # it fails with this instead


@dataclass
class SpokenSocket:
    """One connection; `send` takes the text of a frame to the page."""

    send: Callable[[str], None]
    answers: list[Spoken]
    balance_nano: int = 9_000_000_000
    warn: bool = False
    config: Event = field(default_factory=lambda: CONFIG)  # that the ticket was made with
    seen: list[Event] = field(default_factory=list)  # of the page, without the sound
    faults: list[str] = field(default_factory=list)
    appended_s: float = 0.0
    peak: float = 0.0
    turns: int = 0

    def __post_init__(self) -> None:
        self._config: Event = dict(self.config["audio"]["input"])
        self._is_configured = False
        self._cost = 0
        self._quiet = 0
        self._is_speech = False
        self._buffered_s = 0.0
        self._items: dict[str, float] = {}  # seconds of sound in each item of an answer
        self._open: tuple[str, str] | None = None  # response and item
        self._last: str | None = None
        self._emit({"type": "session.created", "session": self.config})

    def take(self, text: str) -> None:
        """A frame of the page."""
        event = json.loads(text)
        kind = event["type"]
        if kind == "input_audio_buffer.append":
            self._hear(base64.b64decode(event["audio"], validate=True))
            return
        self.seen.append(event)
        handlers: dict[str, Callable[[Event], None]] = {
            "session.update": self._update,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.truncate": self._truncate,
            "response.create": lambda event: self._answer(),
            "response.cancel": self._cancel,
        }
        handler = handlers.get(kind)
        if handler is None:
            self._refuse(event, f"there is no event {kind}")
        else:
            handler(event)

    def kinds(self) -> list[str]:
        """The types of what the page sent."""
        return [event["type"] for event in self.seen]

    # what the page sends

    def _update(self, event: Event) -> None:
        session = event["session"]
        if session.get("type") != "realtime":
            self._refuse(event, "session.type must be realtime")
            return
        self._config |= session.get("audio", {}).get("input", {})
        self._is_configured = True
        self._emit({"type": "session.updated", "session": session})

    @property
    def _is_pushed(self) -> bool:
        return self._config.get("turn_detection") is None

    def _hear(self, pcm: bytes) -> None:
        if not self._is_configured:
            self._refuse({}, "sound came before session.update")
        if len(pcm) % SAMPLE_BYTES:
            self._refuse({}, "half a sample")
        samples = array("h", pcm)
        seconds = len(samples) / RATE
        self.appended_s += seconds
        self._buffered_s += seconds
        loudness = math.sqrt(sum(sample * sample for sample in samples) / max(1, len(samples)))
        self.peak = max(self.peak, loudness)
        if not self._is_pushed:
            self._detect(loudness)

    def _detect(self, loudness: float) -> None:
        if loudness >= LOUD:
            self._quiet = 0
            if not self._is_speech:
                self._is_speech = True
                self._emit({"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "item_next"})
                self._end_open("cancelled")
        elif self._is_speech:
            self._quiet += 1
            if self._quiet >= QUIET_FRAMES:
                self._is_speech = False
                self._emit({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 0, "item_id": "item_next"})
                self._committed()
                self._answer()

    def _commit(self, event: Event) -> None:
        if self._buffered_s < LEAST_COMMIT_S:
            self._refuse(event, "the buffer holds less than 100 ms")
        else:
            self._committed()

    def _committed(self) -> None:
        self._buffered_s = 0.0
        item = f"item_user_{len(self._items)}_{self.turns}"
        self._emit({"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": self._last})
        self._add_item(item, "user")
        heard = self.answers[min(self.turns, len(self.answers) - 1)].heard
        written = "conversation.item.input_audio_transcription"
        if not self._config.get("transcription"):
            return
        for part in (heard[:5], heard[5:]):
            self._emit({"type": f"{written}.delta", "item_id": item, "content_index": 0, "delta": part})
        self._emit({"type": f"{written}.completed", "item_id": item, "content_index": 0, "transcript": heard})

    def _clear(self, event: Event) -> None:
        self._buffered_s = 0.0
        self._emit({"type": "input_audio_buffer.cleared"})

    def _create_item(self, event: Event) -> None:
        self._add_item(event["item"]["id"], event["item"]["role"])

    def _truncate(self, event: Event) -> None:
        seconds = self._items.get(event["item_id"])
        if seconds is None or not 0 <= event["audio_end_ms"] <= seconds * 1_000:
            self._refuse(event, "audio_end_ms is beyond what was sent of this item")
            return
        self._emit({"type": "conversation.item.truncated", **{k: v for k, v in event.items() if k != "type"}})

    def _cancel(self, event: Event) -> None:
        if self._open is None:
            self._refuse(event, "no response is active")
        else:
            self._end_open("cancelled")

    # what it sends

    def _answer(self) -> None:
        if self._open is not None:
            self._refuse({}, "a response is active")
            return
        answer = self.answers[min(self.turns, len(self.answers) - 1)]
        self.turns += 1
        response, item = f"resp_{self.turns}", f"item_{self.turns}"
        self._open = (response, item)
        self._emit({"type": "response.created", "response": {"id": response, "status": "in_progress"}})
        if answer.error:
            self._end_open("failed", answer.error)
            return
        self._emit({"type": "response.output_item.added", "response_id": response, "item": {"id": item}})
        self._add_item(item, "assistant")
        place = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        for word in answer.words.split(" "):
            self._emit({"type": "response.output_audio_transcript.delta", **place, "delta": f"{word} "})
        for piece in _tone(answer.seconds):
            self._emit({"type": "response.output_audio.delta", **place, "delta": piece})
        self._items[item] = answer.seconds
        if not answer.stays_open:
            self._emit({"type": "response.output_audio.done", **place})
            self._end_open("completed")

    def _end_open(self, status: str, error: str = "") -> None:
        if self._open is None:
            return
        (response, item), self._open = self._open, None
        details = {"error": {"message": error}} if error else {}
        output = [{"id": item, "type": "message"}]
        done = {"id": response, "status": status, "status_details": details, "output": output}
        self._emit({"type": "response.done", "response": done})
        self._cost += CHARGE_NANO
        self.balance_nano -= CHARGE_NANO
        cost = {"cost_nano_usd": CHARGE_NANO, "session_cost_nano_usd": self._cost}
        balance = {"balance_nano_usd": self.balance_nano}
        self._emit({"type": "x_komilion.cost", "response_id": response, **cost, **balance, "parts": []})
        if self.warn:
            self._emit({"type": "x_komilion.low_balance", "percent_left": 20, **balance})

    def _add_item(self, item: str, role: str) -> None:
        added = {"id": item, "type": "message", "role": role, "content": []}
        self._emit({"type": "conversation.item.added", "item": added, "previous_item_id": self._last})
        self._last = item

    def _refuse(self, event: Event, why: str) -> None:
        self.faults.append(f"{event}: {why}")
        error = {"type": "invalid_request_error", "message": why, "event_id": event.get("event_id")}
        self._emit({"type": "error", "error": error})

    def _emit(self, event: Event) -> None:
        self.send(json.dumps(event))


def _tone(seconds: float) -> list[str]:
    """A tone of 440 Hz as pieces of base64."""
    samples = [int(8_000 * math.sin(math.tau * 440 * at / RATE)) for at in range(int(seconds * RATE))]
    size = int(PIECE_S * RATE)
    pieces = [samples[start : start + size] for start in range(0, len(samples), size)]
    return [base64.b64encode(struct.pack(f"<{len(piece)}h", *piece)).decode() for piece in pieces]
