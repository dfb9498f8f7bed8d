"""What the gateway and a speech dialect say to each other; pure data and one protocol, as `base` is for chat.

A dialect writes the request of one provider's API for turning speech into text or text into speech, and reads what
comes back into a `Transcript`, which is the neutral shape here. It does no I/O and knows no tenant and no price.
Times are seconds from the start of the audio, as every provider writes them; what is billed is integers
(`komilion.common.usage`). Adding one: a module in this folder, a line in `registry.py`, a scripted test.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, Protocol

import msgspec

from komilion.common.errors import KomilionError, UnsupportedMediaType
from komilion.common.usage import MAX_UNITS, Usage
from routing.providers.base import Target, UpstreamRequest
from routing.providers.failures import failure_of

type Task = Literal["transcribe", "translate"]
type Speakers = Literal["none", "heard", "guessed"]
type AudioFormat = Literal["mp3", "wav", "opus", "flac", "aac", "pcm"]

MOST_SPEAKERS = 10_000
PCM_RATE_HZ = 24_000  # of everything that is asked for as `pcm`: 16 bit, little-endian, mono


class Word(msgspec.Struct, frozen=True):
    """One word; `text` is bare, `punctuated` as it is to be shown. `speaker` counts from 0."""

    text: str
    start_s: float
    end_s: float
    punctuated: str = ""
    confidence: float | None = None
    speaker: int | None = None

    @property
    def shown(self) -> str:
        """The word with its punctuation, where the provider gave it."""
        return self.punctuated or self.text


class Utterance(msgspec.Struct, frozen=True):
    """What one speaker said without a long pause. `words` are empty where the provider times none."""

    text: str
    start_s: float
    end_s: float
    confidence: float | None = None
    speaker: int | None = None
    words: tuple[Word, ...] = ()
    channel: int = 0


class Transcript(msgspec.Struct, frozen=True):
    """What was said. `utterances` are in the order of their start, and empty where the provider gives no times.

    `speakers` says where the numbers come from: the provider heard them (`heard`), they were guessed beside it
    (`guessed`), or there are none. `speaker_names` has their names by number, where there are any.
    """

    text: str
    language: str = ""  # its code, such as `en` or `en-US`; empty where the provider does not say
    duration_s: float = 0.0
    utterances: tuple[Utterance, ...] = ()
    speakers: Speakers = "none"
    speaker_names: tuple[str, ...] = ()


class Listening(msgspec.Struct, frozen=True):
    """What is wanted of a transcription; a dialect names in `Upload.dropped` what it cannot pass on.

    `query` are parameters in Deepgram's own names, already checked: with them the caller says all, and the dialect of
    Deepgram adds nothing of its own.
    """

    task: Task = "transcribe"
    language: str = ""  # empty: the provider is to find out
    prompt: str = ""
    temperature: float | None = None
    keywords: tuple[str, ...] = ()
    with_times: bool = False  # of utterances
    with_words: bool = False  # times of words too
    with_speakers: bool = False
    stream: bool = False
    query: Mapping[str, tuple[str, ...]] | None = None


class Upload(msgspec.Struct, frozen=True):
    """The POST to make: its body is `head`, the audio, `tail`, which the caller sends one after the other."""

    url: str
    headers: Mapping[str, str]
    head: bytes = b""
    tail: bytes = b""
    dropped: tuple[str, ...] = ()  # what was asked for and cannot be passed on, by the names of `Listening`

    def parts(self, audio: bytes) -> tuple[bytes, ...]:
        """The body in pieces, none of them a copy."""
        return tuple(part for part in (self.head, audio, self.tail) if part)


class Heard(msgspec.Struct, frozen=True):
    """A transcription as it came. `usage` is None where the provider measured nothing, or nothing that can be true."""

    transcript: Transcript
    usage: Usage | None
    payload: dict[str, Any]


class Speaking(msgspec.Struct, frozen=True):
    """What is to be said, and how. `voice` is a name of OpenAI's, or one of the provider's own."""

    text: str
    voice: str
    format: AudioFormat
    speed: float = 1.0
    instructions: str = ""
    with_usage: bool = False  # the provider is to say which tokens it bills, where it can


class TextDelta(msgspec.Struct, frozen=True):
    """A piece of a transcription that is streamed."""

    text: str


type HeardEvent = TextDelta | Heard


class TranscriptionStream(Protocol):
    """Bytes in, events out, for one streamed transcription. The last event is a `Heard`."""

    def feed(self, data: bytes) -> list[HeardEvent]:
        """Events completed by these bytes. Raises a `KomilionError` where the provider sends one, or nonsense."""

    def close(self) -> list[HeardEvent]:
        """Events completed by the end. Raises `ProviderError` where the transcription is not whole."""


class SpeechStream(Protocol):
    """Bytes in, audio out, for speech that comes as events. `usage` is there at the end, where the provider tells."""

    usage: Usage | None

    def feed(self, data: bytes) -> bytes:
        """The audio in the events completed by these bytes. Raises a `KomilionError` where the provider sends one."""

    def close(self) -> bytes:
        """The audio in what is left. Raises `ProviderError` where the speech is not whole."""


class SpeechDialect(Protocol):
    """One provider's API of speech, e.g. Deepgram's."""

    largest_audio_bytes: int

    def longest_text(self, target: Target) -> int:
        """The most characters that one `speech_request` takes."""

    def transcription_request(self, options: Listening, target: Target, content_type: str) -> Upload:
        """The call to make for audio of this media type. Raises `BadRequest` for what the provider has no way to do."""

    def add_ons(self, options: Listening, target: Target) -> tuple[str, ...]:
        """What of the request the provider bills beside the hearing, each by the length of the audio."""

    def transcription_answer(self, body: bytes) -> Heard:
        """Read a whole 200 answer. Raises a `KomilionError` when it is an error or no transcription."""

    def transcription_stream(self) -> TranscriptionStream | None:
        """A decoder for one answer that is a stream of events; None where the provider knows no such thing."""

    def speech_request(self, options: Speaking, target: Target) -> UpstreamRequest:
        """The call to make. Raises `BadRequest` for a voice that cannot be one of the model's."""

    def speech_stream(self) -> SpeechStream | None:
        """A decoder for audio that comes as events; None where the provider sends no such thing."""

    def characters(self, headers: Mapping[str, str], text: str) -> int:
        """What a provider that bills characters bills for this text, by the head of its answer."""

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> KomilionError:
        """What a non-2xx answer means to our caller; never quotes the provider's credentials or internals."""


