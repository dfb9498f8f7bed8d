"""What transcribe-meeting is asked for: a form with the audio, or JSON with its key or address; every field checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec

from komilion.common.egress import check_url
from komilion.common.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from routing.gateway.exchange import is_json
from routing.gateway.json_guard import parse_object
from routing.gateway.parameters import shown
from voice.speech.forms import FormFile, is_form, parse_form
from voice.uploads.names import clean_key

type MeetingFormat = Literal["json", "text", "srt", "vtt"]

FORMATS: tuple[str, ...] = get_args(MeetingFormat.__value__)
SOURCES = ("audio", "audioKey", "audioUrl")
AUDIO_MOST_BYTES = 4 * 2**20  # in the request itself; what is longer is uploaded first
BODY_MOST_BYTES = AUDIO_MOST_BYTES + 2**18
LANGUAGE_CHARACTERS = 35  # as BCP 47 has it
NAME_CHARACTERS = 200
SPEAKERS_MOST = 10
TRUE, FALSE = ("true", "1"), ("false", "0", "")


class MeetingOptions(msgspec.Struct, frozen=True):
    """How a meeting is to be written down. `language` and `model` are empty where we are to choose, `speakers` is None
    where nobody says how many there are.
    """

    language: str = ""
    model: str = ""
    format: MeetingFormat = "json"
    diarize: bool = True
    summarize: bool = False
    speakers: int | None = None


@dataclass(frozen=True, slots=True)
class MeetingAsked:
    """A request: exactly one of `audio`, `audio_key` and `audio_url` is there. `ignored` names unknown fields."""

    options: MeetingOptions
    audio: FormFile | None = None
    audio_key: str = ""
    audio_url: str = ""
    webhook_url: str = ""
    is_async: bool = False
    ignored: tuple[str, ...] = ()


FIELDS = frozenset({"language", "model", "format", "diarize", "speakers", "summarize", "async", "webhookUrl", *SOURCES})


def parse_meeting(content_type: str, body: bytes) -> MeetingAsked:
    """The request in this body. Raises `BadRequest`, `UrlRefused`, `UnsupportedMediaType`, `PayloadTooLarge`."""
    if is_form(content_type):
        form = parse_form(content_type, body)
        fields: dict[str, Any] = {name: form.text(name) for name in form.fields}
        file = form.files.pop("audio", None)
        ignored = list(form.files)
    elif is_json(content_type):
        fields, file, ignored = parse_object(body), None, []
    else:
        raise UnsupportedMediaType("The body must be a form with the audio in `audio`, or JSON.")
    if file is not None and len(file.data) > AUDIO_MOST_BYTES:
        message = (
            f"audio may have {AUDIO_MOST_BYTES // 2**20} MiB in the request itself; upload it, and send its audioKey."
        )
        raise PayloadTooLarge(message, param="audio")
    ignored += [name for name in fields if name not in FIELDS]
    key, url = _text(fields, "audioKey"), _text(fields, "audioUrl")
    if sum(map(bool, (file, key, url))) != 1 or (file is None and "audio" in fields):
        raise BadRequest("Exactly one of audio (a file of a form), audioKey and audioUrl must be there.", param="audio")
    if url:
        check_url(url, param="audioUrl")
    webhook_url = _text(fields, "webhookUrl")
    if webhook_url:
        check_url(webhook_url, param="webhookUrl")
    return MeetingAsked(
        options=_options(fields),
        audio=file,
        audio_key=clean_key(key) if key else "",
        audio_url=url,
        webhook_url=webhook_url,
        is_async=bool(webhook_url) or _flag(fields, "async", default=False),
        ignored=tuple(shown(name) for name in ignored),
    )


def _options(fields: Mapping[str, Any]) -> MeetingOptions:
    language = _text(fields, "language")
    if language.lower() == "auto":
        language = ""
    if len(language) > LANGUAGE_CHARACTERS or (not language.replace("-", "").isalnum() and language):
        raise BadRequest("language must be a code such as en or pt-BR.", param="language")
    model = _text(fields, "model")
    if len(model) > NAME_CHARACTERS or not model.isprintable():
        raise BadRequest("model is no name of a model.", param="model")
    wanted = _text(fields, "format") or "json"
    if wanted not in FORMATS:
        raise BadRequest(f"format must be one of {', '.join(FORMATS)}.", param="format")
    diarize, speakers = _flag(fields, "diarize", default=True), _speakers(fields)
    if speakers is not None and not diarize:
        raise BadRequest("speakers says how many to tell apart, and diarize that nobody should.", param="speakers")
    return MeetingOptions(
        language=language,
        model=model,
        format=wanted,  # type: ignore[arg-type]  # checked above
        diarize=diarize,
        summarize=_flag(fields, "summarize", default=False),
        speakers=speakers,
    )


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a text.", param=name)
    return value.strip()


def _speakers(fields: Mapping[str, Any]) -> int | None:
    """A number, or its digits in a form; nothing in either is for us to find out."""
    value = fields.get("speakers")
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isdecimal() and len(value) <= len(str(SPEAKERS_MOST)):
        value = int(value)
    if type(value) is not int or not 1 <= value <= SPEAKERS_MOST:
        raise BadRequest(f"speakers must be a whole number from 1 to {SPEAKERS_MOST}.", param="speakers")
    return value


def _flag(fields: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = fields.get(name)
    if value is None or isinstance(value, bool):
        return default if value is None else value
    if isinstance(value, str) and value.lower() in (*TRUE, *FALSE):
        return value.lower() in TRUE
    raise BadRequest(f"{name} must be true or false.", param=name)
