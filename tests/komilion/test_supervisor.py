"""`make run` from outside: what it starts, prints, survives and stops. The slow ones start it for real."""

import contextlib
import fcntl
import os
import re
import shlex
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from komilion.env import free_port, load_instance, redis_prefix
from komilion.supervisor import valkey
from komilion.supervisor.banner import banner, url_of
from komilion.supervisor.children import Child, Spec
from komilion.supervisor.guard import Refusal, is_free, only_one
from tests.komilion.supervised import Running
from tests.services.valkey import ValkeyServer
from tests.waiting import wait_until


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def _start(name: str = "data", port: int | None = None, **environment: str) -> Running:
        started.append(Running(tmp_path / name, port, **environment))
        return started[-1]

    yield _start
    for instance in started:
        instance.stop()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that runs, for tests after which it runs as before: a start takes ten seconds of processor."""
    running = Running(tmp_path_factory.mktemp("standing") / "data").wait_ready()
    yield running
    running.stop()


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_the_printed_curl_line_can_be_pasted() -> None:
    text = banner("http://127.0.0.1:8000", "ck_key", "demo.key")
    block = re.search(r"^curl (?:[^\n]*\\\n)*[^\n]*", text, re.MULTILINE)
    assert block
    words = shlex.split(block[0])
    assert words[:2] == ["curl", "http://127.0.0.1:8000/api/chat/completions"]
    assert "Authorization: Bearer ck_key" in words
    assert text.count("curl") == 1


def test_without_a_demo_key_no_curl_line_is_printed() -> None:
    assert "curl" not in banner("http://127.0.0.1:8000", None, "demo.key")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("gateway.example", "http://gateway.example:80"),
    ],
)
def test_the_printed_address_is_one_that_a_client_can_use(host: str, url: str) -> None:
    assert url_of(host, 80) == url


def test_the_valkey_configuration_is_private(tmp_path: Path) -> None:
    instance = load_instance(tmp_path)
    path = valkey.write_configuration(tmp_path / "valkey", instance)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"requirepass {instance.valkey_password}" in path.read_text()


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not is_free("127.0.0.1", listener.getsockname()[1])
    assert is_free("127.0.0.1", free_port())


def test_the_lock_of_an_installation_is_held_once(tmp_path: Path) -> None:
    with (tmp_path / "supervisor.lock").open("w") as other:
        other.write("4711")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Refusal, match="already running as process 4711"), only_one(tmp_path):
            pass
    with only_one(tmp_path):
        assert (tmp_path / "supervisor.lock").read_text() == str(os.getpid())


def test_a_child_that_crashes_is_reported_and_started_again_later_each_time(tmp_path: Path) -> None:
    child = Child(Spec("crasher", (sys.executable, "-c", "print('why'); exit(3)"), 1), tmp_path, tmp_path)
    reports: list[str] = []
    child.start()
    pauses = []
    for crash in range(1, 3):
        wait_until(child.is_gone)
        child.tend(reports.append)
        assert len(reports) == crash
        pauses.append(child.due_in_s())
        wait_until(lambda: child.due_in_s() == 0)
        child.tend(reports.append)
        assert child.process is not None
    wait_until(child.is_gone)
    assert "ended with exit code 3" in reports[0]
    assert str(child.log) in reports[0]
    assert 0 < pauses[0] < pauses[1] < 1
    assert child.log.read_text() == "why\nwhy\nwhy\n"
    assert child.last_words() == "why"  # not what those before it said


def test_a_child_that_is_to_be_nice_lets_others_go_first(tmp_path: Path) -> None:
    child = Child(Spec("nice", (sys.executable, "-c", "import os; print(os.nice(0))"), 1, nice=19), tmp_path, tmp_path)
    child.start()
    wait_until(child.is_gone)
    assert child.last_words() == "19"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PORT", "http", "PORT must be a whole number"),
        ("WORKERS", "0", "WORKERS must be a whole number"),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL must start with"),
        ("REDIS_URL", "foo", "REDIS_URL must start with redis://, rediss:// or unix://"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR"),
        ("CREDENTIAL_KEYS", "notakey", "CREDENTIAL_KEYS must be Fernet keys"),
        ("SECRET_KEY", "x", "SECRET_KEY must have at least 32 characters"),
        ("KEY_PEPPER", "x", "KEY_PEPPER must have at least 32 characters"),
        ("HOST", "192.0.2.1", "Cannot listen on 192.0.2.1"),
        ("STRIPE_SECRET_KEY", "pk_live_1", "STRIPE_SECRET_KEY must start with sk_live_"),
    ],
)
@pytest.mark.slow
def test_settings_that_make_no_sense_are_refused_in_one_line(
    start: Callable[..., Running], variable: str, value: str, message: str
) -> None:
    text = start(**{variable: value}).refusal()
    assert message in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("HOST", "0.0.0.0", "HOST 0.0.0.0 can be reached from other machines"),
        ("STRIPE_SECRET_KEY", "sk_live_0123456789", "STRIPE_SECRET_KEY is a live key"),
    ],
)
@pytest.mark.slow
def test_test_money_where_it_may_not_be_is_refused_in_one_line(
    start: Callable[..., Running], variable: str, value: str, message: str
) -> None:
    text = start(TEST_PAYMENTS="1", **{variable: value}).refusal()
    assert f"TEST_PAYMENTS=1 gives credit away, and {message}" in text
    assert text.count("\n") == 1


@pytest.mark.slow
def test_a_start_turns_test_money_on_where_only_this_machine_comes_in_and_off_elsewhere(
    start: Callable[..., Running],
) -> None:
    local = start().wait_ready()
    assert (local.data / "demo.key").exists()
    child = local.child("uvicorn")
    assert child is not None
    assert child.environ()["TEST_PAYMENTS"] == "1"
    local.stop()
    proxied = start(port=local.port, BEHIND_PROXY="1").wait_ready()
    child = proxied.child("uvicorn")
    assert child is not None
    assert child.environ()["TEST_PAYMENTS"] == "0"
    assert "The demo tenant is suspended" in proxied.output()
    assert "curl" not in proxied.output()


@pytest.mark.slow
def test_first_start_prints_everything_before_it_is_ready_and_the_second_keeps_the_key(
    start: Callable[..., Running],
) -> None:
    first = start().wait_ready()
    text = first.output()
    key_file = first.data / "demo.key"
    key = key_file.read_text().strip()
    assert f"http://127.0.0.1:{first.port}" in text
    assert key in text
    assert re.search(r"^curl ", text, re.MULTILINE)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    first.stop()
    start(port=first.port).wait_ready()
    assert key_file.read_text().strip() == key


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["komilion.sqlite3*", "instance.json"])
def test_a_printed_key_works_and_what_was_lost_is_told(start: Callable[..., Running], lost: str) -> None:
    first = start().wait_ready()
    first.stop()
    old_key = (first.data / "demo.key").read_text().strip()
    for path in first.data.glob(lost):
        path.unlink()
    second = start(port=first.port).wait_ready()
    printed = re.search(r"Bearer (ck_\w+)", second.output())
    assert printed is not None
    assert printed[1] != old_key
    assert second.status("/api/wallet", {"Authorization": f"Bearer {printed[1]}"}) == 200
    assert "belonged to another database or another KEY_PEPPER" in second.output()
    is_told = "WARNING: restore instance.json from a backup" in second.output()
    assert is_told == (lost == "instance.json")
    assert is_told == ("WARNING: restore" in (second.data / "log" / "prepare.log").read_text())


@pytest.mark.slow
def test_a_redis_that_does_not_answer_is_named_and_the_server_runs_without_it(start: Callable[..., Running]) -> None:
    port = free_port()
    running = start(REDIS_URL=f"redis://:hidden@127.0.0.1:{port}/0").wait_ready()
    lines = [line for line in running.output().splitlines() if f"Redis at 127.0.0.1:{port} (REDIS_URL)" in line]
    assert len(lines) == 1
    assert "hidden" not in running.output()


@pytest.mark.slow
def test_why_a_start_failed_is_told_without_what_earlier_starts_said(start: Callable[..., Running]) -> None:
    data = start("unused", REDIS_URL="foo").data.parent / "data"
    (data / "log").mkdir(parents=True)
    (data / "log" / "prepare.log").write_text("Traceback of another start\n")
    (data / "komilion.sqlite3").write_bytes(b"x" * 5_000)
    text = start().refusal()
    assert "The database cannot be used: file is not a database" in text
    assert "another start" not in text


@pytest.mark.slow
def test_only_web_processes_are_called_uvicorn_and_no_secret_is_on_a_command_line(
    start: Callable[..., Running],
) -> None:
    running = start(WORKERS="2").wait_ready()
    lines = [" ".join(process.cmdline()) for process in running.children()]
    listening = [
        process
        for process in running.children()
        if any(c.status == "LISTEN" and c.laddr.port == running.port for c in process.net_connections("tcp"))
    ]
    assert sum("uvicorn" in line for line in lines) == 2
    assert all("uvicorn" in " ".join(process.cmdline()) for process in listening)
    password = load_instance(running.data).valkey_password
    assert not any(password in line for line in lines)


@pytest.mark.slow
def test_a_second_supervisor_of_the_same_folder_and_a_taken_port_are_refused(
    standing: Running, start: Callable[..., Running], tmp_path: Path
) -> None:
    (tmp_path / "same").symlink_to(standing.data)
    assert f"already running as process {standing.process.pid}" in start("same").refusal()
    assert f"Port {standing.port} is used by another program" in start("other", standing.port).refusal()
    assert standing.status("/health/readiness") == 200


@pytest.mark.slow
def test_two_instances_run_side_by_side(start: Callable[..., Running]) -> None:
    both = [start("one"), start("two")]
    for running in both:
        running.wait_ready()
    both[0].stop()
    assert both[1].status("/health/readiness") == 200


@pytest.mark.slow
@pytest.mark.parametrize("word", ["uvicorn", "valkey", "local_models", "outside"])
def test_a_child_that_is_killed_is_reported_and_comes_back(standing: Running, word: str) -> None:
    report = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [\w-]+ was ended by SIGKILL; it starts again")
    reports = len(report.findall(standing.output()))
    victim = standing.child(word)
    assert victim is not None
    victim.kill()
    wait_until(lambda: len(report.findall(standing.output())) == reports + 1)
    wait_until(lambda: (again := standing.child(word)) and again.pid != victim.pid)
    wait_until(lambda: standing.status("/health/readiness") == 200, 30)


@pytest.mark.slow
def test_the_advisor_alone_lets_all_others_go_first(standing: Running) -> None:
    nice = {word: standing.child(word).nice() for word in ("worker-advisor", "worker-voice", "uvicorn")}
    ours = standing.process.nice()
    assert nice == {"worker-advisor": 19, "worker-voice": ours, "uvicorn": ours}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_every_child(start: Callable[..., Running], number: signal.Signals) -> None:
    running = start().wait_ready()
    children = running.children()
    running.process.send_signal(number)
    assert running.process.wait(20) == 0
    assert all_gone(children)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")
def test_children_die_with_a_supervisor_that_is_killed_and_the_next_start_takes_over(
    start: Callable[..., Running],
) -> None:
    first = start().wait_ready()
    children = first.children()
    first.process.kill()
    wait_until(lambda: all_gone(children), what="the children to die")
    start(port=first.port).wait_ready()


@pytest.mark.slow
def test_valkey_moves_when_its_port_was_taken(start: Callable[..., Running]) -> None:
    first = start().wait_ready()
    first.stop()
    port = load_instance(first.data).valkey_port
    with socket.create_server(("127.0.0.1", port)):
        start(port=first.port).wait_ready()
        assert load_instance(first.data).valkey_port != port


@pytest.mark.slow
def test_a_database_that_cannot_be_reached_is_refused(start: Callable[..., Running]) -> None:
    url = f"postgres://user:secret@127.0.0.1:{free_port()}/name"
    text = start(DATABASE_URL=url).refusal()
    assert "The database cannot be used" in text
    assert "secret" not in text


def jobs_of(running: Running) -> list[str]:
    return re.findall(r'komilion_jobs_total\{.*task="billing.tasks.reap_holds"', running.text("/metrics"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_installations_share_a_redis_and_neither_does_the_other_s_jobs(
    start: Callable[..., Running], valkey_server: ValkeyServer
) -> None:
    both = [start(name, REDIS_URL=valkey_server.url).wait_ready() for name in ("one", "two")]
    for running in both:
        wait_until(lambda running=running: bool(jobs_of(running)), 60, "its holds are reaped")
    prefixes = [redis_prefix(load_instance(running.data).key_pepper.encode()) for running in both]
    with contextlib.closing(redis.Redis.from_url(valkey_server.url)) as client:
        names = [name.decode() for name in client.scan_iter(count=1_000)]
    for prefix in prefixes:
        assert any(name.startswith(f"{prefix}beat:") for name in names)
    assert [name for name in names if not name.startswith(tuple(prefixes))] == []
