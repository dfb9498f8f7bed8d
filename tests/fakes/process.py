"""The scripted upstream as a process of its own: it outlives a gateway that is killed, and journals to a file."""

import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.fakes.journal import Call, read_journal

ROOT = Path(__file__).resolve().parents[2]
STOP_DEADLINE_S = 10


class UpstreamProcess:
    """Runs while the `with` block does; `url` is the provider's base URL."""

    def __init__(self, journal: Path, port: int = 0) -> None:
        self.journal = journal
        self._port = port
        self.url = ""
        self.process: subprocess.Popen[str]

    @property
    def calls(self) -> list[Call]:
        """What the journal says at this moment."""
        return read_journal(self.journal)

    def __enter__(self) -> Self:
        arguments = ["--port", str(self._port), "--journal", str(self.journal)]
        command = [sys.executable, "-m", "tests.fakes.upstream", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, "the upstream did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_DEADLINE_S)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
