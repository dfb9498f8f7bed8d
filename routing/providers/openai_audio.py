"""OpenAI's dialect of speech, for OpenAI, for everybody who copied it and for the models on this machine.

`POST /audio/transcriptions` and `/audio/translations` (multipart), `POST /audio/speech` (JSON). Models differ in data,
not in code; a capability of the offer says what its model can answer:

    word_timestamps  `verbose_json`: segments, words and the language
    diarization      `diarized_json`: who spoke
    text_stream      `stream`: the text as it is heard
    instructions     how a voice is to sound

Protocol: OpenAI's API reference, Audio.
"""

import base64
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from msgspec.structs import replace

from komilion.common.errors import BadRequest, KomilionError, ProviderError
from komilion.common.usage import MAX_UNITS, Usage
from routing.providers.base import Target, UpstreamRequest
from routing.providers.languages import code_of
from routing.providers.openai_stream import failure_within, parse
from routing.providers.speech import (
    Heard,
    HeardEvent,
    Listening,
    Speaking,
    TextDelta,
    Transcript,
    Upload,
    Utterance,
    Word,
    milliseconds,
    seconds_of,
    speech_failure,
    text_of,
)
from routing.providers.sse import EventBuffer, events

LONGEST_TEXT_CHARACTERS = 4_096
LARGEST_AUDIO_BYTES = 25 * 2**20
MOST_SPEAKER_NAMES = 1_000

# The provider tells the format by the name of the file. The caller's own name of it is nobody's business.
EXTENSIONS = {
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/mp4": "mp4",
    "audio/m4a": "m4a",
    "audio/x-m4a": "m4a",
    "audio/aac": "aac",
    "audio/ogg": "ogg",
    "audio/opus": "ogg",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/webm": "webm",
    "video/mp4": "mp4",
    "video/webm": "webm",
}
OTHER_EXTENSION = "wav"
# Of Deepgram's parameters: what `Listening` says too, and what every model here does unasked.
UNDERSTOOD = frozenset(
    {"language", "detect_language", "keyterm", "keywords", "diarize", "punctuate", "smart_format", "utterances"}
)


class OpenAIAudio:
    """The `SpeechDialect` of OpenAI-shaped providers."""

    largest_audio_bytes = LARGEST_AUDIO_BYTES

    def longest_text(self, target: Target) -> int:
        """The same for every model."""
        return LONGEST_TEXT_CHARACTERS

    def transcription_request(self, options: Listening, target: Target, content_type: str) -> Upload:
        """Multipart, the file as its last part."""
        fields, dropped = _fields(options, target)
        boundary = f"komilion-{secrets.token_hex(16)}"
        kind = content_type.partition(";")[0].strip().lower()
        extension = EXTENSIONS.get(kind, OTHER_EXTENSION)
        head = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields
        ]
        disposition = f'Content-Disposition: form-data; name="file"; filename="audio.{extension}"'
        head.append(f"--{boundary}\r\n{disposition}\r\nContent-Type: {kind}\r\n\r\n")
        path = "translations" if options.task == "translate" else "transcriptions"
        accept = "text/event-stream" if ("stream", "true") in fields else "application/json"
        return Upload(
            url=f"{target.base_url}/audio/{path}",
            headers=_headers(target, f"multipart/form-data; boundary={boundary}", accept),
            head="".join(head).encode("utf-8", "replace"),
            tail=f"\r\n--{boundary}--\r\n".encode(),
            dropped=dropped,
        )

    def add_ons(self, options: Listening, target: Target) -> tuple[str, ...]:
        """Nothing costs extra here."""
        return ()

    def transcription_answer(self, body: bytes) -> Heard:
        """Read `json`, `verbose_json` or `diarized_json`, whichever came."""
        return _heard(parse(body))

    def transcription_stream(self) -> "TextStream":
        """The events `transcript.text.*`."""
        return TextStream()

    def speech_request(self, options: Speaking, target: Target) -> UpstreamRequest:
        """The text, voice and format as JSON."""
        body: dict[str, Any] = {
            "model": target.upstream_id,
            "input": options.text,
            "voice": options.voice,
            "response_format": options.format,
        }
        if options.speed != 1.0:
            body["speed"] = options.speed
        if options.instructions and "instructions" in target.capabilities:
            body["instructions"] = options.instructions
        if options.with_usage:
            body["stream_format"] = "sse"
        headers = _headers(target, "application/json", "audio/*")
        return UpstreamRequest(target.base_url + "/audio/speech", headers, orjson.dumps(body))

    def speech_stream(self) -> "AudioEvents":
        """The events `speech.audio.*`."""
        return AudioEvents()

    def characters(self, headers: Mapping[str, str], text: str) -> int:
        """OpenAI does not say: those of the text."""
        return len(text)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> KomilionError:
        """What a non-2xx answer means to our caller (the table in `failures`)."""
        return speech_failure(status, headers, body)


