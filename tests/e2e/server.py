"""Real processes of one installation, to be killed, paused and started again: web, scripted upstream, commands.

Not the supervisor: the tests decide themselves when a web process starts again.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import psutil

from komilion.env import free_port
from tests.fakes.journal import Call, read_journal
from tests.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]
WEB_COMMAND = (sys.executable, "-m", "komilion.uvicorn_worker")
MANAGER_COMMAND = (sys.executable, "-m", "tests.e2e.manager")
UPSTREAM_COMMAND = (sys.executable, "-m", "tests.fakes.upstream")
SHORT_TIMES = "tests.e2e.settings"
REAL_TIMES = "komilion.settings"
START_DEADLINE_S = 30
STOP_DEADLINE_S = 30
PR_SET_PDEATHSIG = 1
ENDED_PROPERLY = (0, -signal.SIGTERM)  # uvicorn ends by the signal that stopped it
UPSTREAM_KEY = "sk-upstream-canary-0123456789"
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Process:
    """A child with its output in a log; it dies with the tests, be it by kill -9. `core` pins it to one processor."""

    def __init__(
        self, command: tuple[str, ...], log: Path, environment: dict[str, str], core: int | None = None
    ) -> None:
        self._command = command
        self._core = core
        self.log = log
        self.environment = environment
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self, *, pipes: bool = False, **environment: str) -> Self:
        """Start it, with more of an environment where that is given."""
        pipe = subprocess.PIPE if pipes else None
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self._command,
                cwd=PROJECT,
                env={**self.environment, **environment},
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or log,
                stderr=log,
                preexec_fn=self._prepare,  # noqa: PLW1509 - system calls only, safe beside threads
            )
        return self

    def _prepare(self) -> None:
        if LIBC is not None:
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if self._core is not None:
            os.sched_setaffinity(0, {self._core})

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.popen is not None
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended (negative: by that signal); None while it runs."""
        return self.popen.poll() if self.popen else 0

    def send(self, number: signal.Signals) -> None:
        """Signal it; one that is gone already does not mind."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, and return when it is gone."""
        if self.popen is None:
            return
        self.popen.kill()
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                pipe.close()

    def terminate(self, deadline_s: float = STOP_DEADLINE_S) -> int:
        """End it properly; its exit code."""
        assert self.popen is not None
        self.send(signal.SIGTERM)
        return self.popen.wait(deadline_s)

    def is_paused(self) -> bool:
        """Whether it was stopped by SIGSTOP."""
        return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3_000:]


class Web(Process):
    """A web process; several of them share the port. `moment` is when it lives, in ISO 8601: now by default."""

    def __init__(self, log: Path, environment: dict[str, str], core: int | None = None, moment: str = "") -> None:
        command = (sys.executable, "-m", "tests.e2e.web_at", moment) if moment else WEB_COMMAND
        super().__init__(command, log, environment, core)

    def start_and_wait(self, failpoints: str = "") -> Self:
        """Start it and return when it takes requests."""
        self.start(KOMILION_FAILPOINTS=failpoints)
        wait_until(self._is_ready, START_DEADLINE_S, f"the web process to listen; its log is {self.log}")
        return self

    def _is_ready(self) -> bool:
        assert self.exit_code is None, f"the web process ended: {self.last_words()}"
        connections = psutil.Process(self.pid).net_connections("tcp")
        return any(connection.status == psutil.CONN_LISTEN for connection in connections)


class UpstreamProcess:
    """The scripted upstream in a process of its own, with its journal on the disk."""

    def __init__(self, folder: Path) -> None:
        self.journal_path = folder / "upstream.jsonl"
        command = (*UPSTREAM_COMMAND, "--journal", str(self.journal_path))
        self.process = Process(command, folder / "upstream.log", dict(os.environ)).start(pipes=True)
        assert self.process.popen is not None
        assert self.process.popen.stdout is not None
        self.url = self.process.popen.stdout.readline().decode().strip()
        assert self.url, f"the upstream did not start: {self.process.last_words()}"

    def calls(self) -> list[Call]:
        """What it saw and would bill."""
        return read_journal(self.journal_path)

    def stop(self) -> None:
        """End it."""
        self.process.kill()


