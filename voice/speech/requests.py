"""What the endpoints of speech are asked for: forms, JSON and queries -> neutral options, every field checked.

What is unknown is dropped and named, as in a chat. Sources: OpenAI's API reference (Audio) and Deepgram's.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import parse_qsl

from komilion.common.errors import BadRequest, UnsupportedMediaType
from komilion.common.numbers import numbers
from routing.gateway.exchange import Exchange, is_json
from routing.gateway.json_guard import parse_object
from routing.gateway.parameters import shown
from routing.providers.deepgram import LISTEN_PARAMETERS
from routing.providers.speech import AudioFormat, Listening, Speaking, Task
from voice.speech.choice import DEEPGRAM, Wanted
from voice.speech.forms import is_audio, is_form, parse_form
from voice.speech.raw import PARAMETERS as RAW_PARAMETERS
from voice.speech.raw import RawForm, raw_form

RESPONSE_FORMATS = ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")
STREAMED_FORMATS = ("json", "text", "diarized_json")
GRANULARITIES = ("word", "segment")
AUDIO_FORMATS: tuple[str, ...] = get_args(AudioFormat.__value__)
TRANSCRIPTION_FIELDS = frozenset(
    {
        *("model", "language", "prompt", "response_format", "temperature", "timestamp_granularities[]", "stream"),
        *("timestamp_granularities", "keywords[]", "user"),
    }
)
SPEECH_FIELDS = frozenset(
    {"model", "input", "voice", "response_format", "speed", "instructions", "stream_format", "user"}
)
TTS_FIELDS = frozenset({"text", "model", "voice", "encoding", "container", "sample_rate", "speed"})
# A call that answers somewhere else could not be metered; what costs extra and has no price could not be charged.
REFUSED = {
    "callback": "answers always come back on the same connection",
    "callback_method": "answers always come back on the same connection",
    "mip_opt_out": "providers ask more for it, and it has no price here",
}
AURA = re.compile(r"(?:deepgram/)?(aura(?:-2)?)-([a-z]+-[a-z]{2})")
ENCODINGS: dict[tuple[str, str], AudioFormat] = {
    ("linear16", ""): "wav",
    ("linear16", "wav"): "wav",
    ("linear16", "none"): "pcm",
    ("mp3", ""): "mp3",
    ("opus", ""): "opus",
    ("opus", "ogg"): "opus",
    ("flac", ""): "flac",
    ("aac", ""): "aac",
}
DEFAULT_VOICE = "alloy"
QUERY_MOST_FIELDS = 64
PROMPT_CHARACTERS = 10_000
NAME_CHARACTERS = 200
TRUE, FALSE = ("true", "1"), ("false", "0", "")


@dataclass(frozen=True, slots=True)
class TranscriptionAsked:
    """A request for a text. The audio is in `audio`, or behind `url`."""

    wanted: Wanted
    options: Listening
    audio: bytes = b""
    url: str = ""
    raw: RawForm | None = None  # of audio that is no file
    response_format: str = "json"
    granularities: tuple[str, ...] = ("segment",)
    dropped: tuple[str, ...] = ()
    end_user: str = ""


@dataclass(frozen=True, slots=True)
class SpeechAsked:
    """A request for audio; `options.text` is whole."""

    wanted: Wanted
    options: Speaking
    as_events: bool = False
    dropped: tuple[str, ...] = ()
    end_user: str = ""


def parse_transcription(exchange: Exchange, body: bytes, task: Task) -> TranscriptionAsked:
    """OpenAI's form. Raises `UnsupportedMediaType`, `BadRequest`; `param` names the field at fault."""
    content_type = exchange.header(b"content-type")
    if not is_form(content_type):
        raise UnsupportedMediaType("The request body must be multipart/form-data with the audio in `file`.")
    form = parse_form(content_type, body)
    file = form.files.pop("file", None)
    if file is None:
        raise BadRequest("file is missing: the audio goes there, as a file with a name.", param="file")
    wanted_format = form.text("response_format") or "json"
    _one_of("response_format", wanted_format, RESPONSE_FORMATS)
    granularities = [*form.fields.get("timestamp_granularities[]", []), *form.fields.get("timestamp_granularities", [])]
    for each in granularities:
        _one_of("timestamp_granularities[]", each, GRANULARITIES)
    stream = _flag("stream", form.text("stream"))
    if stream and wanted_format not in STREAMED_FORMATS:
        raise BadRequest(f"stream answers with events, which cannot carry {wanted_format}.", param="stream")
    options = Listening(
        task=task,
        language=_name("language", form.text("language")),
        prompt=_within("prompt", form.text("prompt"), PROMPT_CHARACTERS),
        temperature=_number("temperature", form.text("temperature"), 0, 1),
        keywords=tuple(form.fields.get("keywords[]", ())),
        with_times=wanted_format in {"srt", "vtt", "verbose_json"},
        with_words="word" in granularities or wanted_format in {"srt", "vtt"},
        with_speakers=wanted_format == "diarized_json",
        stream=stream,
    )
    return TranscriptionAsked(
        wanted=Wanted("transcription", _name("model", form.text("model")), _needs(options, granularities)),
        options=options,
        audio=file.data,
        response_format=wanted_format,
        granularities=tuple(granularities) or ("segment",),
        dropped=_unknown([*form.fields, *form.files], TRANSCRIPTION_FIELDS),
        end_user=_name("user", form.text("user")),
    )


