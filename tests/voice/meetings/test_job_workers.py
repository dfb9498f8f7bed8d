"""Workers: who gets which job, what becomes of those of a dead one, and that everybody gets a turn."""

import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest

from komilion.common.clock import utc_now
from tests.routing.books import organization_id, usage_rows
from tests.stand import Gateway
from tests.voice.meetings.conftest import MINUTES, Meetings
from tests.voice.meetings.jobs import (
    MINUTE_S,
    charged,
    come_due,
    finished,
    long_talk,
    make_job,
    row_of,
    work,
)


def test_a_job_has_one_worker_at_a_time(meetings: Meetings, nova: str):
    from voice.actions.jobs import LeaseLost, do_offer_jobs, do_renew, do_take_job

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    assert job_id in do_offer_jobs()
    assert job_id not in do_offer_jobs()
    taken = do_take_job(job_id, "first")
    assert taken is not None
    assert do_take_job(job_id, "second") is None
    do_renew(taken, 15)
    type(taken).objects.filter(pk=job_id).update(lease_ends_at=utc_now())
    assert job_id in do_offer_jobs()
    assert do_take_job(job_id, "second") is not None
    with pytest.raises(LeaseLost):
        do_renew(taken, 15)


def test_what_waits_is_put_into_the_queue(meetings: Meetings, nova: str, monkeypatch):
    from voice import tasks

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    queued: list[str] = []
    monkeypatch.setattr(tasks.transcribe_meeting, "apply_async", lambda names, expires: queued.extend(names))
    tasks.start_jobs()
    assert job_id in queued


def test_an_organization_with_many_jobs_keeps_no_other_waiting(meetings: Meetings, nova: str):
    from voice.actions.jobs import do_offer_jobs

    greedy, bob = meetings.gateway.tenant(), meetings.gateway.tenant()
    many = [make_job(meetings, greedy, model=nova) for _ in range(4)]
    one = make_job(meetings, bob, model=nova)
    offered = [job_id for job_id in do_offer_jobs() if job_id in (*many, one)]
    assert offered == [many[0], one, many[1]]
    assert not set(do_offer_jobs()) & set(many)


def test_only_so_many_jobs_of_an_organization_run_at_once(meetings: Meetings, nova: str):
    from voice.actions.jobs import do_cancel_or_delete, do_let_go, do_offer_jobs, do_take_job

    bob = meetings.gateway.tenant()
    first, second, third = (make_job(meetings, bob, model=nova) for _ in range(3))
    taken = do_take_job(first, "worker-1")
    assert taken is not None
    assert do_take_job(second, "worker-2") is not None
    assert not work(third)
    assert third not in do_offer_jobs()
    do_cancel_or_delete(taken)
    assert not work(third)  # a provider may still hear the first one
    do_let_go(taken)
    assert third in do_offer_jobs()
    assert work(third)
    finished(meetings, bob, third)


def test_those_of_dead_workers_do_not_stand_in_each_other_s_way(meetings: Meetings, nova: str):
    from voice.actions.jobs import do_offer_jobs, do_take_job

    bob = meetings.gateway.tenant()
    dead = [make_job(meetings, bob, model=nova) for _ in range(2)]
    for job_id in dead:
        assert do_take_job(job_id, "worker-that-dies") is not None
        come_due(job_id)
    assert set(dead) <= set(do_offer_jobs())
    assert all(work(job_id) for job_id in dead)


def test_a_worker_without_a_place_gives_the_job_back_at_once(meetings: Meetings, nova: str, monkeypatch):
    from voice import tasks
    from voice.actions.jobs import do_offer_jobs

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    assert job_id in do_offer_jobs()
    monkeypatch.setattr(tasks, "_places", threading.BoundedSemaphore(0))
    tasks.transcribe_meeting(job_id)
    assert (row_of(job_id).state, row_of(job_id).starts) == ("queued", 0)
    assert job_id in do_offer_jobs()


def test_a_caller_who_has_no_place_waits_without_a_thread(meetings: Meetings, nova: str):
    from accounts.models import ApiKey
    from voice.actions.jobs import STARTS_MOST, WAITS_MOST

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova)
    key = ApiKey.objects.filter(organization_id=organization_id(bob))
    key.update(limits={"parallel": 0})
    calls = len(meetings.stand.deepgram.calls)
    for _ in range(STARTS_MOST + 1):
        come_due(job_id)
        assert work(job_id)
        job = row_of(job_id)
        assert (job.state, job.starts, job.duration_ms) == ("queued", 0, None)
        assert job.lease_ends_at > utc_now()
        assert meetings.job(bob, job_id).json["waiting"]["reason"] == "too_many_parallel_requests"
    assert len(meetings.stand.deepgram.calls) == calls
    jobs = type(job).objects.filter(pk=job_id)
    jobs.update(created_at=utc_now() - WAITS_MOST - timedelta(seconds=1), starts=STARTS_MOST - 1)
    come_due(job_id)
    assert work(job_id)
    assert (row_of(job_id).state, row_of(job_id).error_reason) == ("failed", "too_many_parallel_requests")


def test_a_server_that_drips_ends_its_job_with_words(meetings: Meetings, nova: str, monkeypatch, settings):
    from komilion.common import egress

    monkeypatch.setattr(egress, "PACE_S", 0.3)
    settings.EGRESS_ALLOW = ("127.0.0.1",)
    bob = meetings.gateway.tenant()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/talk.wav"
        answer = meetings.ask(bob, audioUrl=url, model=nova, **{"async": True})
        assert answer.status == 202
        assert work(answer.json["id"])
    job = meetings.job(bob, answer.json["id"]).json
    assert (job["status"], job["error"]["reason"]) == ("failed", "url_unreachable")
    assert "too slow" in job["error"]["message"]


@pytest.mark.parametrize("whose", ["key", "member"])
def test_a_summary_is_paid_once_also_where_its_worker_died_before_it_was_noted(
    meetings: Meetings, nova: str, writer: str, monkeypatch, whose: str
):
    from accounts.models import Membership
    from voice.actions import jobs

    bob = meetings.gateway.tenant()
    job_id = make_job(meetings, bob, model=nova, summarize=True)
    if whose == "member":  # as a job that was made on our page
        member = Membership.objects.get(organization_id=organization_id(bob))
        type(row_of(job_id)).objects.filter(pk=job_id).update(api_key=None, member=member)

    def dies(*_: Any) -> None:
        raise jobs.LeaseLost

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "do_complete", dies)
        assert work(job_id)
    come_due(job_id)
    chats = len(meetings.gateway.calls_of(writer))
    assert work(job_id)
    assert len(meetings.gateway.calls_of(writer)) == chats
    job = row_of(job_id)
    result = jobs.result_of(job)
    assert result is not None
    assert result["answer"]["summary"] == MINUTES
    assert len([row for row in usage_rows(bob) if row.endpoint == "chat.completions"]) == 1
    assert job.cost_nano == charged(bob)


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
