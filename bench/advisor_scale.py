"""Whether the advisor keeps its marks at 10,000 organizations and 10 million calls in 28 days (PostgreSQL).

`python -m bench.advisor_scale [--calls N] [--organizations N] [--go-on]` fills a server of its own, which takes longer
than what is measured, and then builds every day and makes every digest in a process of its own, at nice 19, as the
worker does. The exit code is 1 where a mark is missed: ten minutes, 500 MB. `--go-on`: afterwards days are built again
and again until it is interrupted, so that `make bench` can be run beside it.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import django
import psycopg
from django.core.management import call_command

from advisor.weeks import monday_of, week_of
from billing.partitions import ensure_partitions
from komilion.common.clock import utc_now
from tests.services.cluster import Cluster

MARK_S, MARK_MB = 600, 500
DAYS = 28
SETTINGS = (
    *("shared_buffers = '512MB'", "max_wal_size = '16GB'", "checkpoint_timeout = '30min'"),
    *("maintenance_work_mem = '512MB'", "fsync = off"),  # while it is filled
)
INDEXES = ("usage_by_organization", "usage_by_request")  # made anew when all rows are there
TASKS = ("writing", "math", "reasoning", "code-generation", "summarization", "translation", "tool-use", "other")
TENANTS = """
    INSERT INTO accounts_user (id, email, password, first_name, last_name, time_zone, is_active, is_staff, is_superuser,
        session_epoch, date_joined)
    SELECT n, 'person-' || n || '@example.com', '!', '', '', 'UTC', TRUE, FALSE, FALSE, 0, now()
      FROM generate_series(1, %(organizations)s) n;
    INSERT INTO accounts_organization (id, name, tier, limits, auth_epoch, created_at)
    SELECT n, 'organization ' || n, 'standard', '{}', 0, now() FROM generate_series(1, %(organizations)s) n;
    INSERT INTO accounts_membership (id, organization_id, user_id, role, created_at)
    SELECT n, n, n, 'owner', now() FROM generate_series(1, %(organizations)s) n;
    INSERT INTO accounts_apikey (id, organization_id, membership_id, name, key_hash, hint, models_allowed, limits,
        has_caps, can_manage, auth_epoch, created_at)
    SELECT n, 1 + n / 2, 1 + n / 2, 'key ' || n, int8send(n), 'ck_', NULL, '{}', FALSE, FALSE, 0, now()
      FROM generate_series(0, 2 * %(organizations)s - 1) n;
    CREATE TABLE receipts AS SELECT n AS id, jsonb_build_object('version', 1, 'market', '0123456789abcdef', 'weights',
        'w-1', 'ranked', jsonb_build_array(1, 2, 3), 'table', string_agg(md5(random()::text || m), ''), 'propensity',
        1.0) AS content FROM generate_series(0, 63) n, generate_series(1, 50) m GROUP BY n;
"""
# Few organizations have most of the calls; each has some models and task types. Six of ten calls name their model, of
# which one in ten was read; a receipt has 1.7 kB.
CALLS = """
    INSERT INTO billing_usagerow (created_at, request_id, client_request_id, organization_id, key_id, member_id,
        end_user, tags, app_url, app_title, endpoint, requested_model, model, provider, streamed, outcome,
        usage_source, usage, price_id, cost_nano, fee_nano, charge_nano, savings_nano, first_content_ms, duration_ms,
        detail)
    SELECT at, 'gen-' || to_char(at, 'YYYYMMDD') || lpad(n::text, 18, '0'), '', organization, 2 * (organization - 1)
        + n %% 2, 1, '', '[]', '', '', 'chat.completions', model, model, 'provider-' || n %% 2, n %% 3 = 0,
        CASE WHEN n %% 200 = 7 THEN 'provider_failed' ELSE 'completed' END, 'provider',
        jsonb_build_object('input', 200 + n %% 3000, 'cache_read', n %% 500, 'output', 1 + n %% 700), 1,
        1000 + n %% 5000, 250 + n %% 1250, 1250 + n %% 6250, 0, n %% 900, 1 + n %% 9000,
        jsonb_build_object('adjusted', '[]'::jsonb, 'finish_reason', 'stop', 'attempts', jsonb_build_array(
            jsonb_build_object('provider', 'provider-' || n %% 2, 'model', model, 'status', 200, 'ms', n %% 9000)))
        || CASE WHEN way < 0.54 THEN '{}'::jsonb ELSE jsonb_build_object('task_type', task, 'difficulty',
            round((n %% 300 - 150)::numeric / 100, 3)) END
        || CASE WHEN way < 0.6 THEN '{}'::jsonb ELSE jsonb_build_object('choice', content || jsonb_build_object(
            'policy', 'balanced', 'rule', CASE WHEN way < 0.7 THEN 'pinned' ELSE 'cheapest_above_floor' END)) END
      FROM (SELECT n, at, organization, way, (%(models)s::text[])[1 + (organization + n %% 3) %% %(used)s] AS model,
                   (%(tasks)s::text[])[1 + (organization * 5 + n %% 4) %% %(kinds)s] AS task
              FROM (SELECT n, %(start)s + n * %(step)s AS at, 1 + floor(%(organizations)s * power(random(), 2))::int
                           AS organization, random() AS way FROM generate_series(0, %(calls)s - 1) n OFFSET 0) g) s
      JOIN receipts ON id = n %% 64