class TextStream:
    """The `TranscriptionStream` of `transcript.text.delta`, `.segment` and `.done`."""

    def __init__(self) -> None:
        self._buffer = EventBuffer()
        self._segments: list[dict[str, Any]] = []
        self._is_done = False

    def feed(self, data: bytes) -> list[HeardEvent]:
        """Events completed by these bytes."""
        return self._read(self._buffer.feed(data))

    def close(self) -> list[HeardEvent]:
        """Raises `ProviderError` where `transcript.text.done` never came."""
        last = self._read(self._buffer.finish())
        if not self._is_done:
            raise ProviderError("The provider broke off the transcription.")
        return last

    def _read(self, block: bytes) -> list[HeardEvent]:
        found: list[HeardEvent] = []
        for _, data in events(block):
            if self._is_done or data == b"[DONE]":
                continue
            event = parse(data)
            failure = failure_within(event)
            if failure is not None:
                raise failure
            if type(event) is not dict:
                continue
            match event.get("type"):
                case "transcript.text.delta":
                    found.append(TextDelta(text_of(event.get("delta"))))
                case "transcript.text.segment":
                    self._segments.append(event)
                case "transcript.text.done":
                    self._is_done = True
                    found.append(_heard({"segments": self._segments, **event}))
        return found


class AudioEvents:
    """The `SpeechStream` of `speech.audio.delta` and `.done`."""

    def __init__(self) -> None:
        self._buffer = EventBuffer()
        self._is_done = False
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> bytes:
        """The audio in the events completed by these bytes."""
        return self._read(self._buffer.feed(data))

    def close(self) -> bytes:
        """Raises `ProviderError` where `speech.audio.done` never came."""
        last = self._read(self._buffer.finish())
        if not self._is_done:
            raise ProviderError("The provider broke off the speech.")
        return last

    def _read(self, block: bytes) -> bytes:
        audio = []
        for _, data in events(block):
            event = parse(data)
            failure = failure_within(event)
            if failure is not None:
                raise failure
            if type(event) is not dict:
                continue
            if event.get("type") == "speech.audio.delta":
                audio.append(_audio_of(event))
            elif event.get("type") == "speech.audio.done":
                self._is_done = True
                self.usage = _spoken_tokens(event.get("usage"))
        return b"".join(audio)


