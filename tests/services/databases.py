"""The PostgreSQL server of one test run and the databases on it.

The server is `TEST_DATABASE_URL` where that is set (a user who may create databases), else a temporary
cluster of our own. The process that starts one puts its address into `TEST_DATABASE_URL`, so workers and
child processes share it.
"""

import atexit
import os
from urllib.parse import urlsplit

import psycopg

from tests.services.cluster import Cluster

SERVER_VARIABLE = "TEST_DATABASE_URL"


def server_url() -> str:
    """Where the server of this run is; starts it when there is none yet. Raises `PostgresMissing`."""
    if not os.environ.get(SERVER_VARIABLE):
        cluster = Cluster()
        atexit.register(cluster.delete)
        os.environ[SERVER_VARIABLE] = cluster.url()
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
    drop_database(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    return database_url(server_url, name)


def drop_database(server_url: str, name: str) -> None:
    """Remove a database, whoever is still connected to it."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def database_url(server_url: str, name: str) -> str:
    """`server_url` with another database."""
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()
