"""Reading a consistent picture of the database without standing in anybody's way."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def read_snapshot() -> Iterator[None]:
    """Every read inside sees one moment. On SQLite this takes no write lock, unlike `transaction.atomic` here."""
    start = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    if connection.vendor == "sqlite":
        start = "BEGIN DEFERRED"
    with connection.cursor() as cursor:
        cursor.execute(start)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
