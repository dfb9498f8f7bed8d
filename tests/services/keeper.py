"""Looks after one temporary folder, and the PostgreSQL server in it if there is one: `python keeper.py FOLDER`.

Standard input is a pipe that ends when the owner closes it or dies, be it by kill -9. Then the server is
stopped and the folder removed. Runs alone and imports nothing of ours, so that it is small and outlives
whatever happens to the tests.
"""

import contextlib
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

STOP_DEADLINE_S = 20
PAUSE_S = 0.02


def stop_server(pid_file: Path) -> None:
    """Ask for an immediate shutdown and wait until the server has removed its pid file."""
    try:
        pid = int(pid_file.read_text().split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)  # a paused server could not react
        os.kill(pid, signal.SIGQUIT)
        for _ in range(int(STOP_DEADLINE_S / PAUSE_S)):
            if not pid_file.exists():
                return
            os.kill(pid, 0)
            threading.Event().wait(PAUSE_S)
        os.kill(pid, signal.SIGKILL)


def main() -> None:
    """Wait for the end of the owner, then clean up."""
    folder = Path(sys.argv[1])
    sys.stdin.buffer.read()
    stop_server(folder / "data" / "postmaster.pid")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
