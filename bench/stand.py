"""What is measured and what it needs: PostgreSQL, Valkey, an nginx that answers like a provider, the two servers.

The servers have one core to themselves, everything else shares the other one, this process too.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from bench.load import Target
from komilion.env import free_port
from routing.selection.quality import Strengths
from tests.e2e.server import REAL_TIMES, Installation, Process
from tests.services.cluster import Cluster, PostgresMissing
from tests.services.valkey import ValkeyServer, free_url
from tests.waiting import wait_until

SERVER_CORE, OTHER_CORE = 0, 1
PROGRAMS = {"wrk": "wrk", "nginx": "nginx", "taskset": "util-linux"}  # program: Debian package
CHAT = "/v1/chat/completions"
INPUT_TOKENS, OUTPUT_TOKENS = 25, 150
CANDIDATES = 60  # models that are known to the choice, "up/ok" among them
EMAIL, CAPPED_EMAIL = "bench@example.com", "capped@example.com"
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 10000000; keepalive_timeout 600s; client_body_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} backlog=4096; root {folder};
    location / {{ default_type application/json; error_page 405 =200 /body.json; try_files /body.json =404; }}
    location /body.json {{ default_type application/json; }}
  }}
}}
"""
TEXT = (
    "Quantum computing is a type of computation that uses quantum mechanics to process information in ways"
    " classical machines cannot."
)
ANSWER = {
    "id": "chatcmpl-abc123",
    "object": "chat.completion",
    "created": 1739000000,
    "model": "ok",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": INPUT_TOKENS,
        "completion_tokens": OUTPUT_TOKENS,
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    },
}


class CannotMeasure(Exception):
    """Something that the measurement needs is not here; the message says what to install."""


@dataclass
class Stand:
    """Everything up and running."""

    folder: Path
    relay: Target
    komilion: Target
    capped: Target  # the same server, called with a key that has a cap for each period
    chosen: Target  # the same server, which chooses the model among `CANDIDATES`
    installation: Installation


def check_programs() -> None:
    """Raises `CannotMeasure`, naming everything that is missing."""
    missing = [f"{name} (Debian package {package})" for name, package in PROGRAMS.items() if not shutil.which(name)]
    if missing:
        raise CannotMeasure(f"not installed: {', '.join(missing)}")
    if not {SERVER_CORE, OTHER_CORE} <= os.sched_getaffinity(0):
        raise CannotMeasure("needs two processors, one for the server and one for everything else")


@contextmanager
def stand() -> Iterator[Stand]:
    """Start everything; stop it afterwards. Raises `CannotMeasure`."""
    check_programs()
    os.sched_setaffinity(0, {OTHER_CORE})  # inherited by all that is started from here
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="komilion-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        try:
            cluster = Cluster()
        except PostgresMissing as error:
            raise CannotMeasure(f"{error}; Debian package postgresql") from error
        stack.callback(cluster.delete)
        _give_memory(cluster)
        valkey = ValkeyServer(folder, free_url())
        valkey.start()
        stack.callback(valkey.kill)
        upstream_url = _start_nginx(folder, stack)
        relay = _start_relay(folder, stack, upstream_url)
        installation = Installation(
            folder,
            database_url=cluster.url(),
            valkey_url=valkey.url,
            settings=REAL_TIMES,
            web_core=SERVER_CORE,
        )
        stack.callback(installation.close)
        installation.migrate()
        installation.add_provider("up", upstream_url)
        installation.add_model("up/ok", "up", "ok", max_output=4096)
        _add_candidates(cluster)
        keys = [installation.tenant(email, "1000000.00") for email in (EMAIL, CAPPED_EMAIL)]
        _cap_keys_of(cluster, CAPPED_EMAIL)
        installation.start()
        url, pid = installation.url + CHAT, installation.web.pid
        komilion, capped = Target("komilion", url, pid, keys[0]), Target("with caps", url, pid, keys[1])
        chosen = Target("neo-mode", url, pid, keys[0], "neo-mode")
        for target in (relay, komilion, capped, chosen):
            _check(target)
        yield Stand(folder, relay, komilion, capped, chosen, installation)


