"""`manage.py` as an operator types it: what is wrong is said in one line, and nothing is made by mistake."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import get_commands

from komilion.env import INSTANCE_FILE, free_port, load_instance

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OUR_APPS = {"accounts", "advisor", "billing", "routing", "komilion.web"}
NO_INSTALLATION = r'There is no installation in .*; start one with "make run", or set DATA_DIR \(and DATABASE_URL\)'


def manage(data_dir: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it on an installation of its own."""
    ours = {"DATA_DIR": str(data_dir), "DATABASE_URL": "", "DJANGO_SETTINGS_MODULE": "komilion.settings"}
    return subprocess.run(
        [sys.executable, "manage.py", *shlex.split(command)],
        cwd=ROOT,
        env={**os.environ, **ours, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line it said."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_every_command_of_ours_asks_for_an_installation():
    guarded = set(runpy.run_path(str(ROOT / "manage.py"))["OUR_COMMANDS"])
    assert guarded == {name for name, app in get_commands().items() if app in OUR_APPS}


@pytest.mark.parametrize("command", ["tenant create ann@example.com", "catalog_seed", "local_models"])
def test_without_an_installation_our_commands_make_nothing(tmp_path: Path, command: str):
    data_dir = tmp_path / "none"
    line = refusal(manage(data_dir, command))
    assert re.match(NO_INSTALLATION, line)
    assert str(data_dir) in line
    assert not data_dir.exists()


def test_without_its_database_file_our_commands_make_none(tmp_path: Path):
    load_instance(tmp_path)
    assert re.match(NO_INSTALLATION, refusal(manage(tmp_path, "wallet show ann@example.com")))
    assert [path.name for path in tmp_path.iterdir()] == [INSTANCE_FILE]


def test_a_fresh_folder_can_be_migrated_and_then_used(tmp_path: Path):
    data_dir = tmp_path / "fresh"
    assert manage(data_dir, "migrate --verbosity 0").returncode == 0
    assert manage(data_dir, "ledger verify").stdout.startswith("no difference")


@pytest.mark.parametrize(("content", "reason"), [(b"", "no such table"), (b"x" * 5_000, "file is not a database")])
@pytest.mark.parametrize("command", ["tenant create ann@example.com", "holds reap"])
def test_a_database_without_tables_or_damaged_is_one_line(tmp_path: Path, content: bytes, reason: str, command: str):
    load_instance(tmp_path)
    (tmp_path / "komilion.sqlite3").write_bytes(content)
    line = refusal(manage(tmp_path, command))
    assert line.startswith("The database cannot be used: ")
    assert reason in line


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("database or disk is full", "Make room on the disk first."),
        ('could not extend file "base/1": No space left on device', "Make room on the disk first."),
        ('connection to server at "db" failed: Connection refused', "Start it, or correct DATABASE_URL."),
        ("database is locked", "Something else holds it; try again."),
        ("no such table: accounts_user", '"make run" brings it up to date.'),
        ("database disk image is malformed", "Where it is damaged it must be restored from a backup."),
    ],
)
def test_the_advice_fits_the_trouble(reason: str, advice: str):
    assert runpy.run_path(str(ROOT / "manage.py"))["advice_on"](reason) == advice


def test_a_postgresql_that_is_down_is_to_be_started(tmp_path: Path):
    load_instance(tmp_path)
    url = f"postgres://komilion@127.0.0.1:{free_port()}/komilion"
    line = refusal(manage(tmp_path, "tenant create ann@example.com", DATABASE_URL=url))
    assert "Start it, or correct DATABASE_URL." in line


def test_a_database_s_error_is_shown_whole_when_asked(tmp_path: Path):
    load_instance(tmp_path)
    (tmp_path / "komilion.sqlite3").touch()
    assert "Traceback" in manage(tmp_path, "wallet show ann@example.com --traceback").stderr


@pytest.mark.parametrize("command", ["wallet show ann@example.com", "check"])
def test_a_damaged_instance_file_is_one_line(tmp_path: Path, command: str):
    (tmp_path / INSTANCE_FILE).write_text("{")
    (tmp_path / "komilion.sqlite3").touch()
    assert "instance.json is damaged" in refusal(manage(tmp_path, command))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("REDIS_URL", "foo"), ("LOG_LEVEL", "loud"), ("CREDENTIAL_KEYS", "notakey"), ("SECRET_KEY", "x")],
)
def test_settings_that_make_no_sense_are_one_line_that_names_them(tmp_path: Path, variable: str, value: str):
    assert refusal(manage(tmp_path, "check", **{variable: value})).startswith(f"{variable} must ")


@pytest.mark.parametrize(
    "module",
    ["komilion.uvicorn_worker", "komilion.supervisor", "komilion.supervisor.prepare", "celery -A komilion worker"],
)
def test_every_process_says_so_too(tmp_path: Path, module: str):
    done = subprocess.run(
        [sys.executable, "-m", *module.split()],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(tmp_path), "KEY_PEPPER": "x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "KEY_PEPPER must have at least 32 characters" in refusal(done)


def test_a_reader_that_has_had_enough_ends_a_command_without_a_word(tmp_path: Path):
    load_instance(tmp_path)
    reader, writer = os.pipe()
    os.close(reader)
    ours = {"DATA_DIR": str(tmp_path), "DATABASE_URL": "", "DJANGO_SETTINGS_MODULE": "komilion.settings"}
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [sys.executable, "manage.py", "help"],
            cwd=ROOT,
            env={**os.environ, **ours},
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")
