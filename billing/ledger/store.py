"""The ledger's own connection to the database, PostgreSQL or SQLite; the statements are `billing.ledger.sql`'s.

The statements of one step go out together (`run`), in one round trip on PostgreSQL.
"""

import select
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGresult

from billing.errors import StoreBusy, StoreRefused, StoreUnavailable
from billing.ledger.sql import Sql
from komilion.common.clock import monotonic_s

type Statement = tuple[str, tuple[str, ...]]
type Rows = list[tuple[Any, ...]]

POSTGRES_PATIENCE_S = 15.0  # longer than any limit the server itself keeps to
FAILED = {pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED, pq.ExecStatus.BAD_RESPONSE}
BUSY_STATES = {"55P03", "57014", "40P01", "40001"}  # lock not available, cancelled, deadlock, serialization
AWAY_CLASSES = ("08", "53", "57P", "58", "25P03", "25006")  # connection, resources, shutdown, system, idle, standby
READERS: dict[int, Callable[[bytes], Any]] = {
    16: lambda value: value == b"t",  # bool
    20: int,
    21: int,
    23: int,
    1700: int,  # numeric: sums of bigint
}

# Every statement of the ledger finds rows by a key. A plan that is made while a table is small, and kept, must not
# become a scan of millions of rows later: so this session never plans one.
POSTGRES_OPTIONS = (
    "-c timezone=UTC -c synchronous_commit=off -c lock_timeout=2s -c statement_timeout=10s"
    " -c idle_in_transaction_session_timeout=30s"
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off"
)


class Store(Protocol):
    """One database connection of the ledger's own."""

    def begin(self, *, durable: bool) -> None:
        """Start a transaction with the next `run`; `durable` waits for the disk at commit."""

    def run(self, statements: Sequence[Statement]) -> list[Rows]:
        """Execute in order, one round trip; one list of rows per statement."""

    def commit_with(self, statements: Sequence[Statement]) -> None:
        """The last statements and the commit."""

    def rollback(self) -> None:
        """Undo; never raises."""

    def close(self) -> None:
        """Give the connection back."""

    sql: Sql


