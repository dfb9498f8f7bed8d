"""`@copilotkit/aimock`, a mock of AI providers that nobody here wrote: a program beside ours, at a free port.

`make .venv/aimock/.installed` installs it, where there is npm; what it answers is in `aimock/replies.json`.
"""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.valkey import _die_with_parent
from tests.waiting import wait_until

FOLDER = Path(__file__).with_name("aimock")
PROGRAM = Path(__file__).parents[2] / ".venv/aimock/node_modules/@copilotkit/aimock/dist/aimock-cli.js"
START_DEADLINE_S = 20


@pytest.fixture(scope="session")
def aimock_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL for a provider."""
    from komilion.env import free_port

    node = shutil.which("node")
    if node is None or not PROGRAM.exists():
        pytest.skip("aimock is not installed: it needs Node.js, and make .venv/aimock/.installed")
    port = free_port()
    path = tmp_path_factory.mktemp("aimock") / "aimock.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [node, str(PROGRAM), "-c", "aimock.json", "-p", str(port)],
            cwd=FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, safe beside threads
        )
    try:
        wait_until(lambda: _listens(port), START_DEADLINE_S, f"aimock, see {path}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