"""
SUM_COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = 'billing_usagesum'"
SUMMED = {  # what of the sums by key and day is read; the rest is left 0
    **{name: name for name in ("organization_id", "key_id", "model", "provider", "outcome")},
    "grain_s": "86400",
    "starts_at": "date_trunc('day', created_at, 'UTC')",
    "requests": "COUNT(*)",
    "charge_nano": "SUM(charge_nano)",
}
MODELS = 12  # of those that are in use, dear and cheap ones
OFFERED = """
    SELECT DISTINCT model_id FROM routing_offer JOIN routing_model m ON m.id = model_id
     WHERE provider_id = 'openrouter' AND m.kind = 'chat' AND m.sunset_on IS NULL ORDER BY 1
"""
RUN = "import sys, django; django.setup(); from bench.advisor_measure import main; main(*sys.argv[1:])"


def fill(url: str, calls: int, organizations: int, today: date) -> None:
    """Tenants with keys, and their calls of the 28 days before `today`, evenly over each."""
    values: dict[str, Any] = {"organizations": organizations, "calls": calls // DAYS}
    with psycopg.connect(url, autocommit=True) as connection:
        offered = [row[0] for row in connection.execute(OFFERED)]
        models = [offered[number * len(offered) // MODELS] for number in range(MODELS)]
        values |= {"models": models, "used": MODELS, "tasks": list(TASKS), "kinds": len(TASKS)}
        for statement in TENANTS.split(";")[:-1]:
            connection.execute(statement, values)
        indexes = [
            row[0]
            for name in INDEXES
            for row in connection.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [name])
        ]
        for name in INDEXES:
            connection.execute(f"DROP INDEX {name}")
        for number in range(DAYS):
            start = datetime.combine(today - timedelta(days=DAYS - number), time(), UTC)
            step = timedelta(days=1) / (calls // DAYS)
            connection.execute(CALLS, {**values, "start": start, "step": step})
            say(f"day {number + 1} of {DAYS} filled")
        for definition in indexes:
            connection.execute(definition)
        columns = [row[0] for row in connection.execute(SUM_COLUMNS)]
        values_of = ", ".join(SUMMED.get(name, "0") for name in columns)
        connection.execute(
            f"INSERT INTO billing_usagesum ({', '.join(columns)}) SELECT {values_of} FROM billing_usagerow"
            " GROUP BY organization_id, date_trunc('day', created_at, 'UTC'), key_id, model, provider, outcome"
        )
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("ALTER SYSTEM SET fsync = on")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CHECKPOINT")


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.advisor_scale", description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--organizations", type=int, default=10_000)
    parser.add_argument("--go-on", action="store_true")
    asked = parser.parse_args()
    cluster = Cluster()
    try:
        found = _filled_and_measured(cluster, asked)
    finally:
        cluster.delete()
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    is_right = not found["differences_of_the_last_day"]
    return 0 if is_right and found["all_s"] <= MARK_S and found["peak_mb"] <= MARK_MB else 1


def _filled_and_measured(cluster: Cluster, asked: argparse.Namespace) -> dict[str, Any]:
    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        for setting in SETTINGS:
            connection.execute(f"ALTER SYSTEM SET {setting}")
    cluster.stop()
    cluster.start()
    today = monday_of(week_of(utc_now()))
    with tempfile.TemporaryDirectory(prefix="komilion-scale-") as folder:
        os.environ |= {
            "DATA_DIR": folder,
            "DATABASE_URL": cluster.url(),
            "DJANGO_SETTINGS_MODULE": "komilion.settings",
            "OPENROUTER_API_KEY": "sk-none",  # a provider that is on; nobody calls it
        }
        django.setup()
        call_command("migrate", verbosity=0)
        call_command("catalog_seed")
        ensure_partitions(today - timedelta(days=DAYS))
        begun = perf_counter()
        fill(cluster.url(), asked.calls, asked.organizations, today)
        say(f"filled in {perf_counter() - begun:.0f} s")
        command = [sys.executable, "-c", RUN, str(today)]
        root = Path(__file__).parents[1]
        told = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
        if asked.go_on:
            say(f"{told.stdout}\nbuilding days of {cluster.url()} until interrupted")
            with contextlib.suppress(KeyboardInterrupt):
                subprocess.run([*command, "again"], cwd=root, check=False)
        found: dict[str, Any] = json.loads(told.stdout)
        return found


def say(message: str) -> None:
    """A line for whoever waits."""
    sys.stderr.write(f"{message}\n")


if __name__ == "__main__":
    sys.exit(main())
