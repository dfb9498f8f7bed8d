"""What the ledger asks of a database connection of its own; the statements are `billing.ledger.sql`'s.

Its methods are coroutines, and there are two ways to run them. In an event loop, on a connection that can wait there
(PostgreSQL's, once attached). Anywhere else by `run_blocking`: then the connection waits in place and the coroutine
never suspends. So there is one implementation of every rule for the server, for commands and for SQLite.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from billing.ledger.sql import Sql

type Statement = tuple[str, tuple[str, ...]]
type Rows = list[tuple[Any, ...]]


class Store(Protocol):
    """One database connection of the ledger's own. What its methods raise is in `billing.errors`."""

    sql: Sql

    @property
    def is_blocking(self) -> bool:
        """Whether its methods wait in place: then they must be run by `run_blocking`, in a thread if a loop runs."""

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait in this event loop from now on, where that is possible."""

    def begin(self, *, durable: bool) -> None:
        """Start a transaction with the next `run`; `durable` waits for the disk at commit."""

    async def run(self, statements: Sequence[Statement]) -> list[Rows]:
        """Execute in order, one round trip; one list of rows per statement."""

    async def lock_and_read(self, lock: Statement, reads: Sequence[Statement]) -> list[Rows]:
        """Lock rows, then read (at least once) what is there under the lock; one round trip. Columns have names."""

    async def commit_with(self, writes: Sequence[Statement]) -> None:
        """The last statements and the commit, one round trip. No two may touch the same row: their order is open."""

    async def rollback(self) -> None:
        """Undo; never raises."""

    def close(self) -> None:
        """Give the connection back."""


def run_blocking[T](coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("the connection is attached to an event loop")
