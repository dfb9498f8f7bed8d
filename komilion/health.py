"""`/health*`: whether the process lives, and whether it can do its job. Answered without Django's middleware.

liveliness: the process answers. readiness: database, journal and (where a supervisor says so) start-up are in order.
Redis or the local models away, or jobs that no worker takes, is `degraded` with 200: requests are still served.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection

from komilion.common.http_client import HttpClient
from komilion.common.http_errors import HttpError
from routing.gateway.services import Services
from voice.monitoring import have_jobs_no_worker

CHECK_TIMEOUT_S = 2.0
NEEDED = frozenset({"database", "ledger", "startup"})  # without one of them nothing can be served


async def readiness(services: Services) -> tuple[int, dict[str, Any]]:
    """Status and body of `/health/readiness`."""
    database, jobs = await asyncio.to_thread(_database_and_jobs)
    checks = {
        "database": database,
        "ledger": "ok" if services.committer.is_accepting else "settlements wait in the journal",
        "redis": "degraded" if services.limiter.degraded else "ok",
        "local_models": await _local_models(services.client),
        "startup": _startup(),
        "jobs": jobs,
    }
    failed = {name for name, state in checks.items() if state != "ok"}
    if failed & NEEDED:
        return 503, {"status": "unavailable", "checks": checks}
    status = "degraded" if failed else "ok"
    return 200, {"status": status, "checks": checks, "catalog_version": services.catalog.version}


def _database_and_jobs() -> tuple[str, str]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return "ok", "no worker takes those that wait" if have_jobs_no_worker() else "ok"
    except DatabaseError:
        return "cannot be reached", "unknown"
    finally:
        connection.close()


async def _local_models(client: HttpClient) -> str:
    """The local model server is part of an installation that a supervisor runs, and only there."""
    if not os.environ.get("KOMILION_READY_FILE"):
        return "ok"
    url = settings.LOCAL_MODELS_URL.removesuffix("/v1") + "/health"
    try:
        response = await client.request("GET", url, {}, timeout_s=CHECK_TIMEOUT_S)
    except (HttpError, TimeoutError):
        return "cannot be reached"
    response.release()
    return "ok" if response.status == 200 else "loading"


def _startup() -> str:
    marker = os.environ.get("KOMILION_READY_FILE", "")
    return "ok" if not marker or Path(marker).exists() else "starting"
