"""A transcript as a file: JSON, text, SRT or VTT, with the names that the page gave the speakers. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from komilion.common.errors import BadRequest
from komilion.common.names import hidden_characters
from routing.providers.speech import Transcript
from voice.meetings.transcript import written
from voice.speech.captions import speaker_name

NAMES_CHARACTERS = 10_000
NAME_CHARACTERS = 80
SPEAKERS_MOST = 100
ENDINGS = {"json": "json", "text": "txt", "srt": "srt", "vtt": "vtt"}
HEADINGS = (("decisions", "Decisions"), ("actions", "Actions"), ("openQuestions", "Open questions"))

_names = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class Exported:
    """A file; `ending` of its name."""

    body: bytes
    media_type: str
    ending: str


def names_in(text: str) -> dict[int, str]:
    """Speakers' names by number, from JSON. Raises `BadRequest`."""
    if not text:
        return {}
    try:
        found = _names.decode(text[:NAMES_CHARACTERS])
    except (msgspec.DecodeError, RecursionError):
        raise BadRequest("names must be a JSON object of texts.", param="names") from None
    named = {int(key): name.strip() for key, name in found.items() if key.isdecimal() and len(key) <= 3}
    for name in named.values():
        if len(name) > NAME_CHARACTERS or hidden_characters(name):
            raise BadRequest(f"A name has at most {NAME_CHARACTERS} characters, all of them visible.", param="names")
    return {number: name for number, name in named.items() if name and number < SPEAKERS_MOST}


def exported(result: Mapping[str, Any], form: str, names: Mapping[int, str]) -> Exported:
    """What a job brought, in this form. Raises `BadRequest`."""
    if form not in ENDINGS:
        raise BadRequest(f"format must be one of {', '.join(ENDINGS)}.", param="format")
    answer = result["answer"]
    if form == "json":
        speakers = [{**each, "name": names.get(each["id"], each["name"])} for each in answer["speakers"]]
        body = msgspec.json.format(msgspec.json.encode({**answer, "speakers": speakers}), indent=2)
        return Exported(body, "application/json", "json")
    transcript = _named(msgspec.convert(result["transcript"], Transcript), names)
    text, media_type = written(transcript, form)
    if form == "text" and answer.get("summary"):
        text += "\n" + "\n".join(_minutes(answer["summary"])) + "\n"
    return Exported(text.encode("utf-8", "replace"), media_type, ENDINGS[form])


def _named(transcript: Transcript, names: Mapping[int, str]) -> Transcript:
    numbers = {each.speaker for each in transcript.utterances if each.speaker is not None}
    if not numbers or not names:
        return transcript
    all_names = [names.get(number) or speaker_name(transcript, number, "Speaker") for number in range(max(numbers) + 1)]
    return msgspec.structs.replace(transcript, speaker_names=tuple(all_names))


def _minutes(summary: Mapping[str, Any]) -> list[str]:
    lines = ["Summary", summary["summary"]]
    for key, heading in HEADINGS:
        if summary.get(key):
            lines += ["", heading, *(f"- {_point(each)}" for each in summary[key])]
    return lines


def _point(each: Any) -> str:
    if isinstance(each, str):
        return each
    return f"{each['task']} ({each['owner']})" if each.get("owner") else str(each["task"])
