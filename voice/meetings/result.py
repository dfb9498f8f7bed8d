"""A meeting as it is told: transcript, speakers, summary and bill together."""

import threading
from dataclasses import dataclass, field
from typing import Any

from accounts.api.json import usd
from routing.providers.speech import Transcript
from voice.audio.diarize import find_speakers
from voice.meetings.options import MeetingOptions
from voice.meetings.recording import Recording
from voice.meetings.summarizing import Summary
from voice.meetings.transcript import meeting_json, with_guessed_speakers, without_speakers, written

NOT_STRUCTURED = (
    "The model did not answer in the shape that was asked for. What it wrote is the summary, and may be made up:"
    " compare it with the transcript."
)
_guessing = threading.Lock()  # one recording at a time in a process: each takes some 450 MB


@dataclass(frozen=True, slots=True)
class Told:
    """What a meeting came to; `cost_nano` is of the transcription alone."""

    transcript: Transcript
    options: MeetingOptions
    models: tuple[str, ...]
    request_ids: tuple[str, ...]
    cost_nano: int
    summary: Summary = field(default_factory=Summary)
    ignored: tuple[str, ...] = ()
    is_partial: bool = False

    @property
    def all_nano(self) -> int:
        """The bill."""
        return self.cost_nano + self.summary.cost_nano


def name_speakers(transcript: Transcript, recording: Recording, options: MeetingOptions) -> Transcript:
    """Who says what: as the provider heard it, else guessed by the sound of the voices, which are as many as the
    options say. Blocks.
    """
    if not options.diarize:
        return without_speakers(transcript)
    if transcript.speakers == "heard" or not transcript.utterances:
        return transcript
    with _guessing:
        return with_guessed_speakers(transcript, find_speakers(recording.samples, options.speakers))


def told_json(told: Told) -> dict[str, Any]:
    """The answer in JSON."""
    answer = meeting_json(told.transcript)
    minutes, trouble = told.summary.minutes, told.summary.trouble
    if told.options.summarize:
        answer["summary"] = None if minutes is None else minutes.as_json()
        if trouble is not None:
            answer["summaryError"] = {"reason": trouble.reason, "message": trouble.message}
        elif minutes is not None and minutes.is_plain:
            answer["summaryError"] = {"reason": "not_structured", "message": NOT_STRUCTURED}
    if told.is_partial:
        answer["partial"] = True
    answer["cost_usd"], answer["cost_nano_usd"] = usd(told.all_nano), told.all_nano
    answer["x_komilion"] = {
        "models": list(told.models),
        "request_ids": [*told.request_ids, *told.summary.request_ids],
        "transcription_cost_nano_usd": told.cost_nano,
        "summary_cost_nano_usd": told.summary.cost_nano,
        "adjusted": [{"param": name, "action": "dropped"} for name in _dropped(told)],
    }
    return answer


def _dropped(told: Told) -> tuple[str, ...]:
    """What had no effect: unknown fields, and a number of speakers where the provider heard who speaks."""
    counted = told.options.speakers is not None and told.transcript.speakers == "heard"
    return (*told.ignored, *(["speakers"] if counted else []))


def told_as(told: Told, form: str) -> tuple[str, str]:
    """The transcript as a text and its media type, with the summary behind a plain text."""
    body, media_type = written(told.transcript, form)
    if form == "text" and told.summary.minutes is not None:
        body += "\n" + "\n".join(_lines(told.summary)) + "\n"
    return body, media_type


def _lines(summary: Summary) -> list[str]:
    minutes = summary.minutes
    assert minutes is not None
    lines = ["Summary", minutes.summary]
    lines += ["", "Decisions", *(f"- {each}" for each in minutes.decisions)] if minutes.decisions else []
    if minutes.actions:
        lines += ["", "Actions", *(f"- {each.task} ({each.owner or 'nobody named'})" for each in minutes.actions)]
    if minutes.open_questions:
        lines += ["", "Open questions", *(f"- {each}" for each in minutes.open_questions)]
    return lines
