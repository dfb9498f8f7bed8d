"""Every other way in which a job can end than with its transcript."""

import asyncio
from typing import Any

from komilion.common.clock import utc_now
from tests.async_waiting import eventually
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import organization_id, usage_rows
from tests.voice.meetings.conftest import JOBS, Meetings
from tests.voice.meetings.jobs import TEXT, charge_of, charged, come_due, finished, long_talk, make_job, row_of, work
from tests.voice.uploads.sending import bearer, request


def test_an_open_job_is_canceled_and_an_ended_one_deleted(meetings: Meetings, nova: str):
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    path = f"{JOBS}/{job_id}"
    assert request(meetings.gateway, "DELETE", path, headers=bearer(bob)).json["canceled"] is True
    assert meetings.job(bob, job_id).json["status"] == "canceled"
    assert not work(job_id)
    assert request(meetings.gateway, "DELETE", path, headers=bearer(bob)).json["deleted"] is True
    assert meetings.job(bob, job_id).status == 404


def test_one_that_is_canceled_while_a_provider_hears_charges_that_part_and_no_other(
    meetings: Meetings, whisper: str, monkeypatch
):
    from voice.actions import jobs

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, long_talk(25), model=whisper)
    keep = jobs.do_keep_answer

    def cancel_at_the_second(job: Any, part: Any, answered: Any) -> None:
        if part.number == 1:
            jobs.do_cancel_or_delete(job)
            early = request(meetings.gateway, "DELETE", f"{JOBS}/{job_id}", headers=bearer(bob))
            assert (early.status, early.headers["retry-after"]) == (409, "30")
        keep(job, part, answered)

    monkeypatch.setattr(jobs, "do_keep_answer", cancel_at_the_second)
    assert work(job_id)
    job = meetings.job(bob, job_id).json
    assert (job["status"], job["result"], job["cost_nano_usd"]) == ("canceled", None, charged(bob))
    paid = [row for row in usage_rows(bob) if row.charge_nano]
    assert len(paid) == 2
    assert not any(bytes(part.answer_sealed) for part in row_of(job_id).parts.filter(number=1))
    meetings.gateway.manage("ledger", "verify")
    assert request(meetings.gateway, "DELETE", f"{JOBS}/{job_id}", headers=bearer(bob)).json["deleted"] is True


def test_the_lease_of_a_canceled_job_waits_for_the_provider_and_not_for_anything_else(
    meetings: Meetings, nova: str, monkeypatch
):
    from voice.actions import jobs
    from voice.meetings import hearing
    from voice.meetings import work as module
    from voice.threads import in_thread

    monkeypatch.setattr(module, "RENEW_EVERY_S", 0.02)
    transcribe, renew, renewals = hearing.transcribe, jobs.do_renew, list[bool]()

    def counting(*facts: Any) -> bool:
        renewals.append(renew(*facts))
        return renewals[-1]

    async def cancel_while_heard(*arguments: Any) -> Any:
        await in_thread(lambda: jobs.do_cancel_or_delete(row_of(job_id)))
        await eventually(lambda: renewals.count(False) >= 2)
        return await transcribe(*arguments)

    monkeypatch.setattr(jobs, "do_renew", counting)
    monkeypatch.setattr(hearing, "transcribe", cancel_while_heard)
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    assert work(job_id)
    assert charged(bob) == charge_of(2_000)
    assert (row_of(job_id).state, row_of(job_id).lease_owner) == ("canceled", "")


def test_one_that_is_canceled_before_a_provider_has_anything_stops_where_it_is(
    meetings: Meetings, nova: str, monkeypatch
):
    from voice.actions import jobs
    from voice.meetings import work as module
    from voice.threads import in_thread

    monkeypatch.setattr(module, "RENEW_EVERY_S", 0.02)

    async def never(self: Any, stack: Any) -> Any:
        await in_thread(jobs.do_cancel_or_delete, self._job)
        await asyncio.Event().wait()

    monkeypatch.setattr(module.JobWork, "_source", never)
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    assert work(job_id)
    assert (row_of(job_id).state, charged(bob)) == ("canceled", 0)


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
    told = meetings.job(bob, job_id).json
    assert (told["status"], told["error"]) == ("queued", None)
    assert told["waiting"]["reason"] == job.error_reason != ""
    assert told["waiting"]["message"]
    assert told["waiting"]["nextTryAt"] > told["createdAt"]
    assert not work(job_id)
    come_due(job_id)
    assert work(job_id)
    assert meetings.job(bob, job_id).json["waiting"] is None
    assert finished(meetings, bob, job_id)["cost_nano_usd"] == charged(bob) == charge_of(2_000)


def test_tries_go_on_for_as_long_as_the_documentation_says():
    from voice.actions.jobs import PAUSES_S, STARTS_MOST

    assert (len(PAUSES_S), PAUSES_S) == (STARTS_MOST - 1, (5, 15, 60, 180, 300))


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


def test_a_provider_that_hangs_ends_it_before_all_tries_and_what_was_heard_is_charged_once(
    meetings: Meetings, monkeypatch
):
    from django.conf import settings

    from voice.actions import jobs

    monkeypatch.setattr("voice.speech.listening.ANSWER_BASE_S", 0.5)
    monkeypatch.setattr("voice.speech.listening.HEARD_PER_S", 10_000.0)
    stand = meetings.stand
    hangs = SpeechReply(before_head_s=20)
    script = stand.script(stand.openai, "whisper-1", SpeechReply(turns=(SpeechReply(), hangs)))
    model = stand.add_model(script, capabilities="word_timestamps")
    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, long_talk(12), model=model)
    assert work(job_id)
    job = row_of(job_id)
    assert (job.state, job.stalled_s) == ("queued", 0)
    heard_nano = charged(bob)
    come_due(job_id)

    def slow(*facts: Any) -> Any:  # what renewals come to in a quarter of an hour
        assert jobs.do_renew(row_of(job_id), settings.VOICE_JOB_STALL_LIMIT_S + 1)
        return begin(*facts)

    begin = jobs.do_begin_part
    monkeypatch.setattr(jobs, "do_begin_part", slow)
    assert work(job_id)
    told = meetings.job(bob, job_id).json
    assert (told["status"], told["error"]["reason"]) == ("failed", "provider_timeout")
    assert "took too long" in told["error"]["message"]
    assert (told["result"]["partial"], told["result"]["text"]) == (True, TEXT)
    assert 0 < heard_nano == charged(bob) == told["cost_nano_usd"]


def test_a_job_that_gets_further_is_not_stalled(meetings: Meetings, whisper: str, monkeypatch):
    from voice.actions import jobs

    job_id = make_job(meetings, meetings.gateway.tenant(), long_talk(12), model=whisper)
    begin, stalled = jobs.do_begin_part, list[int]()

    def slow(*facts: Any) -> Any:
        assert jobs.do_renew(row_of(job_id), 100)
        stalled.append(row_of(job_id).stalled_s)
        return begin(*facts)

    monkeypatch.setattr(jobs, "do_begin_part", slow)
    assert work(job_id)
    assert stalled == [100, 100], "of each part by itself"


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
    come_due(job_id)
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


def test_a_disk_without_room_for_what_is_fetched_is_waited_for(meetings: Meetings, nova: str, settings):
    settings.VOICE_DISK_RESERVE_BYTES = 2**60
    bob = meetings.gateway.tenant()
    answer = meetings.ask(bob, audioUrl="https://files.example/talk.wav", model=nova, **{"async": True})
    assert answer.status == 202
    assert work(answer.json["id"])
    assert (row_of(answer.json["id"]).state, charged(bob)) == ("queued", 0)
