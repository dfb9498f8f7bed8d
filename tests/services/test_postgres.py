"""The PostgreSQL of the tests: empty databases, a server that can go away and come back, nothing left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.services.cluster import Cluster
from tests.waiting import wait_until

OWNER = """
from tests.services.cluster import Cluster
import sys
print(Cluster().folder, flush=True)
sys.stdin.read()
"""


def ask(url: str, question: str, patience_s: int = 30) -> object:
    with psycopg.connect(url, connect_timeout=patience_s) as connection:
        row = connection.execute(question).fetchone()
        return row and row[0]


def test_databases_are_empty_and_apart(new_postgres_database: Callable[[], str]):
    first, second = new_postgres_database(), new_postgres_database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE here (id int)")
    assert ask(first, "SELECT to_regclass('here')") == "here"
    assert ask(second, "SELECT to_regclass('here')") is None


def test_commits_are_durable(postgres_url: str):
    assert ask(postgres_url, "SHOW fsync") == ask(postgres_url, "SHOW full_page_writes") == "on"


@pytest.mark.slow
def test_a_server_that_goes_away_and_comes_back(private_postgres: Cluster):
    url = private_postgres.url()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (id int)")
    private_postgres.stop()
    with pytest.raises(psycopg.OperationalError):
        ask(url, "SELECT 1")
    private_postgres.start()
    assert ask(url, "SELECT to_regclass('kept')") == "kept"


@pytest.mark.slow
def test_a_server_that_hangs(private_postgres: Cluster):
    private_postgres.pause()
    with pytest.raises(psycopg.OperationalError):
        ask(private_postgres.url(), "SELECT 1", patience_s=2)
    private_postgres.resume()
    assert ask(private_postgres.url(), "SELECT 1") == 1


@pytest.mark.slow
def test_nothing_is_left_when_the_owner_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        folder = Path(owner.stdout.readline().strip())
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(owner.pid, signal.SIGKILL)
    wait_until(lambda: not folder.exists(), what="the keeper to clean up")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
