"""Installations of real processes, on a migrated database that was made once.

Each test that asks for `install` has installations of its own; `shared_install` makes those of a whole file, for tests
that keep apart by being different people.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.server import Installation, UpstreamProcess
from tests.services.cluster import PostgresMissing
from tests.services.databases import create_database, database_url, give_back_databases, server_url, worker_name
from tests.services.valkey import ValkeyServer, free_url

DATABASES = ("sqlite", "postgres")
type Install = Callable[..., Installation]
type AddStaticFiles = Callable[[Installation], None]


class Databases:
    """Migrated databases, cheap after the first: each is a copy of one that was migrated once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sqlite: Path | None = None
        self._postgres: str | None = None
        self._names = (f"komilion_e2e_{worker_name()}_{number}" for number in count(1))
        self.made: list[str] = []

    def sqlite(self, path: Path) -> str:
        """The URL of a migrated database at `path`."""
        if self._sqlite is None:
            self._sqlite = self._folder / "template.sqlite3"
            self._migrate(f"sqlite:///{self._sqlite}")
        shutil.copyfile(self._sqlite, path)
        return f"sqlite:///{path}"

    def postgres(self) -> str:
        """The URL of a migrated database on the server of this run. Raises `PostgresMissing`."""
        if self._postgres is None:
            self._postgres = self._new_name()
            self._migrate(create_database(server_url(), self._postgres))
        name = self._new_name()
        with psycopg.connect(server_url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._postgres}"'.encode())
        return database_url(server_url(), name)

    def _new_name(self) -> str:
        self.made.append(next(self._names))
        return self.made[-1]

    def _migrate(self, url: str) -> None:
        installation = Installation(self._folder, database_url=url, valkey_url=free_url())
        installation.migrate()
        installation.close()


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Makes databases for installations; those on PostgreSQL are given back after the last test."""
    made = Databases(tmp_path_factory.mktemp("templates"))
    yield made
    give_back_databases(*made.made)


@pytest.fixture(scope="session")
def add_static_files(tmp_path_factory: pytest.TempPathFactory) -> AddStaticFiles:
    """Gives an installation the static files under the names that a start gives them, gathered once for all."""
    folder = tmp_path_factory.mktemp("static")
    source = Installation(folder, database_url=f"sqlite:///{folder / 'none.sqlite3'}", valkey_url=free_url())
    source.manage("collectstatic", "--no-input", "--verbosity", "0")
    source.close()

    def add(installation: Installation) -> None:
        (installation.folder / "data" / "static").symlink_to(folder / "data" / "static")

    return add


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[UpstreamProcess]:
    """The scripted upstream as a process, with a journal of its own."""
    yield from _upstream(tmp_path)


@pytest.fixture(scope="module")
def shared_upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpstreamProcess]:
    """The scripted upstream of `shared_install`."""
    yield from _upstream(tmp_path_factory.mktemp("upstream"))


def _upstream(folder: Path) -> Iterator[UpstreamProcess]:
    process = UpstreamProcess(folder)
    yield process
    process.stop()


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """Every test that asks runs on both."""
    return str(request.param)


@pytest.fixture
def install(
    tmp_path: Path, upstream: UpstreamProcess, valkey_server: ValkeyServer, databases: Databases
) -> Iterator[Install]:
    """Makes an installation on `sqlite`, `postgres`, or a database's URL, with a draining and a cancelling provider."""
    with _installing(tmp_path, upstream, valkey_server, databases) as make:
        yield make


@pytest.fixture(scope="module")
def shared_install(
    tmp_path_factory: pytest.TempPathFactory, shared_upstream: UpstreamProcess, databases: Databases
) -> Iterator[Install]:
    """Like `install`, for the installation that all tests of a file share."""
    folder = tmp_path_factory.mktemp("shared")
    valkey = ValkeyServer(folder, free_url())
    valkey.start()
    with _installing(folder, shared_upstream, valkey, databases) as make:
        yield make
    valkey.kill()


@contextmanager
def _installing(
    parent: Path, upstream: UpstreamProcess, valkey: ValkeyServer, databases: Databases
) -> Iterator[Install]:
    made: list[Installation] = []

    def make(database: str, **options: Any) -> Installation:
        folder = parent / f"installation-{len(made)}"
        folder.mkdir()
        if database == "sqlite":
            url = databases.sqlite(folder / "komilion.sqlite3")
        elif database == "postgres":
            url = _or_skip(databases.postgres)
        else:
            url = database
        installation = Installation(folder, database_url=url, valkey_url=valkey.url, **options)
        made.append(installation)
        if url == database:
            installation.migrate()
        installation.add_provider("draining", upstream.url)
        installation.add_provider("cancelling", upstream.url, "--cancel-stops-billing")
        return installation

    try:
        yield make
    finally:
        for installation in made:
            installation.close()


def _or_skip(make: Callable[[], str]) -> str:
    try:
        return make()
    except PostgresMissing as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must test PostgreSQL: {error}")
        pytest.skip(f"needs PostgreSQL: {error}")
