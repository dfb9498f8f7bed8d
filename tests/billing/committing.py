"""A committer in an event loop, and stores between it and the database that a test can stop, break and count."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from billing.errors import StoreUnavailable
from billing.ledger.committer import Committer
from billing.ledger.items import Item, Movement
from billing.ledger.journal import Journal
from billing.ledger.store import Rows, Statement, Store
from tests.async_waiting import eventually
from tests.billing.ledger_database import Tenant, new_name

GATE_DEADLINE_S = 10


class Database:
    """Hands out stores; while `is_away` none can be opened and those that are open break."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self.is_away = False
        self.refused = 0  # so many connections could not be opened
        self.breaks_after_commit = 0  # so many commits happen, but nobody is told
        self.breaks_before_batch: int | None = None  # the batch of this number finds the connection broken
        self.batches: list[bool] = []  # whether each was durable
        self.gate = threading.Event()  # batches wait here while it is not set
        self.gate.set()
        self.is_waiting = threading.Event()

    def open_store(self) -> "Wrapped":
        """A new connection, as `billing.ledger.open_store` would."""
        if self.is_away:
            self.refused += 1
            raise StoreUnavailable("away")
        return Wrapped(self._open_store(), self)


class Wrapped:
    """A store of `Database`."""

    def __init__(self, store: Store, database: Database) -> None:
        self._store = store
        self._database = database
        self._begins = False
        self.sql, self.rollback, self.close, self.attach = store.sql, store.rollback, store.close, store.attach

    @property
    def is_blocking(self) -> bool:
        return self._store.is_blocking

    def begin(self, *, durable: bool) -> None:
        self._database.batches.append(durable)
        self._begins = True
        self._store.begin(durable=durable)

    async def lock_and_read(self, lock: Statement, reads: Sequence[Statement]) -> list[Rows]:
        database = self._database
        if self._begins:
            self._begins = False
            database.is_waiting.set()
            if self.is_blocking:
                assert database.gate.wait(GATE_DEADLINE_S)
            else:
                await eventually(database.gate.is_set, GATE_DEADLINE_S)
        if database.is_away or len(database.batches) == database.breaks_before_batch:
            raise StoreUnavailable("away")
        return await self._store.lock_and_read(lock, reads)

    async def commit_with(self, statements: Sequence[Statement]) -> None:
        await self._store.commit_with(statements)
        if self._database.breaks_after_commit:
            self._database.breaks_after_commit -= 1
            raise StoreUnavailable("nobody knows whether this was committed")


@asynccontextmanager
async def running(
    open_store: Callable[[], Store], folder: Path, name: str = "p-test", pause_s: float = 0.0
) -> AsyncIterator[Committer]:
    """A started committer, stopped at the end."""
    committer = Committer(open_store, Journal(folder, name), pause_s=pause_s)
    committer.start()
    try:
        yield committer
    finally:
        await committer.stop()


async def in_one_batch(committer: Committer, database: Database, items: Sequence[Item]) -> list:
    """Submit the items so that they meet in one batch; returns their outcomes or exceptions."""
    database.gate.clear()
    database.is_waiting.clear()
    committer.post(items[0])  # an item of its own that keeps the committer busy
    await eventually(database.is_waiting.is_set)
    futures = [committer.submit(item) for item in items[1:]]
    database.gate.set()
    return await asyncio.gather(*futures, return_exceptions=True)


def play(scenario: Callable[[Committer], Coroutine[Any, Any, None]], database: Database, folder: Path) -> None:
    """Run the scenario with a committer on this database."""

    async def main() -> None:
        async with running(database.open_store, folder) as committer:
            await scenario(committer)

    asyncio.run(main())


def topup(tenant: Tenant, amount: int = 1) -> Movement:
    """A top-up that did not happen before."""
    return Movement(new_name("topup"), "topup", tenant.wallet_id, amount)
