"""What a conversation hears: pieces of audio in the client's format become turns, found by voice activity or by the
client's own `commit`. Pure, but for the time that the detector takes: 5 ms for a second of audio.

Positions are milliseconds since the session began, of all audio that was appended.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples
from komilion.common.errors import BadRequest
from voice.audio.vad import RATE_HZ, ServerVad, SpeechDetector, SpeechStarted
from voice.realtime.events import refusal

PCM_RATE_HZ = 24_000
G711_RATE_HZ = 8_000
MOST_TURN_S = 120  # a longer turn is answered as if it had ended
MOST_WAITING_S = 600  # of audio that the client has not committed
LEAST_COMMIT_MS = 100  # as OpenAI's
SEMANTIC_SILENCE_MS = {"low": 1_200, "medium": 700, "auto": 700, "high": 400}  # by eagerness


@dataclass(frozen=True, slots=True)
class Began:
    """Somebody speaks."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Somebody has spoken: the turn, at 16 kHz."""

    at_ms: int
    samples: Samples


class Ears:
    """Of one session. `detects_turns` is false where the client says itself when a turn ends."""

    def __init__(self) -> None:
        self.detects_turns = True
        self._format = ""
        self._vad: ServerVad | None = None
        self._detector = SpeechDetector()
        self._resampler = pcm.Resampler(PCM_RATE_HZ, RATE_HZ)
        self._heard = bytearray()  # PCM16; a list of pieces would grow with pieces of nothing
        self._first = 0  # position of the first sample that is kept
        self._turn_from: int | None = None

    def configure(self, config: Mapping[str, Any]) -> None:
        """Follow `session.audio.input` as it stands."""
        form = (config.get("format") or {}).get("type", "audio/pcm")
        if form != self._format:
            self._format = form
            self._resampler = pcm.Resampler(PCM_RATE_HZ if form == "audio/pcm" else G711_RATE_HZ, RATE_HZ)
        detection = config.get("turn_detection", {"type": "server_vad"})
        self.detects_turns = detection is not None
        vad = None if detection is None else _vad_of(detection)
        if vad != self._vad:
            self._vad = vad
            self._detector = SpeechDetector(vad or ServerVad(), self._first + self._length)
            self._turn_from = None

    def feed(self, audio: str) -> list[Began | Ended]:
        """A piece of base64. Raises `BadRequest` for what is no audio, or too much of it."""
        samples = self._resampler.feed(self._samples(audio))
        self._heard += pcm.to_bytes(samples)
        if not self.detects_turns:
            if self._length > MOST_WAITING_S * RATE_HZ:
                self.clear()
                raise BadRequest(f"More than {MOST_WAITING_S} seconds of audio were not committed; they are dropped.")
            return []
        events: list[Began | Ended] = []
        for event in self._detector.feed(samples):
            if isinstance(event, SpeechStarted):
                self._turn_from = event.at_sample
                events.append(Began(_ms(event.at_sample)))
            else:
                events.append(self._turn(event.at_sample))
        if self._turn_from is None:
            self._forget(self._first + self._length - self._padding)
        elif self._first + self._length - self._turn_from > MOST_TURN_S * RATE_HZ:
            self._detector.clear()
            events.append(self._turn(self._first + self._length))
        return events

    def commit(self) -> Samples:
        """All that was heard and is in no turn yet. Raises `BadRequest` where that is next to nothing."""
        if self._length < LEAST_COMMIT_MS * RATE_HZ // 1000:
            held_ms = _ms(self._length)
            message = f"The buffer holds {held_ms} ms of audio; at least {LEAST_COMMIT_MS} ms can be committed."
            raise refusal("input_audio_buffer_commit_empty", message)
        self._detector.clear()  # who goes on speaking begins another turn
        return self._turn(self._first + self._length).samples

    @property
    def is_in_turn(self) -> bool:
        """Whether somebody is speaking."""
        return self._turn_from is not None

    def clear(self) -> None:
        """Forget what is in no turn yet."""
        self._detector.clear()
        self._turn_from = None
        self._forget(self._first + self._length)

    @property
    def position_ms(self) -> int:
        """How much was heard."""
        return _ms(self._first + self._length)

    @property
    def _padding(self) -> int:
        return ((self._vad or ServerVad()).prefix_padding_ms + 200) * RATE_HZ // 1000

    def _samples(self, audio: str) -> Samples:
        try:
            data = base64.b64decode(audio, validate=True)
            if self._format == "audio/pcmu":
                return pcm.mu_law_to_samples(data)
            return pcm.a_law_to_samples(data) if self._format == "audio/pcma" else pcm.from_bytes(data)
        except (binascii.Error, ValueError) as error:
            raise BadRequest(f"`audio` is no base64 of {self._format}.", param="audio") from error

    def _turn(self, end: int) -> Ended:
        begin = self._first if self._turn_from is None else self._turn_from
        samples = pcm.from_bytes(self._heard[_bytes(begin - self._first) : _bytes(end - self._first)])
        self._turn_from = None
        self._forget(end)
        return Ended(_ms(end), samples)

    def _forget(self, before: int) -> None:
        """Keep only what comes from that position on."""
        gone = min(max(before - self._first, 0), self._length)
        del self._heard[: _bytes(gone)]
        self._first += gone

    @property
    def _length(self) -> int:
        """How many samples are kept."""
        return len(self._heard) // pcm.BYTES_PER_SAMPLE


def _vad_of(detection: Mapping[str, Any]) -> ServerVad:
    usual = ServerVad()
    if detection["type"] == "semantic_vad":
        return ServerVad(silence_duration_ms=SEMANTIC_SILENCE_MS[detection.get("eagerness") or "auto"])
    return ServerVad(
        threshold=detection.get("threshold", usual.threshold),
        prefix_padding_ms=detection.get("prefix_padding_ms", usual.prefix_padding_ms),
        silence_duration_ms=detection.get("silence_duration_ms", usual.silence_duration_ms),
    )


def _ms(samples: int) -> int:
    return samples * 1000 // RATE_HZ


def _bytes(samples: int) -> int:
    return max(samples, 0) * pcm.BYTES_PER_SAMPLE
