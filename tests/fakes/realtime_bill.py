"""What the stand-in for a realtime provider charges: it counts by itself, whatever the gateway believes."""

import json
from typing import Any

BYTES_PER_S = {"audio/pcm": 48_000, "audio/pcmu": 8_000, "audio/pcma": 8_000}
HEARD_PER_S, SPOKEN_PER_S, WRITTEN_PER_S = 10, 20, 5
BYTES_PER_TOKEN = 4
# Nano-USD of a token, and of a second of transcription; those of `tests.voice.realtime.talking`.
TEXT, HEARD, WRITTEN, SPOKEN = 4_000, 32_000, 24_000, 64_000
TRANSCRIBED = 100_000


class Bill:
    """Of one connection; `config` is the session's as it stands. Nothing is cached. `reads_late`: what waits is read in
    the format that is in force when it is committed, else when it was appended.
    """

    def __init__(self, config: dict[str, Any], *, reads_late: bool = False) -> None:
        self.charged_nano = 0
        self._config = config
        self._reads_late = reads_late
        self._waiting_bytes = 0
        self._waiting_s = self._heard_s = 0.0
        self._text_bytes = self._said_tokens = self._written_tokens = 0
        self._running: dict[str, tuple[dict[str, Any], float]] = {}  # wishes, and seconds that were spoken

    def output_bytes_per_s(self, wishes: dict[str, Any]) -> int:
        """By the format of an answer."""
        own = ((wishes.get("audio") or {}).get("output") or {}).get("format")
        return BYTES_PER_S[(own or self._config["audio"]["output"]["format"])["type"]]

    def append(self, size: int) -> None:
        """So many bytes of audio."""
        self._waiting_bytes += size
        if not self._reads_late:
            self._read()

    def _read(self) -> None:
        """In the format of this moment."""
        self._waiting_s += self._waiting_bytes / BYTES_PER_S[self._config["audio"]["input"]["format"]["type"]]
        self._waiting_bytes = 0

    def clear(self) -> None:
        """What waits is thrown away."""
        self._waiting_s, self._waiting_bytes = 0.0, 0

    def commit(self) -> float:
        """What waits is an item; the seconds of it, which are charged where they are written down."""
        self._read()
        seconds, self._waiting_s = self._waiting_s, 0.0
        self._heard_s += seconds
        if self._config["audio"]["input"].get("transcription"):
            self.charged_nano += int(seconds * TRANSCRIBED)
        return seconds

    def item(self, item: dict[str, Any]) -> None:
        """One that the client made."""
        self._text_bytes += bytes_of(item)

    def begin(self, response_id: str, wishes: dict[str, Any]) -> None:
        """An answer runs."""
        self._running[response_id] = (wishes, 0.0)

    def speak(self, response_id: str, seconds: float) -> None:
        """It said so much more."""
        wishes, spoken_s = self._running[response_id]
        self._running[response_id] = (wishes, spoken_s + seconds)

    def end(self, response_id: str) -> dict[str, Any]:
        """The usage of an answer, which is charged."""
        wishes, spoken_s = self._running.pop(response_id)
        own = {name: wishes.get(name, self._config.get(name)) or "" for name in ("instructions", "tools")}
        text = sum(len(json.dumps(value)) if value else 0 for value in own.values()) // BYTES_PER_TOKEN
        spoken, written = int(spoken_s * SPOKEN_PER_S), int(spoken_s * WRITTEN_PER_S)
        items = wishes.get("input")
        text += sum(map(bytes_of, items or ())) // BYTES_PER_TOKEN
        # What is referred to is the whole conversation here, each time.
        times = 1 if items is None else sum(item["type"] == "item_reference" for item in items)
        text += times * (self._text_bytes // BYTES_PER_TOKEN + self._written_tokens)
        heard = times * (int(self._heard_s * HEARD_PER_S) + self._said_tokens)
        if wishes.get("conversation") != "none":
            self._said_tokens += spoken
            self._written_tokens += written
        self.charged_nano += text * TEXT + heard * HEARD + written * WRITTEN + spoken * SPOKEN
        return {
            "total_tokens": text + heard + spoken + written,
            "input_tokens": text + heard,
            "output_tokens": spoken + written,
            "input_token_details": {"text_tokens": text, "audio_tokens": heard},
            "output_token_details": {"text_tokens": written, "audio_tokens": spoken},
        }

    def leave(self) -> None:
        """The connection is over; what ran is charged."""
        for response_id in list(self._running):
            self.end(response_id)


def bytes_of(item: dict[str, Any]) -> int:
    """Of the text in it, what is written beside its sound too."""
    parts = item.get("content") or []
    return sum(len((part.get(name) or "").encode()) for part in parts for name in ("text", "transcript"))
