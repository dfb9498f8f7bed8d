"""What is checked before anything starts: this installation is not running yet and its port is free."""

import contextlib
import errno
import fcntl
import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from komilion.common.play_money import trouble_of_test_money
from komilion.supervisor.signals import Signals

PORT_PATIENCE_S = 2.0  # the processes of a supervisor that was just killed need a moment to vanish
PAUSE_S = 0.05
PROBE_TIMEOUT_S = 2.0


class Refusal(Exception):
    """Why we do not start, in words for the operator; never shown with a traceback."""


def refuse_test_money(setup: Any) -> None:
    """Raise `Refusal` where TEST_PAYMENTS=1 would give credit away; a database of real money is `prepare`'s to see."""
    if trouble := trouble_of_test_money(setup):
        raise Refusal(f"{trouble}; leave it out, or set it to 0.")


@contextlib.contextmanager
def only_one(run_dir: Path) -> Iterator[None]:
    """Hold this installation's lock; the kernel drops it when we die. Raises `Refusal` when it is held."""
    path = run_dir / "supervisor.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Refusal(
                f"This installation is already running as process {file.read().strip() or 'unknown'} "
                f"({path} is locked). A second one needs its own DATA_DIR and PORT."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there. Raises `Refusal` when the address is none of this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger do not count
            probe.bind(address)
            probe.listen(1)
    except socket.gaierror as error:
        raise Refusal(f"HOST {host!r} is no address: {error.strerror}") from None
    except PermissionError:
        raise Refusal(f"Port {port} may only be opened by root; set PORT to one above 1023.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise Refusal(f"Cannot listen on {host}:{port}: {error.strerror}") from None
    return True


def becomes_free(host: str, port: int, signals: Signals) -> bool:
    """`is_free`, asked for a moment."""
    for _ in range(int(PORT_PATIENCE_S / PAUSE_S)):
        if is_free(host, port):
            return True
        if signals.stop_requested:
            return False
        signals.wait(PAUSE_S)
    return False


def reachable_host(host: str) -> str:
    """Where a client on this machine finds a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound here


def answers_200(host: str, port: int, path: str) -> bool:
    """Whether `GET path` is answered with 200 right now."""
    connection = http.client.HTTPConnection(reachable_host(host), port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
