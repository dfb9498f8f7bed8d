"""Meetings as workers leave them, for the pages that show them."""

from datetime import timedelta
from typing import Any

import msgspec

from tests.people import Person

WORDS = (
    ("Alice here: we ship on Friday & not before.", 0, 0.0),
    ("Who writes the notes?", 1, 4.0),
    ("I do <b>them</b> tomorrow.", 0, 6.0),
)
SUMMARY = {
    "summary": "The team agreed on a date.",
    "decisions": ["Ship on Friday"],
    "actions": [{"task": "Write the notes", "owner": "Alice"}, {"task": "Book a room", "owner": None}],
    "openQuestions": ["Who pays?"],
}


def transcript(speakers: str = "guessed") -> Any:
    """Three utterances of two speakers, a word every half second."""
    from routing.providers.speech import Transcript, Utterance, Word

    said = []
    for text, speaker, start in WORDS:
        words = tuple(
            Word(word, start + number / 2, start + number / 2 + 0.4, speaker=speaker)
            for number, word in enumerate(text.split())
        )
        said.append(Utterance(text, start, words[-1].end_s, speaker=speaker, words=words))
    text = " ".join(text for text, _, _ in WORDS)
    return Transcript(text, language="en", duration_s=9.0, utterances=tuple(said), speakers=speakers)


def result(**changes: Any) -> dict[str, Any]:
    """What `voice.meetings` keeps of a job that is done."""
    from voice.meetings.transcript import meeting_json

    answer = {
        **meeting_json(transcript()),
        "summary": SUMMARY,
        "cost_nano_usd": 1_234_000,
        "x_komilion": {"models": ["local/whisper-tiny.en"]},
        **changes,
    }
    return {"answer": answer, "transcript": msgspec.to_builtins(transcript())}


def new_meeting(person: Person, *, state: str = "completed", told: dict[str, Any] | None = None, **fields: Any) -> Any:
    """A job of hers, in that state and with that result."""
    from komilion.common.clock import utc_now
    from routing.catalog.credentials import seal
    from voice.actions.jobs import NewJob, do_make_job
    from voice.meetings.options import MeetingOptions
    from voice.models import TranscriptionJob

    job = do_make_job(NewJob(person.organization_id, person.membership_id, None, MeetingOptions(summarize=True)))
    if state == "completed" and told is None:
        told = result()
    ended = {"finished_at": utc_now() + timedelta(seconds=1)} if state in {"completed", "failed", "canceled"} else {}
    sealed = {"result_sealed": seal(msgspec.json.encode(told))} if told is not None else {}
    fields = {"duration_ms": 9_000, "cost_nano": 1_234_000, **ended, **sealed, **fields}
    TranscriptionJob.objects.filter(pk=job.pk).update(state=state, **fields)
    return TranscriptionJob.objects.get(pk=fields.get("id", job.pk))


def demand_options(**options: Any) -> None:
    """The newest job was made with these."""
    from voice.models import TranscriptionJob

    made = TranscriptionJob.objects.latest("created_at").options
    assert made | options == made, made


def end_meeting(told: dict[str, Any] | None = None) -> None:
    """The newest job ends as a worker would end it."""
    from komilion.common.clock import utc_now
    from routing.catalog.credentials import seal
    from voice.models import TranscriptionJob

    newest = TranscriptionJob.objects.order_by("-created_at")[:1].values("pk")
    TranscriptionJob.objects.filter(pk__in=list(newest.values_list("pk", flat=True))).update(
        state="completed",
        finished_at=utc_now(),
        duration_ms=9_000,
        cost_nano=1_234_000,
        result_sealed=seal(msgspec.json.encode(told or result())),
    )


def new_recording(person: Person, content: bytes = b"RIFF....", name: str = "standup.wav") -> Any:
    """A file of hers that was sent to its end."""
    from voice.actions.uploads import NewUpload, do_make_upload
    from voice.models import Upload
    from voice.uploads.folder import path_of

    upload = do_make_upload(
        NewUpload(person.organization_id, person.membership_id, None, name, "audio/wav", len(content))
    )
    path_of(upload.key).write_bytes(content)
    Upload.objects.filter(pk=upload.key).update(state="received", received_bytes=len(content))
    return upload


def new_message(person: Person, job: Any, *, state: str = "delivered") -> Any:
    """A message about the job to a webhook, tried once."""
    from komilion.common.clock import utc_now
    from routing.catalog.credentials import seal
    from voice.models import WebhookDelivery

    return WebhookDelivery.objects.create(
        id="msg_1",
        organization_id=person.organization_id,
        job=job,
        event="transcription.completed",
        url_sealed=seal(b"https://hooks.example.com/in?token=secret"),
        payload="{}",
        state=state,
        tries=[{"at": "2026-11-30T10:00:00Z", "status": 500, "error": "", "answer": "<b>no</b>", "ms": 12}],
        created_at=utc_now(),
    )