def parse_stt(exchange: Exchange, body: bytes) -> TranscriptionAsked:
    """Deepgram's way: all options in the query, the audio as the body, in a form, or behind a URL in JSON."""
    query, model, raw, dropped = _listen_query(exchange.query)
    audio, url = b"", ""
    content_type = exchange.header(b"content-type")
    if is_form(content_type):
        form = parse_form(content_type, body)
        file = form.files.pop("audio", None) or form.files.pop("file", None)
        if file is None:
            raise BadRequest("audio is missing: the audio goes there, as a file with a name.", param="audio")
        audio = file.data
        dropped += _unknown([*form.fields, *form.files], frozenset())
    elif content_type and is_json(content_type) and not content_type.strip().lower().startswith("text/"):
        fields = parse_object(body)
        url = _text(fields, "url")
        dropped += _unknown(fields, frozenset({"url"}))
    elif is_audio(content_type):
        audio = body
    else:
        raise UnsupportedMediaType("The body must be audio, a form with the audio in `audio`, or JSON with a `url`.")
    options = Listening(
        language="" if query.get("language") == ("multi",) else "".join(query.get("language", ())[:1]),
        keywords=(*query.get("keyterm", ()), *query.get("keywords", ())),
        with_times=True,
        with_words=True,
        with_speakers=query.get("diarize") == ("true",),
        query=query,
    )
    wanted = Wanted("transcription", model, (frozenset({"word_timestamps"}),), DEEPGRAM)
    return TranscriptionAsked(wanted, options, audio, url, raw, "deepgram", dropped=dropped)


def parse_speech(exchange: Exchange, body: bytes) -> SpeechAsked:
    """OpenAI's JSON. Raises `BadRequest`; `param` names the field at fault."""
    fields = parse_object(body)
    wanted_format = _text(fields, "response_format", "mp3")
    _one_of("response_format", wanted_format, AUDIO_FORMATS)
    stream_format = _text(fields, "stream_format", "audio")
    _one_of("stream_format", stream_format, ("audio", "sse"))
    if isinstance(fields.get("voice"), dict):
        raise BadRequest("voice must be a name: a voice of your own is not at home here.", param="voice")
    model, voice = _voice_in(_name("model", _text(fields, "model", "")))
    options = Speaking(
        text=_spoken("input", _text(fields, "input")),
        voice=voice or _name("voice", _text(fields, "voice", DEFAULT_VOICE)),
        format=_audio_format(wanted_format),
        speed=_number("speed", fields.get("speed"), 0.25, 4) or 1.0,
        instructions=_within("instructions", _text(fields, "instructions", ""), PROMPT_CHARACTERS),
    )
    return SpeechAsked(
        wanted=Wanted("speech", model, voice=options.voice),
        options=options,
        as_events=stream_format == "sse",
        dropped=_unknown(fields, SPEECH_FIELDS),
        end_user=_name("user", _text(fields, "user", "")),
    )


def parse_tts(exchange: Exchange, body: bytes) -> SpeechAsked:
    """`{text, model}`, with Deepgram's other options in the body or in the query. WAV where nothing else is said."""
    fields: dict[str, Any] = {**dict(_query(exchange.query)), **parse_object(body)}
    for name in REFUSED.keys() & fields.keys():
        _refuse(name, fields[name])
    encoding, container = _text(fields, "encoding", "linear16"), _text(fields, "container", "")
    wanted_format = ENCODINGS.get((encoding, container if (encoding, container) in ENCODINGS else ""))
    if wanted_format is None or (container and (encoding, container) not in ENCODINGS):
        raise BadRequest("There is no such encoding, or not in this container.", param="encoding")
    if str(fields.get("sample_rate", 24_000)) != "24000" and wanted_format in {"wav", "pcm"}:
        raise BadRequest("sample_rate must be 24000.", param="sample_rate")
    model, voice = _voice_in(_name("model", _text(fields, "model", "")))
    options = Speaking(
        text=_spoken("text", _text(fields, "text")),
        voice=voice or _name("voice", _text(fields, "voice", DEFAULT_VOICE)),
        format=wanted_format,
        speed=_number("speed", fields.get("speed"), 0.25, 4) or 1.0,
    )
    return SpeechAsked(
        Wanted("speech", model, dialect=DEEPGRAM, voice=options.voice), options, dropped=_unknown(fields, TTS_FIELDS)
    )