class CommandFailed(Exception):
    """A command of `manage.py` would have ended with exit code 1."""


class Installation:
    """A data folder with a database and a Valkey; every process that belongs to it has its environment."""

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str,
        valkey_url: str,
        settings: str = SHORT_TIMES,
        workers: int = 1,
        web_core: int | None = None,
    ) -> None:
        self.folder = folder
        self.database_url = database_url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "DATA_DIR": str(folder / "data"),
            "DATABASE_URL": database_url,
            "REDIS_URL": valkey_url,
            "PORT": str(self.port),
            "WORKERS": str(workers),
            "DJANGO_SETTINGS_MODULE": settings,
        }
        self.webs = [Web(folder / f"web-{number}.log", self.environment, web_core) for number in range(workers)]
        self._manager: Process | None = None
        self.last_command_s = 0.0  # how long the last command took, without the start of Django

    @property
    def web(self) -> Web:
        """The only, or the first, web process."""
        return self.webs[0]

    def start(self, failpoints: str = "") -> None:
        """Start every web process; `failpoints` are for the first."""
        for number, web in enumerate(self.webs):
            web.start_and_wait("" if number else failpoints)

    def begin_again(self, moment: str) -> None:
        """Another web process in the place of the only one, which lives at that moment."""
        self.web.terminate()
        self.webs = [Web(self.folder / f"web-at-{moment}.log", self.environment, moment=moment)]
        self.start()

    def close(self) -> None:
        """Kill whatever still runs."""
        for process in (*self.webs, self._manager):
            if process is not None:
                process.kill()

    def manage(self, *arguments: object) -> str:
        """What `manage.py` prints for these arguments. Raises `CommandFailed`."""
        if self._manager is None:
            self._manager = Process(MANAGER_COMMAND, self.folder / "manager.log", self.environment).start(pipes=True)
        popen = self._manager.popen
        assert popen is not None
        assert popen.stdin is not None
        assert popen.stdout is not None
        popen.stdin.write(json.dumps([str(argument) for argument in arguments]).encode() + b"\n")
        popen.stdin.flush()
        line = popen.stdout.readline()
        assert line, f"the command process ended: {self._manager.last_words()}"
        answer = json.loads(line)
        self.last_command_s = answer["took_s"]
        if not answer["ok"]:
            raise CommandFailed(f"{' '.join(map(str, arguments))}: {answer['output']}")
        return str(answer["output"])

    def migrate(self) -> None:
        """Bring the database up to date."""
        self.manage("migrate", "--verbosity", "0")

    def tenant(self, email: str, credit: str | Decimal, tier: str = "high") -> str:
        """A tenant with paid credit in US dollars; its key."""
        return self.manage("tenant", "create", email, "--credit", credit, "--tier", tier, "--print-key")

    def add_provider(self, name: str, base_url: str, *options: str) -> None:
        """A provider."""
        self.manage("provider", "add", name, "--base-url", base_url, "--api-key", UPSTREAM_KEY, *options)

    def add_model(self, name: str, provider: str, script: str, **options: object) -> str:
        """A model that the upstream answers by `script`, at 3 and 15 US dollars per million tokens; its id."""
        more = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        prices = ["--input-price", "3.00", "--output-price", "15.00"]
        self.manage("model", "add", name, "--provider", provider, "--upstream-id", script, *prices, *more)
        return name

    def wallet(self, email: str) -> dict[str, Decimal]:
        """Available, held, paid, promo and debt in US dollars."""
        shown: dict[str, Any] = json.loads(self.manage("wallet", "show", email, "--json"))
        return {name: Decimal(amount) for name, amount in shown.items()}


def has_ended(process: Process) -> Callable[[], bool]:
    """Whether a process is gone, to wait for it."""
    return lambda: process.exit_code is not None
