"""This process as an owner of holds: its name, its heartbeat, and which owners are gone.

The heartbeat has a thread and a connection of its own, so that a long batch or a slow disk is not taken for a death.
While the database takes no writes (SQLite locked, PostgreSQL restarting) nobody can beat. So silence is a death only
where another process was heard all that while.
"""

import logging
import os
import secrets
import threading
from datetime import timedelta
from functools import cache
from pathlib import Path

import psutil
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now

from billing.models import GatewayProcess

log = logging.getLogger(__name__)

FORGET_AFTER_DAYS = 7


@cache
def machine_id() -> str:
    """One boot of one machine as this process sees it; containers on one host differ by their pid namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.readlink('/proc/self/ns/pid').partition(':')[2].strip('[]')}"
    except OSError:
        return str(int(psutil.boot_time()))


def _started(pid: int) -> str:
    """When the process started, in ticks since the boot: seconds since 1970 would move when the clock is set."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return f"{psutil.Process(pid).create_time():.2f}"


class Heartbeat:
    """Registers this process and keeps saying that it lives, by the database's clock."""

    def __init__(self) -> None:
        self.process_id = f"p-{secrets.token_hex(8)}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Register at once (raises `DatabaseError`), then beat in the background."""
        self._beat()
        connection.close()
        self._thread.start()

    def stop(self) -> None:
        """End the thread and sign off."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.wait(settings.HEARTBEAT_EVERY_S):
            try:
                self._beat()
            except DatabaseError:
                log.warning("heartbeat not written", exc_info=True)
                connection.close()
        try:
            GatewayProcess.objects.filter(pk=self.process_id).delete()
        except DatabaseError:
            log.warning("could not sign off", exc_info=True)
        connection.close()

    def _beat(self) -> None:
        pid = os.getpid()
        row = {"boot_id": machine_id(), "pid": pid, "pid_started": _started(pid)}
        GatewayProcess.objects.update_or_create(
            pk=self.process_id,
            defaults={
                **row,
                "heartbeat_at": Now(),
                "beating_since": Case(When(_heard_lately(), then=F("beating_since")), default=Now()),
            },
            create_defaults={**row, "heartbeat_at": Now()},
        )


def _is_gone_here(process: GatewayProcess) -> bool:
    """Whether a process of this very boot has ended; of other machines nothing can be said."""
    if process.boot_id != machine_id():
        return False
    try:
        return _started(process.pid) != process.pid_started
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _heard_lately() -> Q:
    """A pause that is short enough: one who was silent as long, and beats late twice, is not gone yet."""
    return Q(heartbeat_at__gt=Now() - timedelta(seconds=settings.PROCESS_GONE_AFTER_S / 2))


def living_process_ids() -> set[str]:
    """Owners that beat lately, or could not because nobody could, and, where that can be seen from here, still run."""
    start = Now() - timedelta(seconds=settings.PROCESS_GONE_AFTER_S)
    owners = GatewayProcess.objects.all()
    if owners.filter(_heard_lately(), beating_since__lte=start).exists():
        owners = owners.filter(heartbeat_at__gt=start)
    return {process.pk for process in owners if not _is_gone_here(process)}


def forget_old_processes() -> None:
    """Drop the rows of processes that were last heard of a week ago."""
    GatewayProcess.objects.filter(heartbeat_at__lt=Now() - timedelta(days=FORGET_AFTER_DAYS)).delete()
