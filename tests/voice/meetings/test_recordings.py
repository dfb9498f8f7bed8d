"""The recording that a job was made from: it goes with the job, and counts as nobody's upload."""

import pytest

from tests.voice.meetings.conftest import JOBS, Meetings, talk
from tests.voice.meetings.jobs import finished, make_job, row_of, uploaded, work
from tests.voice.uploads.sending import ask_ticket, bearer, files, request, ticket


def in_a_form(meetings: Meetings, who, **fields) -> str:
    answer = meetings.send(who, talk(), **{"async": "true", **fields})
    assert answer.status == 202, answer.body
    return str(answer.json["id"])


def deleted(meetings: Meetings, who, job_id: str) -> bool:
    answer = request(meetings.gateway, "DELETE", f"{JOBS}/{job_id}", headers=bearer(who))
    return bool(answer.json["deleted"])


@pytest.mark.parametrize("make", [in_a_form, make_job])
def test_a_job_that_is_deleted_takes_its_recording_along(meetings: Meetings, nova: str, make):
    bob = meetings.gateway.tenant()
    job_id = make(meetings, bob, model=nova)
    assert work(job_id)
    key = row_of(job_id).upload_id
    assert key in files()
    assert deleted(meetings, bob, job_id)
    assert key not in files()
    assert request(meetings.gateway, "GET", f"/api/voice/upload/{key}", headers=bearer(bob)).status == 404


def test_a_recording_stays_while_another_job_was_made_from_it(meetings: Meetings, nova: str):
    bob = meetings.gateway.tenant()
    key = uploaded(meetings, bob, talk())
    first, second = (meetings.ask(bob, audioKey=key, model=nova, **{"async": True}).json["id"] for _ in range(2))
    assert work(first)
    assert deleted(meetings, bob, first)
    assert work(second)
    finished(meetings, bob, second)
    assert deleted(meetings, bob, second)
    assert key not in files()


def test_a_job_whose_recording_cannot_be_deleted_now_stays_to_be_deleted_again(
    meetings: Meetings, nova: str, monkeypatch
):
    from komilion.common.errors import Unavailable
    from voice.uploads.store import Disk

    bob = meetings.gateway.tenant()
    job_id = in_a_form(meetings, bob, model=nova)
    assert work(job_id)

    def away(self, upload) -> None:
        raise Unavailable("The store of uploads does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(Disk, "delete", away)
        assert request(meetings.gateway, "DELETE", f"{JOBS}/{job_id}", headers=bearer(bob)).status == 503
    assert deleted(meetings, bob, job_id)


def listed(meetings: Meetings, who) -> list[tuple[str, str]]:
    answer = request(meetings.gateway, "GET", "/api/voice/uploads", headers=bearer(who))
    return [(upload["audioKey"], upload["filename"]) for upload in answer.json["data"]]


def test_recordings_that_came_in_a_form_take_no_upload_of_the_organization(meetings: Meetings, nova: str, settings):
    settings.VOICE_UPLOADS_PER_ORGANIZATION = 1
    bob = meetings.gateway.tenant()
    in_a_form(meetings, bob, model=nova)
    in_a_form(meetings, bob, model=nova)
    ticket(meetings.gateway, bob)
    assert ask_ticket(meetings.gateway, bob).status == 409
    in_a_form(meetings, bob, model=nova)


def test_recordings_are_listed_by_the_name_of_their_file_and_can_be_deleted(meetings: Meetings, nova: str):
    bob = meetings.gateway.tenant()
    job_id = in_a_form(meetings, bob, model=nova)
    key = row_of(job_id).upload_id
    monday = ticket(meetings.gateway, bob)["audioKey"]
    assert listed(meetings, bob) == [(monday, "monday.wav"), (key, "meeting.wav")]
    assert work(job_id)
    for each in (monday, key):
        path = f"/api/voice/upload/{each}"
        assert request(meetings.gateway, "DELETE", path, headers=bearer(bob)).status == 200
    assert listed(meetings, bob) == []
    assert key not in files()


def test_a_key_without_the_right_to_manage_keys_is_told_of_its_own_uploads_alone(meetings: Meetings):
    bob = meetings.gateway.tenant()
    where = ticket(meetings.gateway, bob)
    assert [key for key, _ in listed(meetings, bob)] == [where["audioKey"]]
    from voice.models import Upload

    Upload.objects.filter(pk=where["audioKey"]).update(api_key=None)  # as one of another key's, or of a person's
    assert listed(meetings, bob) == []


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("standup.mp3", "standup.mp3"),
        ("C:\\talks\\a.wav", "a.wav"),
        ("/tmp/..", None),
        ("", None),
        ("a\u202eb.wav", None),
    ],
)
def test_what_a_form_calls_its_file_is_shown_where_it_is_a_name(sent: str, shown: str | None):
    from voice.uploads.names import kept_name

    assert kept_name(sent, "meeting-2026-11-30") == (shown or "meeting-2026-11-30")


def test_a_file_that_we_lost_is_told_as_our_loss_and_to_operators(meetings: Meetings, nova: str, caplog):
    from voice.uploads.folder import path_of

    bob = meetings.gateway.tenant()
    job_id = in_a_form(meetings, bob, model=nova)
    key = uploaded(meetings, bob, talk())
    for each in (key, row_of(job_id).upload_id):
        path_of(each).unlink()
    asked = meetings.ask(bob, audioKey=key, model=nova)
    assert asked.status == 404
    assert "is gone on our side" in asked.json["error"]["message"]
    assert work(job_id)
    job = meetings.job(bob, job_id).json
    assert (job["status"], job["error"]["reason"]) == ("failed", "not_found")
    assert "no mistake of yours" in job["error"]["message"]
    assert [record.alarm for record in caplog.records if hasattr(record, "alarm")] == ["upload_missing"] * 2


def test_a_file_that_nobody_sent_to_its_end_is_asked_for(meetings: Meetings, nova: str):
    bob = meetings.gateway.tenant()
    asked = meetings.ask(bob, audioKey=ticket(meetings.gateway, bob)["audioKey"], model=nova)
    assert asked.status == 400
    assert "was not uploaded" in asked.json["error"]["message"]


def test_operators_see_what_waits_runs_and_failed(meetings: Meetings, nova: str):
    from voice.monitoring import voice_state

    def state() -> dict[str, float]:
        return {name: value for name, (_, value) in voice_state().items()}

    bob, before = meetings.gateway.tenant(), state()
    job_id = in_a_form(meetings, bob, model=nova)
    queued = state()
    assert queued["transcription_jobs_waiting"] == before["transcription_jobs_waiting"] + 1
    assert queued["transcription_oldest_waiting_seconds"] > 0
    assert queued["upload_bytes"] == before["upload_bytes"] + len(talk())
    type(row_of(job_id)).objects.filter(pk=job_id).update(state="failed")
    failed = state()
    assert failed["transcription_jobs_failed"] == before["transcription_jobs_failed"] + 1
    assert failed["transcription_jobs_waiting"] == before["transcription_jobs_waiting"]
