"""`python -m komilion.supervisor.prepare`: bring the database up to date; safe to run at every start.

Migrations, catalogue and demo tenant share one process because starting Django costs more than any of them.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import Error, connection

from komilion.supervisor.banner import DEMO_KEY_FILE

DEMO_EMAIL = "demo@komilion.local"
DEMO_CREDIT_USD = "5.00"
MIGRATION_LOCK = 0x6B6F6D69  # any number that nobody else in this database uses as an advisory lock


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Servers that share a PostgreSQL migrate one after the other; a SQLite file has one supervisor."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])


def ensure_demo_tenant(path: Path) -> None:
    """On the first start, a tenant with test credit, its key in `path` (0600); afterwards nothing."""
    if path.exists():
        return
    printed = io.StringIO()
    try:
        call_command("tenant", "create", DEMO_EMAIL, "--credit", DEMO_CREDIT_USD, "--print-key", stdout=printed)
    except CommandError as error:  # it exists: its key was removed on purpose, or belongs to another server
        sys.stdout.write(f"no demo tenant was created: {error}\n")
        return
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(printed.getvalue().split()[-1] + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def main() -> int:
    """The exit code; what went wrong is the last line on stderr."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "komilion.settings")
    try:
        django.setup()
        with one_at_a_time():
            call_command("migrate", interactive=False)
            call_command("catalog_seed")
            ensure_demo_tenant(settings.DATA_DIR / DEMO_KEY_FILE)
    except (CommandError, ImproperlyConfigured) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except Error as error:
        sys.stderr.write(f"The database cannot be used: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
