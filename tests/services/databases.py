"""The PostgreSQL server of one test run and the databases on it.

The server is `TEST_DATABASE_URL` where that is set (a user who may create databases), else a temporary
cluster of our own. The process that starts one puts its address into `TEST_DATABASE_URL`, so workers and
child processes share it. Databases are dropped on a server of somebody else's only: each costs a checkpoint, and those
of our own cluster go with it.
"""

import atexit
import os
from urllib.parse import urlsplit

import psycopg

from tests.services.cluster import Cluster

SERVER_VARIABLE = "TEST_DATABASE_URL"
OWN_VARIABLE = "KOMILION_TEST_CLUSTER"  # set where the server of this run is a cluster of our own


def server_url() -> str:
    """Where the server of this run is; starts it when there is none yet. Raises `PostgresMissing`."""
    if not os.environ.get(SERVER_VARIABLE):
        cluster = Cluster()
        atexit.register(cluster.delete)
        os.environ |= {SERVER_VARIABLE: cluster.url(), OWN_VARIABLE: "1"}
    return os.environ[SERVER_VARIABLE]


def worker_name() -> str:
    """Tells the processes of this run, and runs that share one server, apart."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    return f"{run[:8]}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


def planned_database_url() -> str:
    """The URL of the database that Django's test run shall create for this worker."""
    return database_url(server_url(), f"komilion_{worker_name()}")


def create_database(server_url: str, name: str) -> str:
    """A fresh, empty database on the server at `server_url`; returns its own URL."""
    _drop_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    return database_url(server_url, name)


def give_back_databases(*names: str) -> None:
    """Remove databases from the server of this run, whoever is still connected to them, if it stays after the run."""
    if OWN_VARIABLE not in os.environ:
        for name in names:
            _drop_database(server_url(), name)


def _drop_database(server_url: str, name: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def database_url(server_url: str, name: str) -> str:
    """`server_url` with another database."""
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()
