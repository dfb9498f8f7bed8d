"""Processes as owners of holds: they beat, and are gone when they stop or their pid is another's."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from django.db import DatabaseError
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from billing.ledger import process as process_module
from billing.ledger.process import Heartbeat, forget_old_processes, living_process_ids, machine_id
from billing.models import GatewayProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("ledger")


@pytest.fixture
def heartbeat(settings):
    settings.HEARTBEAT_EVERY_S = 0.01
    heartbeat = Heartbeat()
    heartbeat.start()
    yield heartbeat
    heartbeat.stop()


def register(name: str, age_s: float = 0, **fields: object) -> None:
    started = process_module._started(os.getpid())
    row = {"boot_id": machine_id(), "pid": os.getpid(), "pid_started": started, **fields}
    GatewayProcess.objects.create(pk=name, heartbeat_at=Now() - timedelta(seconds=age_s), **row)


def test_a_started_process_is_alive_and_beats(heartbeat):
    assert living_process_ids() == {heartbeat.process_id}
    first = GatewayProcess.objects.get().heartbeat_at
    wait_until(lambda: GatewayProcess.objects.get().heartbeat_at > first, what="the next beat")


def test_it_signs_off(heartbeat):
    heartbeat.stop()
    assert not GatewayProcess.objects.exists()


def test_a_database_that_is_away_does_not_stop_the_beat(heartbeat, monkeypatch, caplog):
    def away(self: Heartbeat) -> None:
        raise DatabaseError("away")

    with monkeypatch.context() as without:
        without.setattr(Heartbeat, "_beat", away)
        wait_until(lambda: "heartbeat not written" in caplog.text, what="a failed beat")
    first = GatewayProcess.objects.get().heartbeat_at
    wait_until(lambda: GatewayProcess.objects.get().heartbeat_at > first, what="the next beat")


def test_signing_off_without_a_database_is_only_a_warning(heartbeat, monkeypatch, caplog):
    class Away:
        def filter(self, **_: object) -> None:
            raise DatabaseError("away")

    with monkeypatch.context() as without:
        without.setattr(GatewayProcess, "objects", Away())
        heartbeat.stop()
    assert "could not sign off" in caplog.text


def ago(seconds: float) -> CombinedExpression:
    return Now() - timedelta(seconds=seconds)


def test_one_that_stopped_beating_while_another_was_heard_is_gone():
    register("p-silent", age_s=16)
    register("p-late", age_s=10)
    register("p-steady", beating_since=ago(60))
    assert living_process_ids() == {"p-late", "p-steady"}


def test_nobody_is_gone_while_the_database_takes_no_beats():
    register("p-one", age_s=16, beating_since=ago(60))
    register("p-two", age_s=14, beating_since=ago(60))
    assert living_process_ids() == {"p-one", "p-two"}


def test_who_beats_first_after_a_locked_database_does_not_make_the_others_silent():
    first = Heartbeat()
    register(first.process_id, age_s=14, beating_since=ago(60))
    register("p-second", age_s=16, beating_since=ago(60))
    first.start()
    try:
        assert living_process_ids() == {first.process_id, "p-second"}
    finally:
        first.stop()


def test_a_beat_in_time_keeps_the_moment_since_which_a_process_beats(heartbeat):
    first = GatewayProcess.objects.get()
    beaten = wait_until(
        lambda: GatewayProcess.objects.filter(heartbeat_at__gt=first.heartbeat_at).first(), what="the next beat"
    )
    assert beaten.beating_since == first.beating_since


def test_one_whose_pid_ended_is_gone_at_once():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        register("p-child", pid=child.pid, pid_started=process_module._started(child.pid))
        assert living_process_ids() == {"p-child"}
        child.kill()
    assert living_process_ids() == set()


def test_one_whose_pid_is_another_process_by_now_is_gone():
    register("p-before", pid_started="1")
    assert living_process_ids() == set()


def test_of_another_machine_only_the_heartbeat_counts():
    register("p-elsewhere", boot_id="elsewhere", pid=2**22 + 1, pid_started="1")
    assert living_process_ids() == {"p-elsewhere"}


def test_one_that_may_not_be_looked_at_is_taken_for_alive(monkeypatch):
    def denied(pid: int) -> str:
        raise psutil.AccessDenied(pid)

    register("p-foreign")
    monkeypatch.setattr(process_module, "_started", denied)
    assert living_process_ids() == {"p-foreign"}


def test_setting_the_clock_makes_no_process_a_stranger(monkeypatch):
    register("p-steady")
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: 12345.0)
    assert living_process_ids() == {"p-steady"}


def test_a_machine_without_a_proc_file_system_is_known_by_its_boot_time(monkeypatch):
    def missing(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)
    machine_id.cache_clear()
    assert machine_id() == str(int(psutil.boot_time()))
    assert process_module._started(os.getpid()) == f"{psutil.Process().create_time():.2f}"
    machine_id.cache_clear()


def test_rows_of_long_ago_are_forgotten():
    register("p-old", age_s=8 * 86_400)
    register("p-new", age_s=6 * 86_400)
    forget_old_processes()
    assert [row.pk for row in GatewayProcess.objects.all()] == ["p-new"]