def _audio_of(event: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(text_of(event.get("audio")), validate=True)
    except ValueError:
        raise ProviderError("The provider sent audio that could not be read.") from None


def _spoken_tokens(raw: object) -> Usage | None:
    if type(raw) is not dict:
        return None
    said, spoken = _count(raw.get("input_tokens")), _count(raw.get("output_tokens"))
    return None if said is None or spoken is None else Usage(input=said, output_audio=spoken)


def _fields(options: Listening, target: Target) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """The form but for the file, and what of the options has no place in it."""
    can = target.capabilities
    fields = [("model", target.upstream_id), *_answer_fields(options, can)]
    dropped = [name for name in options.query or () if name not in UNDERSTOOD]
    if options.with_speakers and "diarization" not in can:
        dropped.append("with_speakers")
    if options.language and options.task == "transcribe":
        fields.append(("language", options.language))
    prompt = options.prompt or ", ".join(options.keywords)  # a prompt is the only place for keywords
    if prompt:
        fields.append(("prompt", prompt))
    if options.temperature is not None:
        fields.append(("temperature", f"{options.temperature:g}"))
    if options.stream and "text_stream" in can:
        fields.append(("stream", "true"))
    refused = [name for name, _ in fields if name in target.quirks.refuses]
    return [field for field in fields if field[0] not in refused], (*dropped, *refused)


def _answer_fields(options: Listening, can: frozenset[str]) -> list[tuple[str, str]]:
    """What the answer is to hold: as much as the model can tell."""
    tells_speakers = "diarization" in can and options.task == "transcribe"
    if "word_timestamps" in can and not (tells_speakers and options.with_speakers):
        granularities = ("segment", "word") if options.with_words and options.task == "transcribe" else ()
        return [("response_format", "verbose_json"), *(("timestamp_granularities[]", each) for each in granularities)]
    if tells_speakers:
        shape = "diarized_json" if options.with_speakers or options.with_times else "json"
        return [("response_format", shape), ("chunking_strategy", "auto")]  # it must be cut where it is long
    if options.with_times or options.with_words:
        raise BadRequest("This model gives no times: ask for `json` or `text`, or for another model.", param="model")
    return []  # `json` is what everybody answers with who is not told otherwise, and some know no other


def _headers(target: Target, content_type: str, accept: str) -> dict[str, str]:
    headers = {"Content-Type": content_type, "Accept": accept, "Accept-Encoding": "identity"}
    if target.api_key:
        headers["Authorization"] = "Bearer " + target.api_key
    return headers


def _heard(payload: object) -> Heard:
    failure = failure_within(payload)
    if failure is not None:
        raise failure
    if type(payload) is not dict or type(payload.get("text")) is not str:
        raise ProviderError("The provider's answer holds no transcription.")
    return Heard(_transcript(payload), _usage(payload), payload)


def _usage(payload: dict[str, Any]) -> Usage | None:
    """Tokens, or a duration (Mistral's name of it too); that of `verbose_json` where nothing else is said."""
    raw = payload.get("usage")
    if type(raw) is dict and raw.get("type") == "tokens":
        return _tokens(raw)
    seconds = raw.get("seconds", raw.get("prompt_audio_seconds")) if type(raw) is dict else payload.get("duration")
    audio_ms = milliseconds(seconds)
    return None if audio_ms is None else Usage(audio_ms=audio_ms)


def _tokens(raw: dict[str, Any]) -> Usage | None:
    """Disjoint: audio is a part of the input."""
    details = raw.get("input_token_details")
    audio = details.get("audio_tokens") if type(details) is dict else None
    total, output = _count(raw.get("input_tokens")), _count(raw.get("output_tokens"))
    heard = _count(0 if audio is None else audio)
    if total is None or output is None or heard is None or heard > total:
        return None
    return Usage(input=total - heard, input_audio=heard, output=output)


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_UNITS else None


def _transcript(payload: dict[str, Any]) -> Transcript:
    words = [_word(word) for word in _objects(payload.get("words"))]
    names: dict[str, int] = {}
    utterances = []
    for segment, own in _with_words(list(_objects(payload.get("segments"))), words):
        name = text_of(segment.get("speaker"))
        speaker = names.setdefault(name, len(names)) if name and len(names) < MOST_SPEAKER_NAMES else None
        start_s, end_s = seconds_of(segment.get("start")), seconds_of(segment.get("end"))
        text = text_of(segment.get("text")).strip()
        utterances.append(Utterance(text, start_s, end_s, speaker=speaker, words=_punctuated(own, text)))
    return Transcript(
        text=payload["text"].strip(),
        language=code_of(text_of(payload.get("language"))),
        duration_s=seconds_of(payload.get("duration")),
        utterances=tuple(utterances),
        speakers="heard" if names else "none",
        speaker_names=tuple(names),
    )


def _with_words(segments: list[dict[str, Any]], words: list[Word]) -> Iterator[tuple[dict[str, Any], tuple[Word, ...]]]:
    """Each segment with the words that begin before it ends; the last has all that are left.

    Words without any segment become one of their own.
    """
    if words and not segments:
        text = " ".join(word.text for word in words)
        segments = [{"text": text, "start": words[0].start_s, "end": words[-1].end_s}]
    start = 0
    for place, segment in enumerate(segments):
        end = start
        limit_s = seconds_of(segment.get("end"))
        while end < len(words) and (words[end].start_s < limit_s or place == len(segments) - 1):
            end += 1
        yield segment, tuple(words[start:end])
        start = end


def _punctuated(words: tuple[Word, ...], text: str) -> tuple[Word, ...]:
    """Words come without the punctuation that their segment's text has."""
    shown = text.split()
    if len(shown) != len(words):
        return words
    return tuple(replace(word, punctuated=form) for word, form in zip(words, shown, strict=True))


def _word(word: dict[str, Any]) -> Word:
    return Word(text_of(word.get("word")).strip(), seconds_of(word.get("start")), seconds_of(word.get("end")))


def _objects(value: object) -> Iterable[dict[str, Any]]:
    return (entry for entry in value if type(entry) is dict) if type(value) is list else ()
