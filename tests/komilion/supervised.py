"""A supervisor as its own process, with a port and a data folder of its own."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from komilion.env import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
START_DEADLINE_S = 60


class Running:
    """One supervisor with its own port and data folder."""

    def __init__(self, data: Path, port: int | None = None, **environment: str) -> None:
        self.data = data
        self.port = port or free_port()
        data.mkdir(exist_ok=True)
        self._output = data.with_suffix(".out")
        ours = {"DATA_DIR": str(data), "PORT": str(self.port), "DATABASE_URL": "", **environment}
        with self._output.open("wb") as output:
            self.process = psutil.Popen(
                [sys.executable, "-m", "komilion.supervisor"],
                cwd=ROOT,
                env={**os.environ, **ours},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        return self._output.read_text()

    def status(self, path: str, headers: dict[str, str] | None = None) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path, headers=headers or {})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def wait_ready(self) -> "Running":
        def ready() -> bool:
            assert self.process.poll() is None, self.output()
            return self.status("/health/readiness") == 200

        wait_until(ready, START_DEADLINE_S, f"readiness, see {self.data / 'log'}")
        return self

    def refusal(self) -> str:
        """What it said when it did not start."""
        assert self.process.wait(START_DEADLINE_S) == 1
        assert "Traceback" not in self.output()
        return self.output()

    def text(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().read().decode()

    def children(self) -> list[psutil.Process]:
        return self.process.children(recursive=True)

    def child(self, word: str) -> psutil.Process | None:
        for process in self.children():
            with contextlib.suppress(psutil.Error):
                if any(word in part for part in process.cmdline()):
                    return process
        return None

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
