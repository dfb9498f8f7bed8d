"""Settings from the environment, and the file of what an installation keeps for itself."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from kombu import Connection

from komilion import env
from tests.services.valkey import ValkeyServer

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


def test_a_choice_is_read_in_any_case_and_anything_else_refused(set_to) -> None:
    assert env.choice(VARIABLE, "INFO", ("DEBUG", "INFO")) == "INFO"
    set_to("debug")
    assert env.choice(VARIABLE, "INFO", ("DEBUG", "INFO")) == "DEBUG"
    set_to("loud")
    with pytest.raises(ImproperlyConfigured, match=f"{VARIABLE} must be one of DEBUG, INFO, not 'loud'"):
        env.choice(VARIABLE, "INFO", ("DEBUG", "INFO"))


def test_a_secret_has_a_least_length_and_is_not_quoted(set_to) -> None:
    set_to("s" * 32)
    assert env.secret(VARIABLE, "default") == "s" * 32
    set_to("s" * 31)
    with pytest.raises(
        ImproperlyConfigured, match=f"{VARIABLE} must have at least 32 characters.*it has 31"
    ) as refused:
        env.secret(VARIABLE, "default")
    assert "sss" not in str(refused.value)


def test_hosts_addresses_and_networks_are_taken(set_to) -> None:
    assert env.hosts_and_networks(VARIABLE) == ()
    set_to("files.example, 10.0.0.0/8,::1,127.0.0.1, intranet")
    assert env.hosts_and_networks(VARIABLE) == ("files.example", "10.0.0.0/8", "::1", "127.0.0.1", "intranet")


@pytest.mark.parametrize("raw", ["https://files.example", "files.example:80", "10.0.0.1/8", "300.1.1.1", "*", "a b"])
def test_what_is_neither_host_nor_network_is_refused(set_to, raw: str) -> None:
    set_to(raw)
    with pytest.raises(ImproperlyConfigured, match=VARIABLE):
        env.hosts_and_networks(VARIABLE)


def test_fernet_keys_keep_their_order(set_to) -> None:
    first, second = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    set_to(f"{first}, {second}")
    assert env.fernet_keys(VARIABLE, "") == [first, second]


@pytest.mark.parametrize("tail", [",notakey", ",", ",aGVsbG8=", ",\N{SNOWMAN}"])
def test_what_is_no_fernet_key_is_refused_by_its_number_and_not_quoted(set_to, tail: str) -> None:
    key = Fernet.generate_key().decode()
    set_to(key + tail)
    with pytest.raises(
        ImproperlyConfigured, match=rf"{VARIABLE} must be Fernet keys.*number \d of \d is none"
    ) as refused:
        env.fernet_keys(VARIABLE, "")
    assert key not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:p%40ss@[::1]:6380/3",
        "rediss://user:pass@cache.example:6380/0?ssl_cert_reqs=none",
        "unix:///run/valkey.sock?db=1",
    ],
)
def test_addresses_of_redis_are_taken_as_they_are(set_to, url: str) -> None:
    set_to(url)
    assert env.redis_url(VARIABLE, "") == url


@pytest.mark.parametrize(
    "url",
    [
        *("foo", "http://:hidden@localhost", "localhost:6379", "redis://", "redis:///0", "redis://:hidden@host:port/0"),
        *("redis://:hidden@host:99999", "redis://:hidden@host/name", "redis://[::1", "unix://", "unix:///"),
    ],
)
def test_what_is_no_address_of_redis_is_refused_and_not_quoted(set_to, url: str) -> None:
    set_to(url)
    with pytest.raises(ImproperlyConfigured, match=VARIABLE) as refused:
        env.redis_url(VARIABLE, "")
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:p@host:1/2", "redis://:p@host:1/2"),
        ("rediss://host", "rediss://host"),
        ("unix:///run/v.sock", "redis+socket:///run/v.sock?virtual_host=0"),
        ("unix://u:p%2Fw@/run/v.sock?db=3", "redis+socket://u:p%2Fw@/run/v.sock?virtual_host=3"),
        ("unix:///run/v.sock?db=3&password=p/w", "redis+socket://:p%2Fw@/run/v.sock?virtual_host=3"),
    ],
)
def test_celery_s_spelling_of_the_address(url: str, expected: str) -> None:
    assert env.broker_url(url) == expected


def test_celery_reaches_a_socket_by_it(valkey_server: ValkeyServer) -> None:
    password = urlsplit(valkey_server.url).password
    with Connection(env.broker_url(f"unix://:{password}@{valkey_server.socket_path}?db=2")) as connection:
        connection.default_channel.client.set("seen", 1)
    with valkey_server.client as client:
        client.select(2)
        assert client.get("seen") == "1"


def test_without_a_url_the_database_is_sqlite_in_the_data_folder(tmp_path: Path) -> None:
    database = env.database("", tmp_path)
    assert database["NAME"] == str(tmp_path / "komilion.sqlite3")
    assert database["ENGINE"] == "django.db.backends.sqlite3"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_postgres_url_is_taken_apart(tmp_path: Path, scheme: str) -> None:
    database = env.database(f"{scheme}://ann:p%40ss@db.example:5433/shop?sslmode=require", tmp_path)
    wanted = {"USER": "ann", "PASSWORD": "p@ss", "HOST": "db.example", "PORT": "5433", "NAME": "shop"}
    assert {name: database[name] for name in wanted} == wanted
    assert database["OPTIONS"] == {"sslmode": "require", "options": "-c jit=off"}


@pytest.mark.parametrize(
    "url",
    [
        *("mysql://localhost/x", "postgres://host", "postgres://host/", "postgres://host:99999/x", "postgres://[::1/x"),
        *("sqlite:x.sqlite3", "sqlite://x.sqlite3", "sqlite:///"),
    ],
)
def test_another_database_or_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL"):
        env.database(url, tmp_path)


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


@pytest.mark.parametrize("file", [None, env.INSTANCE_FILE, env.SQLITE_FILE])
def test_a_folder_of_ours_that_others_can_read_is_closed(tmp_path: Path, file: str | None) -> None:
    if file == env.INSTANCE_FILE:
        env.load_instance(tmp_path)
    elif file:
        (tmp_path / file).touch()
    tmp_path.chmod(0o755)
    env.load_instance(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_an_open_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(ImproperlyConfigured, match=r"DATA_DIR .* is open to other users; .* new folder inside it"):
        env.load_instance(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_an_open_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ImproperlyConfigured, match="is open to other users"):
        env.load_instance(tmp_path)
    tmp_path.chmod(0o700)
    env.load_instance(tmp_path)  # closed, and we can use it: as root, say


def test_an_open_folder_that_cannot_be_closed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    tmp_path.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", refuse)
        with pytest.raises(ImproperlyConfigured, match="is open to other users"):
            env.load_instance(tmp_path)


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImproperlyConfigured, match=rf"DATA_DIR cannot be used: {tmp_path}/file"):
        env.load_instance(tmp_path / "file")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"secret_key": "x"}', "\udcff"])
def test_a_damaged_instance_file_is_named_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / env.INSTANCE_FILE
    raw = content.encode(errors="surrogateescape")
    path.write_bytes(raw)
    with pytest.raises(ImproperlyConfigured, match=r"instance\.json is damaged.*Restore it from a backup"):
        env.load_instance(tmp_path)
    assert path.read_bytes() == raw


@pytest.mark.parametrize(
    "change",
    [{"valkey_port": "1"}, {"secret_key": 1}, {"key_pepper": ""}, {"credential_key": "x"}, {"local_models_port": True}],
)
def test_a_value_that_nobody_wrote_into_the_instance_file_is_damage(tmp_path: Path, change: dict[str, object]) -> None:
    content = asdict(env.load_instance(tmp_path)) | change
    (tmp_path / env.INSTANCE_FILE).write_text(json.dumps(content))
    with pytest.raises(ImproperlyConfigured, match=rf"instance\.json is damaged: {next(iter(change))}"):
        env.load_instance(tmp_path)


def test_an_instance_file_of_before_is_read(tmp_path: Path) -> None:
    content = asdict(env.load_instance(tmp_path))
    del content["made_at_unix_s"]
    (tmp_path / env.INSTANCE_FILE).write_text(json.dumps(content))
    assert env.load_instance(tmp_path).made_at_unix_s == 0


def test_moving_a_port_keeps_every_secret(tmp_path: Path) -> None:
    before = env.load_instance(tmp_path)
    moved = env.move_ports(tmp_path, valkey_port=1234)
    assert moved.valkey_port == 1234
    assert env.load_instance(tmp_path) == moved
    assert json.loads((tmp_path / env.INSTANCE_FILE).read_text())["secret_key"] == before.secret_key