def _give_memory(cluster: Cluster) -> None:
    """A production server would have more than the tests' one."""
    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET shared_buffers = '256MB'")
        connection.execute("ALTER SYSTEM SET max_wal_size = '4GB'")
    cluster.stop()
    cluster.start()


def _add_candidates(cluster: Cluster) -> None:
    """Models that real ones are named after, each with the offer and the price of "up/ok": a call costs the same."""
    names = list(Strengths.load().models)[: CANDIDATES - 1]
    known = "SELECT id FROM routing_offer WHERE model_id = 'up/ok'"
    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        for table, changes, copied in (
            ("model", "'id', added.name", "t.id = 'up/ok'"),
            ("offer", f"'id', {_next_id('offer')}, 'model_id', added.name", "t.model_id = 'up/ok'"),
            ("offerprice", f"'id', {_next_id('offerprice')}, 'offer_id', added.offer_id", f"t.offer_id IN ({known})"),
        ):
            connection.execute(
                f"INSERT INTO routing_{table} SELECT (jsonb_populate_record(t, jsonb_build_object({changes}))).*"
                f" FROM routing_{table} t, (SELECT name, o.id AS offer_id FROM unnest(%s::text[]) AS name"
                f" LEFT JOIN routing_offer o ON o.model_id = name) AS added WHERE {copied}",
                [names],
            )


def _next_id(table: str) -> str:
    return f"nextval(pg_get_serial_sequence('routing_{table}', 'id'))"


def _cap_keys_of(cluster: Cluster, email: str) -> None:
    """Caps by day, month and in all, each higher than what is measured can spend."""
    keys = (
        "SELECT k.id, k.organization_id FROM accounts_apikey k JOIN accounts_membership m ON m.id = k.membership_id"
        " JOIN accounts_user u ON u.id = m.user_id WHERE u.email = %s"
    )
    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO billing_cap (wallet_id, kind, subject_id, period, limit_nano, created_at)"
            " SELECT k.organization_id, 'key', k.id, period, 1000000000000000, now()"
            f" FROM ({keys}) k, unnest(ARRAY['day', 'month', 'total']) AS period",
            [email],
        )
        connection.execute(
            f"UPDATE accounts_apikey SET has_caps = true WHERE id IN (SELECT k.id FROM ({keys}) k)", [email]
        )


def _start_nginx(folder: Path, stack: ExitStack) -> str:
    port = free_port()
    (folder / "body.json").write_text(json.dumps(ANSWER))
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, port=port))
    nginx = Process(
        ("nginx", "-e", str(folder / "nginx.err"), "-c", str(configuration)), folder / "nginx.log", dict(os.environ)
    )
    nginx.start()
    stack.callback(nginx.terminate)
    url = f"http://127.0.0.1:{port}/v1"
    wait_until(lambda: _answers(url + "/chat/completions"), what="nginx")
    return url


def _start_relay(folder: Path, stack: ExitStack, upstream_url: str) -> Target:
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "RELAY_UPSTREAM_URL": upstream_url + "/chat/completions"}
    process = Process((sys.executable, "-m", "bench.relay"), folder / "relay.log", environment, SERVER_CORE)
    process.start()
    stack.callback(process.kill)
    url = f"http://127.0.0.1:{port}{CHAT}"
    wait_until(lambda: _answers(url), what="the relay")
    return Target("bare relay", url, process.pid, "unused")


def _answers(url: str) -> bool:
    try:
        return httpx.post(url, json={"model": "ok"}).status_code == 200
    except httpx.HTTPError:
        return False


def _check(target: Target) -> None:
    """One real call: a wrong answer is quick too."""
    body = {"model": target.model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 150}
    answer = httpx.post(target.url, json=body, headers={"Authorization": f"Bearer {target.key}"}, timeout=30)
    if answer.status_code != 200:
        raise CannotMeasure(f"{target.name} answered {answer.status_code}: {answer.text[:300]}")
