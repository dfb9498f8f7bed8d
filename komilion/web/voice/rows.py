"""Meetings as the templates show them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voice.models import JobState, TranscriptionJob
from voice.models.job import HEARD_PERCENT

COLOURS = 6
LANGUAGES = (
    ("en", "English"),
    ("zh", "Chinese"),
    ("nl", "Dutch"),
    ("fr", "French"),
    ("de", "German"),
    ("hi", "Hindi"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("ko", "Korean"),
    ("pl", "Polish"),
    ("pt", "Portuguese"),
    ("ru", "Russian"),
    ("es", "Spanish"),
    ("sv", "Swedish"),
    ("tr", "Turkish"),
    ("uk", "Ukrainian"),
)
FIRST = ("web/playground/dom.js", "web/playground/session.js", "web/voice/words.js")
SCRIPTS = {
    "list": (*FIRST, "web/voice/upload.js", "web/voice/meetings.js"),
    "one": (*FIRST, "web/voice/speakers.js", "web/voice/listen.js", "web/voice/meeting.js"),
}
BADGES: Mapping[str, str] = {
    JobState.QUEUED: "info",
    JobState.RUNNING: "info",
    JobState.COMPLETED: "good",
    JobState.FAILED: "bad",
    JobState.CANCELED: "quiet",
}
WORDS: Mapping[str, str] = {
    JobState.QUEUED: "waiting",
    JobState.RUNNING: "being transcribed",
    JobState.COMPLETED: "done",
    JobState.FAILED: "failed",
    JobState.CANCELED: "canceled",
}


@dataclass(frozen=True, slots=True)
class MeetingRow:
    """A job with the name of its recording."""

    job: TranscriptionJob
    name: str

    @property
    def doing(self) -> str:
        """What is done for an open one at the moment."""
        if self.job.state == JobState.QUEUED:
            return "Waiting for its turn"
        if self.job.progress >= HEARD_PERCENT and self.job.options.get("summarize"):
            return "The summary is being written"
        return f"{self.job.progress} % is transcribed"

    @property
    def badge(self) -> str:
        """The kind of its state's badge."""
        return BADGES[self.job.state]

    @property
    def state(self) -> str:
        """Its state in words."""
        return WORDS[self.job.state]

    @property
    def length(self) -> str:
        """Of the audio, `1:05:09`; empty where it is not known yet."""
        return "" if self.job.duration_ms is None else clock(self.job.duration_ms / 1_000)


def clock(seconds: float) -> str:
    """`1:05`, `1:05:09`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def told_of(result: dict[str, Any] | None) -> dict[str, Any] | None:
    """The answer of a job, each utterance with the number of its colour, its clock and its speaker's name."""
    if result is None:
        return None
    answer: dict[str, Any] = result["answer"]
    names = {speaker["id"]: speaker["name"] for speaker in answer["speakers"]}
    said = [
        {
            **each,
            "colour": colour(each["speaker"]),
            "at": clock(each["start"]),
            "name": names.get(each["speaker"], ""),
        }
        for each in answer["utterances"]
    ]
    speakers = [{**each, "colour": colour(each["id"]), "spoke": clock(each["seconds"])} for each in answer["speakers"]]
    return {**answer, "utterances": said, "speakers": speakers}


def colour(speaker: int | None) -> int:
    """One of the charts' six, from 1; 0 for nobody."""
    return 0 if speaker is None else speaker % COLOURS + 1