class PostgresStore:
    """A connection driven through libpq's pipeline mode: the statements of one step share one round trip.

    psycopg's own pipeline costs 100 us of CPU for the same step, this 13 (docs/decisions/0003). Waiting is done in
    `poll`, because libpq's blocking calls would keep the interpreter's lock.
    """

    def __init__(self, conninfo: str) -> None:
        self.sql = Sql(postgres=True)
        try:
            self._connection = psycopg.connect(
                conninfo,
                autocommit=True,
                options=POSTGRES_OPTIONS,
                connect_timeout=3,
                tcp_user_timeout=5_000,
            )
        except psycopg.Error as error:
            raise StoreUnavailable(str(error)) from error
        self._libpq = self._connection.pgconn
        self._libpq.nonblocking = 1
        self._libpq.enter_pipeline_mode()
        self._poller = select.poll()
        self._poller.register(self._libpq.socket, select.POLLIN)
        self._prepared: dict[str, bytes] = {}
        self._opening: list[Statement] = []

    def begin(self, *, durable: bool) -> None:
        """See `Store.begin`."""
        self._opening = [("BEGIN", ())]
        if durable:
            self._opening.append(("SET LOCAL synchronous_commit = on", ()))

    def run(self, statements: Sequence[Statement]) -> list[Rows]:
        """See `Store.run`. Raises `StoreUnavailable`, `StoreBusy`, or `StoreRefused` for a bad item."""
        skipped = len(self._opening)
        statements = [*self._opening, *statements]
        self._opening = []
        try:
            return self._exchange(statements)[skipped:]
        except psycopg.Error as error:  # what libpq's wrapper raises is always about the connection
            raise StoreUnavailable(str(error)) from error

    def commit_with(self, statements: Sequence[Statement]) -> None:
        """See `Store.commit_with`."""
        self.run([*statements, ("COMMIT", ())])

    def rollback(self) -> None:
        """See `Store.rollback`."""
        if self._opening:  # nothing was sent yet
            self._opening = []
            return
        try:
            self._exchange([("ROLLBACK", ())])
        except (psycopg.Error, StoreUnavailable, StoreRefused):
            self.close()

    def close(self) -> None:
        """See `Store.close`."""
        self._connection.close()

    def _exchange(self, statements: Sequence[Statement]) -> list[Rows]:
        """Send all, then read all; one that fails takes those behind it along, up to the sync."""
        names = [self._prepared.get(query) or self._prepare(query) for query, _ in statements]
        for name, (_, params) in zip(names, statements, strict=True):
            self._libpq.send_query_prepared(name, [param.encode() for param in params])
        results = self._read_until_sync(len(statements))
        return [_rows(result) for result in results]

    def _prepare(self, query: str) -> bytes:
        name = b"komilion_%d" % len(self._prepared)
        self._libpq.send_prepare(name, query.encode())
        self._read_until_sync(1)
        self._prepared[query] = name
        return name

    def _read_until_sync(self, count: int) -> list[PGresult]:
        """`count` results; raises what the first failed one means, once the connection is in step again."""
        self._libpq.pipeline_sync()
        deadline_s = monotonic_s() + POSTGRES_PATIENCE_S
        while self._libpq.flush():
            self._wait(select.POLLIN | select.POLLOUT, deadline_s)
            self._libpq.consume_input()
        results = []
        for _ in range(count):
            results.append(self._next_result(deadline_s))
            self._next_result(deadline_s)  # libpq closes each statement's results with a null
        self._next_result(deadline_s)  # the sync itself
        for result in results:
            if result is not None and result.status in FAILED:
                raise _error_of(result)
        return [result for result in results if result is not None]

    def _next_result(self, deadline_s: float) -> PGresult | None:
        while self._libpq.is_busy():
            self._wait(select.POLLIN, deadline_s)
            self._libpq.consume_input()
        return self._libpq.get_result()

    def _wait(self, events: int, deadline_s: float) -> None:
        self._poller.modify(self._libpq.socket, events)
        if not self._poller.poll(max(0.0, deadline_s - monotonic_s()) * 1000):
            raise StoreUnavailable("PostgreSQL did not answer in time")


def _rows(result: PGresult) -> Rows:
    """The rows, with integers and truth values as such; nothing else but text is ever read here."""
    readers = [READERS.get(result.ftype(column), bytes.decode) for column in range(result.nfields)]
    return [
        tuple(
            None if (value := result.get_value(row, column)) is None else read(value)
            for column, read in enumerate(readers)
        )
        for row in range(result.ntuples)
    ]


def _error_of(result: PGresult) -> Exception:
    """By SQLSTATE: what passes, what is about the server, and what is the item's own fault."""
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    message = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace")
    if state in BUSY_STATES:
        return StoreBusy(f"{state} {message}")
    if state.startswith(AWAY_CLASSES):
        return StoreUnavailable(f"{state} {message}")
    return StoreRefused(f"{state} {message}")


class SqliteStore:
    """A sqlite3 connection beside Django's, same file, same pragmas."""

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

    def begin(self, *, durable: bool) -> None:
        """See `Store.begin`."""
        self._opening = True

    def run(self, statements: Sequence[Statement]) -> list[Rows]:
        """See `Store.run`."""
        try:
            if self._opening:
                self._connection.execute("BEGIN IMMEDIATE")
                self._opening = False
            return [self._connection.execute(query, params).fetchall() for query, params in statements]
        except (sqlite3.IntegrityError, sqlite3.DataError) as error:
            raise StoreRefused(str(error)) from error
        except sqlite3.Error as error:
            if "locked" in str(error) or "busy" in str(error):
                raise StoreBusy(str(error)) from error
            raise StoreUnavailable(str(error)) from error

    def commit_with(self, statements: Sequence[Statement]) -> None:
        """See `Store.commit_with`."""
        self.run([*statements, ("COMMIT", ())])

    def rollback(self) -> None:
        """See `Store.rollback`."""
        self._opening = False
        if self._connection.in_transaction:
            self._connection.rollback()

    def close(self) -> None:
        """See `Store.close`."""
        self._connection.close()
