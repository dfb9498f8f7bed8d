"""Which worker does which job, and how beat ends."""

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module

import pytest
from celery.beat import SchedulingError
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from komilion import settings
from komilion.beat import Scheduler
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


class FrozenLock:
    """Of a Redis that does not answer."""

    def extend(self, _: int) -> None:
        raise RedisTimeoutError("Timeout reading from socket")


class TestWhereRedisDoesNotAnswer:
    @pytest.fixture
    def beat(self) -> Scheduler:
        return Scheduler(app=app, lazy=True)

    def ends(self, caplog: pytest.LogCaptureFixture, act: Callable[[], object]) -> str:
        """What beat writes into its log when it ends with this."""
        with pytest.raises(SystemExit):
            act()
        (line,) = caplog.records
        assert line.exc_info is None
        return str(line.error)

    def test_the_lock_is_lost(self, beat: Scheduler, caplog: pytest.LogCaptureFixture):
        beat.lock = FrozenLock()
        assert self.ends(caplog, beat.tick) == "Timeout reading from socket"
        assert beat.lock is None, "so that the end asks for nothing more"
        caplog.clear()
        assert self.ends(caplog, beat.tick) == "the lock was not acquired"

    def test_there_is_no_schedule(self, beat: Scheduler, caplog, monkeypatch):
        def away(_: object) -> None:
            raise RedisConnectionError("refused")

        monkeypatch.setattr("redbeat.schedulers.get_redis", away)
        assert self.ends(caplog, beat.setup_schedule) == "refused"

    @pytest.mark.parametrize("error", [OperationalError("no broker"), RedisTimeoutError("no broker")])
    def test_a_job_cannot_be_queued(self, beat: Scheduler, caplog, monkeypatch, error: Exception):
        def away(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(app.tasks["voice.tasks.start_jobs"], "apply_async", away)
        entry = beat.Entry(name="start-jobs", task="voice.tasks.start_jobs", schedule=timedelta(seconds=5), app=app)
        assert self.ends(caplog, lambda: beat.apply_async(entry, advance=False)) == "no broker"

    def test_a_mistake_in_the_schedule_is_no_trouble_of_redis(self, beat: Scheduler, monkeypatch):
        def broken(*_: object, **__: object) -> None:
            raise ValueError

        monkeypatch.setattr(app.tasks["voice.tasks.start_jobs"], "apply_async", broken)
        entry = beat.Entry(name="start-jobs", task="voice.tasks.start_jobs", schedule=timedelta(seconds=5), app=app)
        with pytest.raises(SchedulingError):
            beat.apply_async(entry, advance=False)
