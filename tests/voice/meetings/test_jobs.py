"""Long meetings: jobs, their parts, their bills, and whose they are."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from standardwebhooks.webhooks import Webhook

from komilion.common.clock import utc_now
from tests.fakes.client import call
from tests.routing.books import organization_id, usage_rows
from tests.stand import Tenant
from tests.voice.meetings.conftest import JOBS, MEETING, MINUTES, Meetings, talk
from tests.voice.meetings.jobs import MINUTE_S, TEXT, charged, finished, long_talk, make_job, row_of, uploaded, work
from tests.voice.uploads.sending import UPLOAD, bearer, request
from tests.voice.webhooks.receiver import Receiver

# the way of a job


def test_what_is_wanted_later_is_answered_with_a_job(meetings: Meetings, nova: str, writer: str):
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova, summarize=True, diarize=True)
    before = meetings.job(bob, job_id).json
    assert (before["status"], before["result"], before["duration"]) == ("queued", None, None)
    assert work(job_id)
    job = finished(meetings, bob, job_id)
    result = job["result"]
    assert (result["text"], result["duration"], job["duration"]) == (TEXT, 2.0, 2.0)
    assert result["summary"] == MINUTES
    assert result["speakerSource"] == "provider"
    assert job["cost_nano_usd"] == result["cost_nano_usd"] == charged(bob)
    assert not work(job_id)


def test_a_form_with_audio_may_be_a_job_too(meetings: Meetings, nova: str):
    bob = meetings.gateway.tenant()
    answer = meetings.send(bob, talk(), model=nova, **{"async": "true"})
    assert answer.status == 202
    assert work(answer.json["id"])
    assert finished(meetings, bob, answer.json["id"])["result"]["text"] == TEXT


@pytest.mark.parametrize("kind", ["text/html", "audio/x+xml", ""])
def test_what_a_form_says_of_its_audio_is_kept_only_where_it_is_a_sound(meetings: Meetings, nova: str, kind: str):
    bob = meetings.gateway.tenant()
    body = (
        b'--b\r\nContent-Disposition: form-data; name="async"\r\n\r\ntrue\r\n'
        b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n'
        + f"Content-Type: {kind}\r\n\r\n".encode()
        + talk()
        + b"\r\n--b--\r\n"
    )
    answer = meetings.stand.post(MEETING, bob, body, "multipart/form-data; boundary=b")
    assert answer.status == 202, answer.body
    assert row_of(answer.json["id"]).upload.content_type == "application/octet-stream"


def test_more_than_ten_minutes_become_a_job_of_parts(meetings: Meetings, whisper: str):
    bob = meetings.gateway.tenant()
    key = uploaded(meetings, bob, long_talk(25))
    asked = meetings.ask(bob, audioKey=key, model=whisper, diarize=False)
    assert asked.status == 202
    assert work(asked.json["id"])
    job = finished(meetings, bob, asked.json["id"])
    rows = usage_rows(bob)
    assert len(rows) == 3
    assert sum(row.usage["audio_ms"] for row in rows) == 25 * MINUTE_S * 1_000
    assert max(row.usage["audio_ms"] for row in rows) <= 600_000
    assert job["cost_nano_usd"] == charged(bob)
    assert set(job["result"]["x_komilion"]["request_ids"]) == {row.request_id for row in rows}
    starts = [said["start"] for said in job["result"]["utterances"]]
    assert starts == sorted(starts)
    assert starts[-1] > 1_100
    meetings.gateway.manage("ledger", "verify")


def test_parts_are_cut_where_it_is_quiet(meetings: Meetings, whisper: str):
    from voice.meetings.recording import cut

    samples = np.frombuffer(long_talk(25)[44:], "<i2").repeat(2)
    spans = cut(samples)
    assert (spans[0].start_ms, spans[-1].end_ms) == (0, 25 * MINUTE_S * 1_000)
    assert all(before.end_ms == after.start_ms for before, after in pairwise(spans))
    assert all(25_000 <= span.end_ms % 30_000 <= 26_000 for span in spans[:-1])


def test_who_hears_hours_gets_the_whole_file(meetings: Meetings, nova: str):
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, long_talk(12), model=nova, diarize=True)
    assert work(job_id)
    assert finished(meetings, bob, job_id)["result"]["speakerSource"] == "provider"
    assert [row.usage["audio_ms"] for row in usage_rows(bob)] == [12 * MINUTE_S * 1_000]
    assert meetings.stand.deepgram.calls[-1].audio == long_talk(12)


@pytest.mark.slow
def test_speakers_of_parts_are_guessed_over_the_whole(meetings: Meetings, whisper: str):
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, long_talk(12), model=whisper, diarize=True)
    assert work(job_id)
    assert finished(meetings, bob, job_id)["result"]["speakerSource"] == "heuristic"


def test_a_transcript_in_every_format(meetings: Meetings, nova: str):
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova, format="srt")
    assert meetings.job(bob, job_id, "?format=vtt").status == 409
    assert meetings.job(bob, job_id, "?format=pdf").status == 400
    assert work(job_id)
    assert finished(meetings, bob, job_id)["result"].startswith("1\n00:00:00,000 --> ")
    captions = meetings.job(bob, job_id, "?format=vtt")
    assert captions.body.startswith(b"WEBVTT\n")
    assert captions.headers["content-type"] == "text/vtt; charset=utf-8"
    assert TEXT in meetings.job(bob, job_id, "?format=text").body.decode()


def test_the_webhook_is_told_at_once(meetings: Meetings, nova: str, settings, monkeypatch):
    from accounts.access import access_viewer
    from accounts.models import User
    from voice import tasks
    from voice.actions.webhooks import do_make_webhook_secret

    monkeypatch.setattr(tasks.deliver_webhooks, "delay", tasks.deliver_webhooks)
    settings.EGRESS_ALLOW = ("127.0.0.1",)
    bob = meetings.gateway.tenant()
    viewer = access_viewer(User.objects.get(email=bob.email).pk, organization_id(bob))
    assert viewer is not None
    secret = do_make_webhook_secret(viewer, seen="")
    receiver = Receiver()
    answer = meetings.send(bob, talk(), model=nova, webhookUrl=receiver.url)
    assert answer.status == 202
    tasks.transcribe_meeting(answer.json["id"])
    receiver.close()
    headers, body = receiver.received[0]
    event = Webhook(secret).verify(body, headers)
    assert (event["type"], event["data"]["id"]) == ("voice.transcription.completed", answer.json["id"])
    assert event["data"]["cost_nano_usd"] == charged(bob)
    assert TEXT.encode() not in body


def test_a_url_is_fetched_by_the_worker(meetings: Meetings, nova: str, settings):
    bob = meetings.gateway.tenant()
    answer = meetings.ask(bob, audioUrl="https://127.0.0.1.example/talk.wav", **{"async": True})
    assert answer.status == 202
    from routing.catalog.credentials import seal
    from voice.models import TranscriptionJob

    jobs = TranscriptionJob.objects.filter(pk=answer.json["id"])
    jobs.update(url_sealed=seal(b"https://10.0.0.1/talk.wav"))
    assert work(answer.json["id"])
    job = meetings.job(bob, answer.json["id"]).json
    assert (job["status"], job["error"]["reason"]) == ("failed", "url_refused")
    assert usage_rows(bob) == []
    assert bytes(jobs.get().url_sealed) == b""


# whose


def test_jobs_are_their_organization_s_alone(meetings: Meetings, alice: Tenant, charlie: Tenant, nova: str):
    job_id = make_job(meetings, alice, model=nova)
    assert meetings.job(charlie, job_id).status == 404
    assert request(meetings.gateway, "DELETE", f"{JOBS}/{job_id}", headers=bearer(charlie)).status == 404
    assert call(meetings.gateway.url, JOBS, charlie.key).json == {"data": []}
    listed = call(meetings.gateway.url, f"{JOBS}?limit=1", alice.key).json["data"]
    assert [job["id"] for job in listed] == [job_id]
    assert "result" not in listed[0]


def test_an_upload_stays_while_a_job_reads_it(meetings: Meetings, nova: str):
    from voice.models import Upload
    from voice.tasks import sweep_uploads

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    key = row_of(job_id).upload_id
    assert request(meetings.gateway, "DELETE", f"{UPLOAD}/{key}", headers=bearer(bob)).status == 409
    Upload.objects.filter(pk=key).update(expires_at=utc_now() - timedelta(seconds=1))
    sweep_uploads()
    assert work(job_id)
    finished(meetings, bob, job_id)
    sweep_uploads()
    assert not Upload.objects.filter(pk=key).exists()
    assert meetings.job(bob, job_id).json["result"]["text"] == TEXT


def test_an_organization_has_only_so_many_open_jobs(meetings: Meetings, nova: str, settings):
    settings.VOICE_OPEN_JOBS_PER_ORGANIZATION = 1
    bob = meetings.gateway.tenant()
    make_job(meetings, bob, model=nova)
    assert meetings.send(bob, talk(), model=nova, **{"async": "true"}).status == 409
