"""One process under supervision: has its own log, starts again when it crashes, is gone when we are."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from komilion.common.clock import monotonic_s, utc_now

BACK_OFF_S = (
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
)  # before the first, second, ... start after a crash; the last one repeats
STEADY_AFTER_S = 4  # a child that lived this long, more than a failed start takes, begins at the first of them again
LOG_LIMIT_BYTES = 20 * 2**20
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Spec:
    """What to run, and how long it may take to end after SIGTERM before it is killed.

    `nice`: by how much it lets others go first (`nice(2)`), up to 19.
    """

    name: str
    command: tuple[str, ...]
    stop_within_s: float
    environment: Mapping[str, str] = field(default_factory=dict)
    nice: int = 0


class Child:
    """A supervised process; `process` is None before the first start and between a crash and the next."""

    def __init__(self, spec: Spec, log_dir: Path, folder: Path) -> None:
        self.spec = spec
        self.log = log_dir / f"{spec.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        self._log_start_bytes = 0  # what earlier processes of this name left in the log
        self._started_s = 0.0
        self._crashes = 0
        self._start_again_s: float | None = None

    def start(self) -> None:
        """Start it, its output appended to its log. Raises `OSError` when the program cannot be run."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        us, nice = os.getpid(), self.spec.nice
        self._start_again_s = None
        self._started_s = monotonic_s()
        with self.log.open("ab") as log:
            self._log_start_bytes = log.seek(0, os.SEEK_END)
            self.process = subprocess.Popen(
                self.spec.command,
                cwd=self._folder,
                env={**os.environ, **self.spec.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us alone: we stop the children in order
                preexec_fn=lambda: _begin(us, nice),  # noqa: PLW1509 - this process has one thread
            )

    def exit_code(self) -> int | None:
        """How it ended (negative: by that signal), or None while it runs or was not started."""
        return self.process.poll() if self.process else None

    def tend(self, report: Callable[[str], None]) -> None:
        """Report a crash and plan the next start, or start again when that is due."""
        now_s = monotonic_s()
        code = self.exit_code()
        if code is not None:
            if now_s - self._started_s > STEADY_AFTER_S:
                self._crashes = 0
            pause_s = BACK_OFF_S[min(self._crashes, len(BACK_OFF_S) - 1)]
            self._crashes += 1
            self.process = None
            self._start_again_s = now_s + pause_s
            now = f"{utc_now():%Y-%m-%dT%H:%M:%SZ}"
            report(f"{now} {self.spec.name} {how_it_ended(code)}; it starts again in {pause_s} s. Log: {self.log}")
        elif self._start_again_s is not None and now_s >= self._start_again_s:
            self.start()

    def due_in_s(self) -> float | None:
        """Seconds until `tend` has something to do, or None when only a signal can tell."""
        return None if self._start_again_s is None else max(0.0, self._start_again_s - monotonic_s())

    def send(self, number: signal.Signals) -> None:
        """Signal it if it runs."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    def is_gone(self) -> bool:
        """Whether no process is left."""
        return self.process is None or self.process.poll() is not None

    def last_words(self, lines: int = 15) -> str:
        """The end of what this process, and none before it, has put into its log, for a report."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start_bytes, log.seek(0, os.SEEK_END) - 8_192))
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _begin(parent: int, nice: int) -> None:
    """In the new process: yield to others, and have the kernel kill it when the supervisor dies (Linux only).

    However that dies; by SIGKILL, since an orphan that goes on serving would share the port with the next start.
    Nothing is lost, because every part of the system survives kill -9.
    """
    os.nice(nice)
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)
