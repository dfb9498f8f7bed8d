"""Which worker does which job."""

from importlib import import_module

import pytest

from komilion import settings
from komilion.celery import app
from komilion.supervisor.run import POOLS, QUEUES

JOBS = sorted(entry["task"] for entry in app.conf.beat_schedule.values())


def queue_of(task: str) -> str:
    name: str = app.amqp.router.route({}, task)["queue"].name
    return name


@pytest.mark.parametrize("task", JOBS)
def test_every_job_that_is_due_by_itself_is_there_and_has_a_worker(task: str):
    module, _, name = task.rpartition(".")
    assert getattr(import_module(module), name).name == task
    assert queue_of(task) in ",".join(QUEUES.values()).split(",")


def test_webhooks_have_threads_that_no_meeting_takes():
    assert queue_of("voice.tasks.deliver_webhooks") != queue_of("voice.tasks.transcribe_meeting") == "voice"
    assert int(POOLS["worker-voice"][-1]) > settings.VOICE_JOBS_AT_ONCE


def test_what_waits_for_stripe_or_a_mail_server_keeps_no_other_job_waiting():
    waiting = {task.rpartition(".")[2] for task in JOBS if queue_of(task) == "outside"}
    assert waiting == {"recharge", "sweep_payments", "write_letters", "reconcile_payments"}