def _needs(options: Listening, granularities: list[str]) -> tuple[frozenset[str], ...]:
    """What a model must be able to do, one of each set."""
    needs = []
    if options.task == "translate":
        needs.append(frozenset({"translation"}))
    if options.with_speakers:
        needs.append(frozenset({"diarization"}))
    if "word" in granularities:
        needs.append(frozenset({"word_timestamps"}))
    elif options.with_times:
        needs.append(frozenset({"word_timestamps", "diarization"}))
    return tuple(needs)


def _listen_query(query: bytes) -> tuple[dict[str, tuple[str, ...]], str, RawForm | None, tuple[str, ...]]:
    """The parameters to pass on, the model, what audio without a container is, and what is not passed on."""
    known: dict[str, tuple[str, ...]] = {}
    said_of_audio: dict[str, str] = {}
    model, dropped = "", []
    for name, value in _query(query):
        if name in REFUSED:
            _refuse(name, value)
        elif name == "model":
            if model:
                raise BadRequest("model may be given only once.", param="model")
            model = _name("model", value)
        elif name in LISTEN_PARAMETERS:
            known[name] = (*known.get(name, ()), value)
        elif name in RAW_PARAMETERS:
            said_of_audio[name] = value
        else:
            dropped.append(shown(name))
    return known, model, raw_form(said_of_audio), tuple(dict.fromkeys(dropped))


def _refuse(name: str, value: object) -> None:
    if value not in ("false", False):
        raise BadRequest(f"{name} is not taken: {REFUSED[name]}.", param=name)


def _query(query: bytes) -> list[tuple[str, str]]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=QUERY_MOST_FIELDS)
    except ValueError:
        raise BadRequest(f"The query is malformed, or has more than {QUERY_MOST_FIELDS} parameters.") from None
    return [(name, _within(shown(name), value, PROMPT_CHARACTERS)) for name, value in pairs]


def _voice_in(model: str) -> tuple[str, str]:
    """Deepgram names a model by its voice: `aura-2-thalia-en` is `thalia-en` of `deepgram/aura-2`."""
    found = AURA.fullmatch(model)
    return (f"deepgram/{found[1]}", found[2]) if found else (model, "")


def _unknown(names: Iterable[str], known: frozenset[str]) -> tuple[str, ...]:
    return tuple(shown(name) for name in names if name not in known)


def _text(fields: dict[str, Any], name: str, default: str | None = None) -> str:
    value = fields.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise BadRequest(f"{name} must be a text that is not empty.", param=name)
    return value


def _within(name: str, text: str, most: int) -> str:
    if len(text) > most:
        raise BadRequest(f"{name} is longer than {most:,} characters.", param=name)
    return text


def _name(field: str, text: str) -> str:
    """A short text of one line."""
    if not text.isprintable():
        raise BadRequest(f"{field} holds characters that cannot be shown.", param=field)
    return _within(field, text, NAME_CHARACTERS)


def _spoken(name: str, text: str) -> str:
    """Blanks and marks that nobody sees are nothing to speak, and providers charge for them."""
    if all(unicodedata.category(character)[0] in "ZC" for character in text):
        raise BadRequest(f"{name} holds nothing that can be spoken.", param=name)
    return _within(name, text, numbers.SPEECH_TEXT_LIMIT_CHARACTERS)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadRequest(f"{name} must be one of {', '.join(known)}.", param=name)


def _audio_format(value: str) -> AudioFormat:
    return next(known for known in ENCODINGS.values() if known == value)


def _flag(name: str, value: str) -> bool:
    _one_of(name, value.lower(), (*TRUE, *FALSE))
    return value.lower() in TRUE


def _number(name: str, value: object, least: float, most: float) -> float | None:
    """A number in a range, as JSON or as text; None for null and an empty text."""
    if value is None or value == "":
        return None
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else least - 1
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise BadRequest(f"{name} must be a number from {least} to {most}.", param=name)
    return number
