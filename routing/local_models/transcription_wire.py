"""OpenAI's audio transcriptions as this server understands them: a form in, one of three shapes of answer out.

https://platform.openai.com/docs/api-reference/audio/createTranscription. Words carry one field more than OpenAI's,
`probability`, because the model knows it.
"""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import orjson
from python_multipart import parse_form
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File

from routing.local_models.wire import RequestError

RESPONSE_FORMATS = ("json", "text", "verbose_json")
GRANULARITIES = ("word", "segment")
LANGUAGES = ("en", "english")
FIELDS = frozenset(
    {"model", "language", "prompt", "response_format", "temperature", "timestamp_granularities[]", "stream"}
)
MOST_PROMPT_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """A validated form. `temperature` None leaves it to the model."""

    model: str
    audio: bytes
    response_format: str
    prompt: str
    temperature: float | None
    words: bool


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it was spoken, in seconds from the beginning of the recording."""

    start_s: float
    end_s: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """What the model said in one breath, with its own figures on how sure it is."""

    start_s: float
    end_s: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    mean_log_probability: float
    compression_ratio: float
    no_speech_probability: float
    words: tuple[Word, ...]

    def later(self, seconds: float) -> "Segment":
        """The same, that much later in the recording."""
        words = tuple(replace(w, start_s=w.start_s + seconds, end_s=w.end_s + seconds) for w in self.words)
        return replace(self, start_s=self.start_s + seconds, end_s=self.end_s + seconds, words=words)


def parse_transcription_request(body: bytes, content_type: bytes) -> TranscriptionRequest:
    """Read the body of `POST /v1/audio/transcriptions`. Raises `RequestError` that names the field."""
    fields, granularities, audio = _form(body, content_type)
    if not fields.get("model"):
        raise RequestError("`model` must be a text.", param="model")
    if audio is None:
        raise RequestError("`file` must be a file.", param="file")
    response_format = fields.get("response_format") or "json"
    if response_format not in RESPONSE_FORMATS:
        raise RequestError(f"`response_format` must be one of {', '.join(RESPONSE_FORMATS)}.", param="response_format")
    if fields.get("language", "en").lower() not in LANGUAGES:
        raise RequestError("This model understands English only.", param="language", code="unsupported_language")
    if fields.get("stream", "false").lower() == "true":
        raise RequestError("This model does not stream transcripts.", param="stream")
    if any(granularity not in GRANULARITIES for granularity in granularities):
        raise RequestError("Granularities are `word` and `segment`.", param="timestamp_granularities")
    if len(fields.get("prompt", "")) > MOST_PROMPT_CHARACTERS:
        raise RequestError(f"`prompt` may have {MOST_PROMPT_CHARACTERS} characters.", param="prompt")
    return TranscriptionRequest(
        model=fields["model"],
        audio=audio,
        response_format=response_format,
        prompt=fields.get("prompt", ""),
        temperature=_temperature(fields),
        words="word" in granularities and response_format == "verbose_json",
    )


def _form(body: bytes, content_type: bytes) -> tuple[dict[str, str], list[str], bytes | None]:
    """The fields, the granularities and the file of a multipart form."""
    fields: dict[str, str] = {}
    granularities: list[str] = []
    files: list[bytes] = []

    def on_field(field: Field) -> None:
        name, value = (field.field_name or b"").decode(errors="replace"), (field.value or b"").decode(errors="replace")
        if name == "timestamp_granularities[]":
            granularities.append(value)
        elif name in FIELDS:
            fields[name] = value

    def on_file(file: File) -> None:
        if file.field_name == b"file":
            file.file_object.seek(0)
            files.append(file.file_object.read())
        file.close()

    headers = {"Content-Type": content_type, "Content-Length": str(len(body)).encode()}
    try:
        parse_form(headers, io.BytesIO(body), on_field, on_file)
    except (FormParserError, ValueError) as error:
        raise RequestError(f"The body must be multipart/form-data: {error}") from error
    return fields, granularities, files[0] if files else None


def _temperature(fields: Mapping[str, str]) -> float | None:
    if not fields.get("temperature"):
        return None
    try:
        temperature = float(fields["temperature"])
    except ValueError:
        temperature = math.nan
    if not 0 <= temperature <= 1:
        raise RequestError("`temperature` must be a number from 0 to 1.", param="temperature")
    return temperature


def transcription(request: TranscriptionRequest, segments: list[Segment], duration_s: float) -> tuple[bytes, bytes]:
    """The body of the answer and its content type."""
    text = "".join(segment.text for segment in segments).strip()
    if request.response_format == "text":
        return f"{text}\n".encode(), b"text/plain; charset=utf-8"
    usage = {"type": "duration", "seconds": math.ceil(round(duration_s * 1000, 6)) / 1000}
    if request.response_format == "json":
        return orjson.dumps({"text": text, "usage": usage}), b"application/json"
    whole = {
        "task": "transcribe",
        "language": "english",
        "duration": round(duration_s, 3),
        "text": text,
        "segments": [_segment(number, segment, duration_s) for number, segment in enumerate(segments)],
        "usage": usage,
    }
    if request.words:
        whole["words"] = [_word(word, duration_s) for segment in segments for word in segment.words]
    return orjson.dumps(whole), b"application/json"


def _segment(number: int, segment: Segment, duration_s: float) -> dict[str, object]:
    """As OpenAI has it; the model hears padded audio, and may end a segment behind the recording."""
    return {
        "id": number,
        "seek": 0,
        "start": round(min(segment.start_s, duration_s), 3),
        "end": round(min(segment.end_s, duration_s), 3),
        "text": segment.text,
        "tokens": segment.tokens,
        "temperature": segment.temperature,
        "avg_logprob": segment.mean_log_probability,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_probability,
    }


def _word(word: Word, duration_s: float) -> dict[str, object]:
    return {
        "word": word.text.strip(),
        "start": round(min(word.start_s, duration_s), 3),
        "end": round(min(word.end_s, duration_s), 3),
        "probability": round(word.probability, 4),
    }
