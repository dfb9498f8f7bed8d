"""Long meetings: jobs, their parts, their bills, and every way in which one can end."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from standardwebhooks.webhooks import Webhook

from komilion.common.clock import utc_now
from tests.fakes import sounds
from tests.fakes.client import call
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import organization_id, usage_rows
from tests.stand import Gateway, Tenant
from tests.voice.meetings.conftest import JOBS, MINUTES, Meetings, talk
from tests.voice.speech.stand import MS_PRICE_NANO
from tests.voice.uploads.sending import UPLOAD, bearer, request, send, ticket
from tests.voice.webhooks.receiver import Receiver

TEXT = SpeechReply().text
MINUTE_S = 60
RATE_HZ = 8_000


def charge_of(milliseconds: int) -> int:
    cost = milliseconds * MS_PRICE_NANO
    return cost + -(-cost // 4)


def long_talk(minutes: int, name_of_it: list[bytes] = []) -> bytes:  # noqa: B006 - made once
    """Noise with a second of silence in each half minute."""
    if not name_of_it:
        noise = np.random.default_rng(1).normal(0, 3_000, 30 * MINUTE_S * RATE_HZ).astype("<i2")
        for second in range(25, 30 * MINUTE_S, 30):
            noise[second * RATE_HZ : (second + 1) * RATE_HZ] = 0
        name_of_it.append(noise.tobytes())
    return sounds.wav(name_of_it[0][: minutes * MINUTE_S * RATE_HZ * 2], rate_hz=RATE_HZ)


def uploaded(meetings: Meetings, who: Tenant, audio: bytes) -> str:
    where = ticket(meetings.gateway, who)
    assert send(meetings.gateway, where, audio).status == 200
    return str(where["audioKey"])


def make_job(meetings: Meetings, who: Tenant, audio: bytes | None = None, **fields: Any) -> str:
    """A job that waits; its id."""
    key = uploaded(meetings, who, talk() if audio is None else audio)
    answer = meetings.ask(who, audioKey=key, **{"async": True, "diarize": False, **fields})
    assert answer.status == 202, answer.body
    assert answer.headers["location"] == f"{JOBS}/{answer.json['id']}"
    assert answer.json["status"] == "queued"
    return str(answer.json["id"])


def work(job_id: str, owner: str = "worker-test") -> bool:
    from voice.meetings.work import work_on

    return work_on(job_id, owner)


def finished(meetings: Meetings, who: Tenant, job_id: str) -> dict[str, Any]:
    """The job, completed."""
    job = meetings.job(who, job_id).json
    assert (job["status"], job["progress"], job["error"]) == ("completed", 100, None), job
    return dict(job)


def row_of(job_id: str) -> Any:
    from voice.models import TranscriptionJob

    return TranscriptionJob.objects.get(pk=job_id)


def charged(who: Tenant) -> int:
    return sum(row.charge_nano for row in usage_rows(who))


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


def test_the_webhook_is_told_at_once(meetings: Meetings, nova: str, settings):
    from accounts.access import access_viewer
    from accounts.models import User
    from voice.actions.webhooks import do_make_webhook_secret
    from voice.tasks import transcribe_meeting

    settings.EGRESS_ALLOW = ("127.0.0.1",)
    bob = meetings.gateway.tenant()
    viewer = access_viewer(User.objects.get(email=bob.email).pk, organization_id(bob))
    assert viewer is not None
    secret = do_make_webhook_secret(viewer)
    receiver = Receiver()
    answer = meetings.send(bob, talk(), model=nova, webhookUrl=receiver.url)
    assert answer.status == 202
    transcribe_meeting(answer.json["id"])
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


# other ends


def test_an_open_job_is_canceled_and_an_ended_one_deleted(meetings: Meetings, nova: str):
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    path = f"{JOBS}/{job_id}"
    assert request(meetings.gateway, "DELETE", path, headers=bearer(bob)).json["canceled"] is True
    assert meetings.job(bob, job_id).json["status"] == "canceled"
    assert not work(job_id)
    assert request(meetings.gateway, "DELETE", path, headers=bearer(bob)).json["deleted"] is True
    assert meetings.job(bob, job_id).status == 404


def test_one_that_is_canceled_while_it_runs_charges_nothing_more(meetings: Meetings, whisper: str, monkeypatch):
    from voice.actions import jobs

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, long_talk(25), model=whisper)
    keep = jobs.do_keep_answer

    def cancel_at_the_second(job: Any, part: Any, answered: Any) -> None:
        if part.number == 1:
            jobs.do_cancel_or_delete(job)
        keep(job, part, answered)

    monkeypatch.setattr(jobs, "do_keep_answer", cancel_at_the_second)
    assert work(job_id)
    assert meetings.job(bob, job_id).json["status"] == "canceled"
    paid = [row for row in usage_rows(bob) if row.charge_nano]
    assert len(paid) == 1
    meetings.gateway.manage("ledger", "verify")


def test_a_wallet_that_runs_dry_leaves_what_was_paid_for(meetings: Meetings, whisper: str):
    bob = meetings.gateway.tenant(credit="0.1")
    job_id = make_job(meetings, bob, long_talk(25), model=whisper)
    assert work(job_id)
    job = meetings.job(bob, job_id).json
    assert (job["status"], job["error"]["reason"]) == ("failed", "insufficient_balance")
    assert (job["result"]["partial"], job["result"]["text"]) == (True, TEXT)
    assert job["cost_nano_usd"] == charged(bob) > 0


def test_a_key_that_was_revoked_pays_for_nothing_more(meetings: Meetings, nova: str):
    from accounts.actions.keys import do_revoke_key
    from accounts.models import ApiKey

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    do_revoke_key(ApiKey.objects.get(organization_id=organization_id(bob)), actor="test")
    assert work(job_id)
    assert row_of(job_id).error_reason == "invalid_api_key"
    assert usage_rows(bob) == []


def test_what_is_no_audio_fails_for_good(meetings: Meetings, nova: str):
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, b"RIFF" + b"no audio" * 100, model=nova)
    assert work(job_id)
    job = meetings.job(bob, job_id).json
    assert job["status"] == "failed"
    assert job["error"]["message"]
    assert usage_rows(bob) == []


def test_a_trouble_that_passes_is_waited_for(meetings: Meetings):
    stand = meetings.stand
    failing = SpeechReply(error=(500, {"err_msg": "no"}))
    script = stand.script(stand.deepgram, "nova", SpeechReply(turns=(failing, failing, SpeechReply())))
    model = stand.add_model(script)
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=model)
    assert work(job_id)
    job = row_of(job_id)
    assert (job.state, job.lease_owner) == ("queued", "")
    assert job.lease_ends_at > utc_now()
    assert work(job_id)
    assert finished(meetings, bob, job_id)["cost_nano_usd"] == charged(bob) == charge_of(2_000)


def test_a_trouble_that_stays_ends_it(meetings: Meetings):
    from voice.actions.jobs import STARTS_MOST

    stand = meetings.stand
    model = stand.add_model(stand.script(stand.deepgram, "nova", SpeechReply(error=(500, {"err_msg": "no"}))))
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=model)
    type(row_of(job_id)).objects.filter(pk=job_id).update(starts=STARTS_MOST - 1)
    assert work(job_id)
    assert meetings.job(bob, job_id).json["status"] == "failed"
    assert charged(bob) == 0


def test_a_mistake_of_ours_is_tried_again_and_told_without_details(meetings: Meetings, nova: str, monkeypatch):
    from voice.actions.jobs import STARTS_MOST
    from voice.meetings import work as module

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(module, "name_speakers", broken)
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    assert work(job_id)
    assert row_of(job_id).state == "queued"
    type(row_of(job_id)).objects.filter(pk=job_id).update(starts=STARTS_MOST - 1)
    assert work(job_id)
    job = meetings.job(bob, job_id).json
    assert job["status"] == "failed"
    assert "secret" not in str(job)
    assert job["result"]["text"] == TEXT
    assert charged(bob) == charge_of(2_000)


def test_what_kills_every_worker_is_given_up(meetings: Meetings, nova: str):
    from voice.actions.jobs import STARTS_MOST

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    type(row_of(job_id)).objects.filter(pk=job_id).update(starts=STARTS_MOST)
    assert not work(job_id)
    assert meetings.job(bob, job_id).json["error"]["reason"] == "internal_error"


def test_jobs_go_with_their_transcripts(meetings: Meetings, nova: str):
    from voice.actions.jobs import do_sweep_jobs

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    assert work(job_id)
    type(row_of(job_id)).objects.filter(pk=job_id).update(expires_at=utc_now())
    assert do_sweep_jobs() == 1
    assert meetings.job(bob, job_id).status == 404


# workers


def test_a_job_has_one_worker_at_a_time(meetings: Meetings, nova: str):
    from voice.actions.jobs import LeaseLost, do_offer_jobs, do_renew, do_take_job

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    assert job_id in do_offer_jobs()
    assert job_id not in do_offer_jobs()
    taken = do_take_job(job_id, "first")
    assert taken is not None
    assert do_take_job(job_id, "second") is None
    do_renew(taken)
    type(taken).objects.filter(pk=job_id).update(lease_ends_at=utc_now())
    assert job_id in do_offer_jobs()
    assert do_take_job(job_id, "second") is not None
    with pytest.raises(LeaseLost):
        do_renew(taken)


def test_what_waits_is_put_into_the_queue(meetings: Meetings, nova: str, monkeypatch):
    from voice import tasks

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    queued: list[str] = []
    monkeypatch.setattr(tasks.transcribe_meeting, "delay", queued.append)
    tasks.start_jobs()
    assert job_id in queued


RUN = """
import django
django.setup()
from voice.meetings.work import work_on
work_on({job!r}, "worker-that-dies")
"""


def killed(job_id: str, place: str) -> None:
    """A worker of its own process takes the job up, and dies by SIGKILL at this place."""
    from django.conf import settings

    more = {
        "DJANGO_SETTINGS_MODULE": "komilion.settings",
        "KOMILION_FAILPOINTS": f"{place}=kill",
        "REDIS_URL": settings.REDIS_URL,
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(job=job_id)], env={**os.environ, **more}, timeout=50, check=False
    )
    assert done.returncode == -signal.SIGKILL
    type(row_of(job_id)).objects.filter(pk=job_id).update(lease_ends_at=utc_now())  # a minute later


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "calls"),
    [
        ("meeting-part-begun:2", 3),  # the second part was not asked for yet
        ("meeting-answer-kept:2", 3),  # answered, perhaps not charged
        ("meeting-part-settled:2", 3),  # charged, which nobody noted
        ("meeting-summarized", 3),
    ],
)
def test_a_job_survives_its_worker_and_is_charged_once(
    meetings: Meetings, gateway: Gateway, whisper: str, writer: str, place: str, calls: int
):
    bob = gateway.tenant()
    before = len(meetings.stand.openai.calls)
    job_id = make_job(meetings, bob, long_talk(25), model=whisper, summarize=True)
    killed(job_id, place)
    assert row_of(job_id).state == "running"
    assert work(job_id)
    job = finished(meetings, bob, job_id)
    assert len(meetings.stand.openai.calls) - before == calls
    heard = [row for row in usage_rows(bob) if row.endpoint == "meetings" and row.charge_nano]
    assert sum(row.usage["audio_ms"] for row in heard) == 25 * MINUTE_S * 1_000
    assert len([row for row in usage_rows(bob) if row.endpoint == "chat.completions"]) == 1
    assert job["cost_nano_usd"] == charged(bob)
    assert job["result"]["summary"] == MINUTES
    gateway.manage("holds", "reap")
    gateway.manage("ledger", "verify")
