"""PostgreSQL, driven through libpq's pipeline mode: the statements of one step share one round trip.

psycopg's own pipeline costs 100 us of CPU for the same step, this 13 (docs/decisions/0003). Waiting is done by the
event loop or in `poll`, because libpq's blocking calls would keep the interpreter's lock.
"""

import asyncio
import select
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import psycopg
from psycopg import pq
from psycopg.pq.abc import PGresult

from billing.errors import StoreBusy, StoreConflict, StoreRefused, StoreUnavailable
from billing.ledger.sql import Sql
from billing.ledger.store import Rows, Statement

PATIENCE_S = 15.0  # longer than any limit the server itself keeps to
FAILED = {pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED, pq.ExecStatus.BAD_RESPONSE}
BUSY_STATES = {"55P03", "57014", "40P01", "40001"}  # lock not available, cancelled, deadlock, serialization
AWAY_CLASSES = ("08", "53", "57P", "58", "25P03", "25006")  # connection, resources, shutdown, system, idle, standby
UNIQUE_VIOLATION = "23505"
READERS: dict[int, Callable[[bytes], Any]] = {
    16: lambda value: value == b"t",  # bool
    20: int,
    21: int,
    23: int,
    1700: int,  # numeric: sums of bigint
}

# Every statement of the ledger finds rows by a key. A plan that is made while a table is small, and kept, must not
# become a scan of millions of rows later: so this session never plans one.
OPTIONS = (
    "-c timezone=UTC -c synchronous_commit=off -c lock_timeout=2s -c statement_timeout=10s"
    " -c idle_in_transaction_session_timeout=30s"
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off"
)