def milliseconds(seconds: object) -> int | None:
    """A duration as a provider writes it, in whole milliseconds, rounded up; None for what cannot be one."""
    if type(seconds) not in (int, float) or not math.isfinite(seconds):  # type: ignore[arg-type]
        return None
    rounded = math.ceil(Decimal(repr(seconds)) * 1000)  # 12.345 is not to become 12.346 by way of a binary fraction
    return rounded if 0 <= rounded <= MAX_UNITS else None


def seconds_of(value: object) -> float:
    """A time in a transcript; 0 for what cannot be one."""
    if type(value) not in (int, float) or not 0 <= value < MAX_UNITS:  # type: ignore[operator]
        return 0.0
    return float(value)  # type: ignore[arg-type]


def confidence_of(value: object) -> float | None:
    """A confidence in 0..1; None for everything else."""
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else None  # type: ignore[operator,arg-type]


def speaker_of(value: object) -> int | None:
    """The number of a speaker; None for everything else."""
    return value if type(value) is int and 0 <= value < MOST_SPEAKERS else None


def text_of(value: object) -> str:
    """A text; empty for everything else."""
    return value if type(value) is str else ""


def speech_failure(status: int, headers: Mapping[str, str], body: bytes) -> KomilionError:
    """`failure_of`, for a request whose media type is the caller's."""
    if status == 415:
        return UnsupportedMediaType("The provider does not take audio of this type.")
    return failure_of(status, headers, body)
