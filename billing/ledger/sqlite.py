"""SQLite: a connection beside Django's, same file, same pragmas. It waits in place and never suspends."""

import asyncio
import sqlite3
from collections.abc import Sequence

from billing.errors import StoreBusy, StoreConflict, StoreRefused, StoreUnavailable
from billing.ledger.sql import Sql
from billing.ledger.store import Rows, Statement

CONFLICTS = {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}


class SqliteStore:
    """See `Store`. Used by one thread at a time."""

    is_blocking = True

    def __init__(self, path: str) -> None:
        self.sql = Sql(postgres=False)
        try:
            self._connection = sqlite3.connect(path, timeout=20, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA foreign_keys=ON")
        except sqlite3.Error as error:
            self._connection.close()
            raise StoreUnavailable(str(error)) from error
        self._opening = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """See `Store.attach`: there is nothing to wait for."""

    def begin(self, *, durable: bool) -> None:
        """See `Store.begin`."""
        self._opening = True

    async def run(self, statements: Sequence[Statement]) -> list[Rows]:
        """See `Store.run`."""
        try:
            if self._opening:
                self._connection.execute("BEGIN IMMEDIATE")
                self._opening = False
            return [self._connection.execute(query, params).fetchall() for query, params in statements]
        except (sqlite3.IntegrityError, sqlite3.DataError) as error:
            if getattr(error, "sqlite_errorcode", None) in CONFLICTS:
                raise StoreConflict(str(error)) from error
            raise StoreRefused(str(error)) from error
        except sqlite3.Error as error:
            if "locked" in str(error) or "busy" in str(error):
                raise StoreBusy(str(error)) from error
            raise StoreUnavailable(str(error)) from error

    async def lock_and_read(self, lock: Statement, reads: Sequence[Statement]) -> list[Rows]:
        """See `Store.lock_and_read`."""
        return await self.run([lock, *reads])

    async def commit_with(self, writes: Sequence[Statement]) -> None:
        """See `Store.commit_with`."""
        await self.run([*writes, ("COMMIT", ())])

    async def rollback(self) -> None:
        """See `Store.rollback`."""
        self._opening = False
        if self._connection.in_transaction:
            self._connection.rollback()

    def close(self) -> None:
        """See `Store.close`."""
        self._connection.close()