class PostgresStore:
    """See `Store`. Blocking until it is attached to an event loop."""

    def __init__(self, conninfo: str) -> None:
        """Connect. Raises `StoreUnavailable`."""
        self.sql = Sql(postgres=True)
        try:
            self._connection = psycopg.connect(
                conninfo,
                autocommit=True,
                options=OPTIONS,
                connect_timeout=3,
                tcp_user_timeout=5_000,
            )
        except psycopg.Error as error:
            raise StoreUnavailable(str(error)) from error
        self._libpq = self._connection.pgconn
        self._libpq.nonblocking = 1
        self._libpq.enter_pipeline_mode()
        self._socket = self._libpq.socket
        self._prepared: dict[str, bytes] = {}
        self._frames: dict[tuple[str, tuple[str, ...]], str] = {}  # statements that were joined, by frame and parts
        self._opening: list[Statement] = []
        self._in_step = True  # no exchange broke off half-way
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_blocking(self) -> bool:
        """See `Store.is_blocking`."""
        return self._loop is None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """See `Store.attach`."""
        self._loop = loop
        loop.add_reader(self._socket, self._wake)

    def begin(self, *, durable: bool) -> None:
        """See `Store.begin`."""
        self._opening = [("BEGIN", ())]
        if durable:
            self._opening.append(("SET LOCAL synchronous_commit = on", ()))

    async def run(self, statements: Sequence[Statement]) -> list[Rows]:
        """See `Store.run`. Raises `StoreUnavailable`, `StoreBusy`, or `StoreRefused` for a bad item."""
        skipped = len(self._opening)
        statements = [*self._opening, *statements]
        self._opening = []
        for query, _ in statements:
            if query not in self._prepared:
                await self._prepare(query)
        results = await self._exchange(statements)
        return [_rows(result) for result in results[skipped:]]

    async def lock_and_read(self, lock: Statement, reads: Sequence[Statement]) -> list[Rows]:
        """See `Store.lock_and_read`. The reads are one statement with a JSON cell for each."""
        cells = [f"(SELECT json_agg(row_to_json(t{at})) FROM (%s) AS t{at})" for at in range(len(reads))]
        locked, (read,) = await self.run([lock, self._joined("SELECT " + ", ".join(cells), reads)])
        rows = [orjson.loads(cell) if cell is not None else [] for cell in read]
        return [locked, *([tuple(row.values()) for row in one] for one in rows)]

    async def commit_with(self, writes: Sequence[Statement]) -> None:
        """See `Store.commit_with`. The writes are one statement, all but the last as common table expressions."""
        if writes:
            others = ", ".join(f"w{at} AS (%s)" for at in range(len(writes) - 1))
            frame = f"WITH {others} %s" if others else "%s"
            writes = [self._joined(frame, writes)]
        await self.run([*writes, ("COMMIT", ())])

    def _joined(self, frame: str, statements: Sequence[Statement]) -> Statement:
        """One statement of several with a parameter each: to begin one costs the server more than to carry it out."""
        queries = tuple(query for query, _ in statements)
        joined = self._frames.get((frame, queries))
        if joined is None:
            numbered = (query.replace("$1", f"${number}") for number, query in enumerate(queries, start=1))
            joined = self._frames[frame, queries] = frame % tuple(numbered)
        return joined, tuple(param for _, (param,) in statements)

    async def rollback(self) -> None:
        """See `Store.rollback`. What broke off half-way is undone by the server once the connection is gone."""
        if self._opening:  # nothing was sent yet
            self._opening = []
        elif not self._in_step:
            self.close()
        else:
            try:
                await self.run([("ROLLBACK", ())])
            except (StoreUnavailable, StoreBusy, StoreRefused):
                self.close()

    def close(self) -> None:
        """See `Store.close`."""
        self._in_step = False
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._connection.close()

    async def _prepare(self, query: str) -> None:
        name = b"komilion_%d" % len(self._prepared)
        await self._sent(lambda: self._libpq.send_prepare(name, query.encode()), 1)
        self._prepared[query] = name

    async def _exchange(self, statements: Sequence[Statement]) -> list[PGresult]:
        """Send all, then read all; one that fails takes those behind it along, up to the sync."""

        def send() -> None:
            for query, params in statements:
                self._libpq.send_query_prepared(self._prepared[query], [param.encode() for param in params])

        return await self._sent(send, len(statements))

    async def _sent(self, send: Callable[[], None], count: int) -> list[PGresult]:
        """The results of what `send` sends; raises what the first failed one means, with the connection in step."""
        if not self._in_step:
            raise StoreUnavailable("the connection is closed")
        self._in_step = False
        timer = self._loop.call_later(PATIENCE_S, self._give_up) if self._loop is not None else None
        try:
            send()
            self._libpq.pipeline_sync()
            while self._libpq.flush():
                await self._wait(to_write=True)
            results = []
            for _ in range(count):
                results.append(await self._next_result())
                await self._next_result()  # libpq closes each statement's results with a null
            await self._next_result()  # the sync itself
        except psycopg.Error as error:  # what libpq's wrapper raises is always about the connection
            raise StoreUnavailable(str(error)) from error
        finally:
            if timer is not None:
                timer.cancel()
        self._in_step = True
        for result in results:
            if result is not None and result.status in FAILED:
                raise _error_of(result)
        return [result for result in results if result is not None]

    async def _next_result(self) -> PGresult | None:
        while self._libpq.is_busy():
            await self._wait()
        return self._libpq.get_result()

    # waiting

    async def _wait(self, *, to_write: bool = False) -> None:
        """Until something can be read (or written), then take in what came."""
        if self._loop is None:
            poller = select.poll()
            poller.register(self._socket, select.POLLIN | (select.POLLOUT if to_write else 0))
            if not poller.poll(PATIENCE_S * 1000):
                raise StoreUnavailable("PostgreSQL did not answer in time")
            self._libpq.consume_input()
            return
        self._waiter = self._loop.create_future()
        if to_write:
            self._loop.add_writer(self._socket, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if to_write:
                self._loop.remove_writer(self._socket)

    def _wake(self) -> None:
        """The socket is ready. What comes unasked is taken in too, or the loop would spin; its end is the end."""
        try:
            self._libpq.consume_input()
        except psycopg.Error as error:
            self.close()
            self._fail(StoreUnavailable(str(error)))
        else:
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    def _give_up(self) -> None:
        self._fail(StoreUnavailable("PostgreSQL did not answer in time"))

    def _fail(self, error: StoreUnavailable) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


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
    if state == UNIQUE_VIOLATION:
        return StoreConflict(f"{state} {message}")
    if state in BUSY_STATES:
        return StoreBusy(f"{state} {message}")
    if state.startswith(AWAY_CLASSES):
        return StoreUnavailable(f"{state} {message}")
    return StoreRefused(f"{state} {message}")
