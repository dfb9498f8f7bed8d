"""What of a session's configuration decides how its audio is counted, who writes it down, and how much an answer may
be. Pure.

Audio is counted in characters of base64 of PCM16 at 24 kHz, 64 000 a second; a character of G.711 lasts six times as
long. A `session.update` holds for what is sent after it, unless the provider refuses it, which is known only later:
until then what counts is whatever would cost more. Of an answer its own wishes count, and what the provider says of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

CHARS_PER_S = 64_000
PCM = "audio/pcm"
OUTPUT_MOST_TOKENS = 32_000  # of one answer, thoughts included, where it is not limited: of OpenAI's largest model
WEIGHTS = {PCM: 1, "audio/pcmu": 6, "audio/pcma": 6}  # of a character: so many of PCM16 last as long


@dataclass(frozen=True, slots=True)
class Modes:
    """Of a session object. The weights are those of audio that is heard and spoken."""

    heard_weight: int = 1
    spoken_weight: int = 1
    is_spoken: bool = True  # answers are audio
    detects_turns: bool = True
    answers_itself: bool = True  # the provider begins an answer when somebody has spoken
    output_most: int = OUTPUT_MOST_TOKENS
    transcriber: str = ""  # the name of who writes down what is committed, as the client has it
    transcriber_bytes: int = 0  # of the words that it reads along with each item

    @classmethod
    def of(cls, session: Mapping[str, Any]) -> "Modes":
        """What is not there is as it is by default."""
        audio = session.get("audio") or {}
        heard = audio.get("input") or {}
        detection = heard.get("turn_detection", {})
        detects_turns = detection is not None
        return cls(
            weight_of(heard) or 1,
            weight_of(audio.get("output")) or 1,
            session.get("output_modalities", ["audio"]) == ["audio"],
            detects_turns,
            detects_turns and detection.get("create_response", True) is not False,
            output_most_of(session) or OUTPUT_MOST_TOKENS,
            (heard.get("transcription") or {}).get("model") or "",
            _bytes_read_along(heard.get("transcription") or {}),
        )


def weight_of(side: Any) -> int | None:
    """Of the `format` of one side of the audio; None where none is named."""
    kind = ((side or {}).get("format") or {}).get("type")
    return WEIGHTS.get(str(kind))


def output_most_of(wishes: Mapping[str, Any]) -> int | None:
    """Of the `max_output_tokens` of a session or an answer; None where none is named."""
    most = wishes.get("max_output_tokens")
    if most == "inf":
        return OUTPUT_MOST_TOKENS
    return most if type(most) is int else None


def _bytes_read_along(transcription: Mapping[str, Any]) -> int:
    words = [transcription.get("prompt") or "", *(transcription.get("keywords") or ())]
    return sum(len(str(word).encode("utf-8", "surrogatepass")) for word in words)


@dataclass(slots=True)
class InForce:
    """The modes that the provider has confirmed, and those that were sent since, by the ids of their events."""

    confirmed: Modes = Modes()
    _sent: dict[str, Modes] = field(default_factory=dict)

    def connect(self) -> None:
        """Another connection begins, as it is by default."""
        self.confirmed = Modes()
        self._sent.clear()

    def send(self, config: Mapping[str, Any], event_id: str) -> None:
        """A `session.update` goes up, after which the configuration would be this."""
        self._sent[event_id] = Modes.of(config)

    def updated(self, session: Mapping[str, Any]) -> None:
        """The oldest of them was taken; `session` is the provider's word on what is in force, but for the names of
        models, which are its own.
        """
        sent = self._sent.pop(next(iter(self._sent), ""), self.confirmed)
        if "audio" not in session:
            self.confirmed = sent
            return
        words = max(sent.transcriber_bytes, (told := Modes.of(session)).transcriber_bytes)
        self.confirmed = replace(told, transcriber=sent.transcriber, transcriber_bytes=words)

    def refused(self, event_id: str) -> None:
        """It was not taken."""
        self._sent.pop(event_id, None)

    def __iter__(self) -> Iterator[Modes]:
        yield self.confirmed
        yield from self._sent.values()
