"""PostgreSQL for the tests: one server for the whole run, a database of its own for each worker."""

import os
from collections.abc import Callable, Iterator
from itertools import count
from typing import NoReturn

import pytest

from tests.services.cluster import Cluster, PostgresMissing
from tests.services.databases import create_database, give_back_databases, server_url, worker_name


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Start the server before the workers, who inherit its address; if it fails, the fixtures say why."""
    try:
        server_url()
    except PostgresMissing:
        return


def _missing(error: PostgresMissing) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"CI must test PostgreSQL: {error}")
    pytest.skip(f"needs PostgreSQL: {error}")


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """The URL of the run's server; skips, or in CI fails, where there is none."""
    try:
        return server_url()
    except PostgresMissing as error:
        _missing(error)


@pytest.fixture(scope="session")
def new_postgres_database(postgres_server: str) -> Iterator[Callable[[], str]]:
    """Makes empty databases: each call returns the URL of a new one; all are given back after the last test."""
    numbers = count(1)
    made: list[str] = []

    def make() -> str:
        made.append(f"komilion_extra_{worker_name()}_{next(numbers)}")
        return create_database(postgres_server, made[-1])

    yield make
    give_back_databases(*made)


@pytest.fixture(scope="session")
def postgres_url(new_postgres_database: Callable[[], str]) -> str:
    """The URL of an empty database that belongs to this worker for the session."""
    return new_postgres_database()


@pytest.fixture
def private_postgres() -> Iterator[Cluster]:
    """A server for one test alone, which may stop, pause and restart it."""
    try:
        cluster = Cluster()
    except PostgresMissing as error:
        _missing(error)
    yield cluster
    cluster.delete()
