"""Settings from the environment, and the file of what an installation keeps for itself."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from komilion import env

VARIABLE = "KOMILION_TEST_VARIABLE"
RACERS = 8
RACER = "import sys; from pathlib import Path; from komilion.env import *; sys.stdin.read(1); "
RACER += "print(load_instance(Path(sys.argv[1])).secret_key)"


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch):
    return lambda value: monkeypatch.setenv(VARIABLE, value)


def test_text_is_the_default_where_the_variable_is_unset_or_empty(set_to) -> None:
    assert env.text(VARIABLE, "default") == "default"
    set_to("")
    assert env.text(VARIABLE, "default") == "default"
    set_to("value")
    assert env.text(VARIABLE, "default") == "value"


@pytest.mark.parametrize(("raw", "expected"), [("", 5), ("1", 1), ("10", 10), ("007", 7)])
def test_whole_numbers_within_the_limits_are_taken(set_to, raw: str, expected: int) -> None:
    set_to(raw)
    assert env.whole_number(VARIABLE, 5, least=1, most=10) == expected


@pytest.mark.parametrize("raw", ["0", "11", "-1", "1.5", "1e3", "ten", "٣", "--5", "-", " 5", "0x5"])
def test_what_is_no_whole_number_within_the_limits_is_refused_by_name(set_to, raw: str) -> None:
    set_to(raw)
    with pytest.raises(ImproperlyConfigured, match=rf"{VARIABLE} must be a whole number from 1 to 10"):
        env.whole_number(VARIABLE, 5, least=1, most=10)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("1", True),
        ("true", True),
        ("ON", True),
        ("yes", True),
        ("0", False),
        ("False", False),
        ("off", False),
    ],
)
def test_switches_are_read(set_to, raw: str, expected: bool) -> None:
    set_to(raw)
    assert env.switch(VARIABLE, default=not expected) is expected


def test_a_switch_that_is_neither_on_nor_off_is_refused(set_to) -> None:
    set_to("maybe")
    with pytest.raises(ImproperlyConfigured, match=VARIABLE):
        env.switch(VARIABLE, default=True)


def test_without_a_url_the_database_is_sqlite_in_the_data_folder(tmp_path: Path) -> None:
    database = env.database("", tmp_path)
    assert database["NAME"] == str(tmp_path / "komilion.sqlite3")
    assert database["ENGINE"] == "django.db.backends.sqlite3"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_postgres_url_is_taken_apart(tmp_path: Path, scheme: str) -> None:
    database = env.database(f"{scheme}://ann:p%40ss@db.example:5433/shop?sslmode=require", tmp_path)
    wanted = {"USER": "ann", "PASSWORD": "p@ss", "HOST": "db.example", "PORT": "5433", "NAME": "shop"}
    assert {name: database[name] for name in wanted} == wanted
    assert database["OPTIONS"] == {"sslmode": "require"}


def test_another_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL"):
        env.database("mysql://localhost/x", tmp_path)


def test_the_instance_is_made_once_and_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = env.load_instance(folder)
    assert env.load_instance(folder) == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / env.INSTANCE_FILE).stat().st_mode) == 0o600


def test_processes_that_start_together_agree_on_one_instance(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACER, str(tmp_path / "data")]
    environment = {**os.environ, "PYTHONPATH": str(Path(env.__file__).parents[1])}
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) for _ in range(RACERS)
    ]
    for racer in racers:  # they wait for this byte, so that none is done before the last has started
        assert racer.stdin is not None
        racer.stdin.write(b"!")
        racer.stdin.flush()
    keys = {racer.communicate(timeout=30)[0] for racer in racers}
    assert len(keys) == 1
    assert keys != {b""}
    assert [path.name for path in (tmp_path / "data").iterdir()] == [env.INSTANCE_FILE]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"secret_key": "x"}'])
def test_a_damaged_instance_file_is_named_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / env.INSTANCE_FILE
    path.write_text(content)
    with pytest.raises(ImproperlyConfigured, match=r"instance\.json is damaged.*Restore it from a backup"):
        env.load_instance(tmp_path)
    assert path.read_text() == content


def test_moving_a_port_keeps_every_secret(tmp_path: Path) -> None:
    before = env.load_instance(tmp_path)
    moved = env.move_ports(tmp_path, valkey_port=1234)
    assert moved.valkey_port == 1234
    assert env.load_instance(tmp_path) == moved
    assert json.loads((tmp_path / env.INSTANCE_FILE).read_text())["secret_key"] == before.secret_key
