"""Opens the ledger's own connection to whatever database Django is configured with."""

from django.db import connections
from psycopg.conninfo import make_conninfo

from billing.ledger.postgres import PostgresStore
from billing.ledger.sqlite import SqliteStore
from billing.ledger.store import Store


def open_store() -> Store:
    """A new connection. Raises `StoreUnavailable`."""
    database = connections["default"]
    parameters = database.settings_dict
    if database.vendor == "sqlite":
        return SqliteStore(str(parameters["NAME"]))
    return PostgresStore(
        make_conninfo(
            host=parameters["HOST"] or None,
            port=parameters["PORT"] or None,
            user=parameters["USER"] or None,
            password=parameters["PASSWORD"] or None,
            dbname=parameters["NAME"],
            **parameters["OPTIONS"],
        )
    )
