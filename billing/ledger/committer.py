"""The committer: one thread per process with a database connection of its own, through which all money goes.

What arrives while a transaction runs goes into the next one, so the price of a commit is shared by everybody who
waits. Settlements survive anything: when the database is away they go to the journal, from where they are replayed
before new holds are admitted.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from billing.errors import StoreBusy, StoreUnavailable
from billing.ledger.batch import Batch, Deferred
from billing.ledger.items import Failure, Granted, Item, Movement, Outcome, Place, Settle, Void
from billing.ledger.journal import Journal
from billing.ledger.store import Store
from komilion.common.clock import monotonic_s
from komilion.common.errors import LedgerUnavailable
from komilion.common.failpoints import failpoint

log = logging.getLogger(__name__)

BATCH_ITEMS = 256
WAIT_FOR_LOCK_AGE_S = 5.0
MOST_DEFERRALS = 20
REPLAY_EVERY_S = 1.0


@dataclass(slots=True, eq=False)
class Ticket:
    """An item, who waits for it, and since when."""

    item: Item
    future: "asyncio.Future[Outcome] | None"
    since_s: float
    deferrals: int = 0


class Committer:
    """Takes items from one event loop and answers them there. `start` before use, `stop` after the last request."""

    def __init__(self, open_store: Callable[[], Store], journal: Journal, *, pause_s: float = 0.0) -> None:
        self._open_store = open_store
        self._journal = journal
        self._pause_s = pause_s
        self._store: Store | None = None
        self._queue: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._deferred: list[Ticket] = []
        self._journaled: dict[str, Ticket] = {}
        self._is_down = False
        self._stopping = False
        self._waiter = threading.Event()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    # called on the event loop

    def start(self) -> None:
        """Start the thread; outcomes are delivered to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Commit (or journal) what is queued, then end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    @property
    def is_accepting(self) -> bool:
        """Whether new holds are admitted: the database is there and no settlement waits in the journal."""
        return not self._is_down and not self._journal.waiting

    def submit(self, item: Item) -> "asyncio.Future[Outcome]":
        """Queue an item; the future gets its outcome once that is durable.

        A placing fails at once with `LedgerUnavailable` while nothing can be admitted. A settlement's future stays
        open while it waits in the journal: wait with a time limit.
        """
        assert self._loop is not None
        future: asyncio.Future[Outcome] = self._loop.create_future()
        if isinstance(item, Place) and not self.is_accepting:
            future.set_exception(LedgerUnavailable())
            return future
        self._queue.put(Ticket(item, future, monotonic_s()))
        return future

    def post(self, item: Item) -> None:
        """Queue an item whose outcome nobody waits for."""
        self._queue.put(Ticket(item, None, monotonic_s()))

    def _deliver(self, results: list[tuple[Ticket, Outcome | Exception]]) -> None:
        """On the loop: hand out outcomes. A hold whose waiter is gone is given back in the next batch."""
        for ticket, outcome in results:
            future = ticket.future
            if future is None:
                continue
            if not future.done():
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
            elif isinstance(ticket.item, Place) and isinstance(outcome, Granted):
                self.post(Void(ticket.item.request_id, ticket.item.wallet_id))

    # the thread

    def _run(self) -> None:
        while not (self._stopping and self._queue.empty() and not self._deferred):
            tickets = self._collect()
            try:
                if self._journal.waiting:
                    self._replay()
                elif self._is_down:
                    self._probe()
                if tickets:
                    self._commit(tickets)
            except Exception:  # the thread must outlive anything; what it held is refused or written down
                log.exception("the committer failed on a batch; its items are refused or journaled")
                self._away(tickets)
        if self._store is not None:
            self._store.close()
        self._journal.close()

    def _collect(self) -> list[Ticket]:
        """Everything that is there, oldest first; blocks until there is something or it is time to replay."""
        tickets, self._deferred = self._deferred, []
        block = not tickets
        while len(tickets) < BATCH_ITEMS:
            try:
                ticket = self._queue.get(block=block, timeout=REPLAY_EVERY_S if block else None)
            except queue.Empty:
                break
            block = False
            if ticket is None:
                self._stopping = True
                break
            tickets.append(ticket)
        return tickets

    def _commit(self, tickets: Sequence[Ticket]) -> None:
        """Commit a batch; on a broken connection once more on a new one, since the outcome is unknown."""
        must_wait = any(ticket.deferrals >= MOST_DEFERRALS for ticket in tickets)
        must_wait = must_wait or all(ticket.deferrals for ticket in tickets)  # nothing else to do meanwhile
        for is_retry in (False, True):
            try:
                self._transact(tickets, wait_for_locks=must_wait, is_retry=is_retry)
            except StoreUnavailable as error:
                log.warning("the database did not answer", extra={"error": str(error)})
                self._drop_store()
            else:
                return
        self._away(tickets)

    def _transact(self, tickets: Sequence[Ticket], *, wait_for_locks: bool, is_retry: bool) -> None:
        """One transaction; where an item breaks it, halves it until that item stands alone."""
        store = self._connect()
        failpoint("before-commit")
        try:
            items = [ticket.item for ticket in tickets]
            outcomes = Batch(store, items, wait_for_locks=wait_for_locks, is_retry=is_retry).run()
        except StoreUnavailable:
            raise
        except StoreBusy:
            self._defer(tickets)
            return
        except Exception as error:  # noqa: BLE001 - whatever the database objects to must stand alone
            if len(tickets) == 1:
                self._isolate(tickets[0], error)
                return
            half = len(tickets) // 2
            self._transact(tickets[:half], wait_for_locks=wait_for_locks, is_retry=is_retry)
            self._transact(tickets[half:], wait_for_locks=wait_for_locks, is_retry=is_retry)
            return
        failpoint("after-commit")
        results: list[tuple[Ticket, Outcome | Exception]] = []
        deferred = []
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            if isinstance(outcome, Deferred):
                deferred.append(ticket)
            else:
                results.append((ticket, outcome))
        self._answer(results)
        if deferred:
            self._defer(deferred)
        if self._pause_s:
            self._waiter.wait(self._pause_s)  # lets a second process have the write lock

    def _connect(self) -> Store:
        if self._store is None:
            self._store = self._open_store()
            self._is_down = False
        return self._store

    def _probe(self) -> None:
        try:
            self._connect()
        except StoreUnavailable:
            log.debug("the database is still away")

    def _drop_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _answer(self, results: list[tuple[Ticket, Outcome | Exception]]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, results)

    def _defer(self, tickets: Sequence[Ticket]) -> None:
        """To the front of the next batch; holds that waited too long are refused, settlements never are."""
        late = monotonic_s() - WAIT_FOR_LOCK_AGE_S
        refused = [t for t in tickets if t.since_s < late and not isinstance(t.item, Settle | Void)]
        self._answer([(ticket, LedgerUnavailable()) for ticket in refused])
        for ticket in tickets:
            if ticket not in refused:
                ticket.deferrals += 1
                self._deferred.append(ticket)

    def _isolate(self, ticket: Ticket, error: Exception) -> None:
        """An item the database refuses by itself: strangers in its batch are committed, it alone fails."""
        log.critical(
            "the ledger refused an item",
            extra={
                "item": type(ticket.item).__name__,
                "reference": _reference(ticket.item),
                "error": str(error),
            },
        )
        self._answer([(ticket, Failure(str(error)))])

    # the database is away

    def _away(self, tickets: Sequence[Ticket]) -> None:
        """Refuse what can be refused; write down what must not be lost, and what may have been reserved unseen."""
        self._is_down = True
        self._drop_store()
        kept = [ticket for ticket in tickets if isinstance(ticket.item, Settle | Void)]
        items = [ticket.item for ticket in kept]
        items += [Void(t.item.request_id, t.item.wallet_id) for t in tickets if isinstance(t.item, Place)]
        try:
            self._journal.append(items)  # type: ignore[arg-type]
        except OSError:
            log.critical("the journal cannot be written; settlements wait in memory", exc_info=True)
            self._deferred += kept
            self._waiter.wait(REPLAY_EVERY_S)
        else:
            self._journaled.update({_reference(ticket.item): ticket for ticket in kept})
        self._answer(
            [(t, LedgerUnavailable()) for t in tickets if not isinstance(t.item, Settle | Void)],
        )

    def _replay(self) -> None:
        """Commit what the journal holds, oldest first, then empty it; stays as it is while the database is away."""
        items = self._journal.read()
        try:
            for start in range(0, len(items), BATCH_ITEMS):
                part = items[start : start + BATCH_ITEMS]
                tickets = [self._journaled.get(item.request_id) or Ticket(item, None, monotonic_s()) for item in part]
                self._transact(tickets, wait_for_locks=True, is_retry=True)
        except StoreUnavailable:
            self._drop_store()
            return
        if self._deferred:
            return  # a wallet was locked; the journal keeps everything, and replaying twice changes nothing
        self._journal.clear()
        self._journaled.clear()
        log.warning("journal replayed", extra={"items": len(items)})


def _reference(item: Item) -> str:
    return item.reference if isinstance(item, Movement) else item.request_id


def commit_now(store: Store, items: Sequence[Item]) -> list[Outcome]:
    """Run items in one transaction on the caller's own connection, waiting for locks; for commands and jobs.

    Raises `StoreUnavailable` and `StoreBusy`; a wallet that does not exist is a `Failure`.
    """
    outcomes: list[Outcome] = []
    for outcome in Batch(store, items, wait_for_locks=True, is_retry=True).run():
        if isinstance(outcome, Deferred):
            raise StoreBusy("an item must wait for another one of the same batch")
        outcomes.append(outcome)
    return outcomes
