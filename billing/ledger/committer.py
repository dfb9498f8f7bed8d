"""The committer: one thread per process with a database connection of its own, through which all money goes.

What arrives while a transaction runs goes into the next one, so the price of a commit is shared by everybody who
waits. Settlements survive anything: when the database is away they go to the journal, from where they are replayed
before new holds are admitted.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.conf import settings

from billing.errors import StoreBusy, StoreUnavailable
from billing.ledger.batch import Batch, Deferred
from billing.ledger.items import Failure, Granted, Item, Movement, Outcome, Pending, Place, Settle, Void
from billing.ledger.journal import UNWRITABLE, Journal, encode
from billing.ledger.store import Store
from komilion.common.clock import monotonic_s
from komilion.common.errors import LedgerUnavailable
from komilion.common.failpoints import any_armed, failpoint

log = logging.getLogger(__name__)

BATCH_ITEMS = 256
WAIT_FOR_LOCK_AGE_S = 5.0
MOST_DEFERRALS = 20
REPLAY_EVERY_S = 1.0
SWEEP_EVERY_S = 0.25


@dataclass(slots=True, eq=False)
class Ticket:
    """An item, who waits for it, and since when."""

    item: Item
    future: "asyncio.Future[Outcome] | None"
    since_s: float
    deferrals: int = 0
    may_have_happened: bool = False  # it was in a commit whose outcome is unknown
    is_answered: bool = False


class Committer:
    """Takes items from one event loop and answers them there. `start` before use, `stop` after the last request."""

    def __init__(self, open_store: Callable[[], Store], journal: Journal, *, pause_s: float = 0.0) -> None:
        self._open_store = open_store
        self._journal = journal
        self._pause_s = pause_s
        self._store: Store | None = None
        self._queue: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._deferred: list[Ticket] = []
        self._journaled: dict[tuple[str, str], Ticket] = {}
        self._is_down = False
        self._stopping = False
        self._waiter = threading.Event()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsettled: deque[Ticket] = deque()

    # called on the event loop

    def start(self) -> None:
        """Start the thread; outcomes are delivered to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        self._sweep()

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

        A placing fails at once with `LedgerUnavailable` while nothing can be admitted. A settlement that takes longer
        than `SETTLEMENT_WAIT_S` is `Pending`: nobody has to wait for it any more, and it is not lost.
        """
        assert self._loop is not None
        future: asyncio.Future[Outcome] = self._loop.create_future()
        if isinstance(item, Place) and not self.is_accepting:
            future.set_exception(LedgerUnavailable())
            return future
        ticket = Ticket(item, future, monotonic_s())
        if isinstance(item, Settle):
            self._unsettled.append(ticket)
        self._queue.put(ticket)
        return future

    def post(self, item: Item) -> None:
        """Queue an item whose outcome nobody waits for."""
        self._queue.put(Ticket(item, None, monotonic_s()))

    def _sweep(self) -> None:
        """Let go of those who wait too long for their settlement; one timer for all is cheaper than one each."""
        assert self._loop is not None
        late = monotonic_s() - settings.SETTLEMENT_WAIT_S
        while self._unsettled:
            future = self._unsettled[0].future
            assert future is not None
            if not future.done():
                if self._unsettled[0].since_s > late:
                    break
                future.set_result(Pending())
            self._unsettled.popleft()
        self._loop.call_later(SWEEP_EVERY_S, self._sweep)

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
                if self._is_down:
                    self._away(tickets)
                else:
                    self._commit(tickets)
            except Exception:  # the thread must outlive anything; what it held is refused or written down
                log.exception("the committer failed on a batch; its items are refused or journaled")
                for ticket in tickets:
                    ticket.may_have_happened = True
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
        """Commit a batch. What was passed over often waits for its lock, by wallet, so that no stranger waits too."""
        fresh = [ticket for ticket in tickets if ticket.deferrals < MOST_DEFERRALS]
        passed_over: dict[int, list[Ticket]] = {}
        for ticket in tickets:
            if ticket.deferrals >= MOST_DEFERRALS:
                passed_over.setdefault(ticket.item.wallet_id, []).append(ticket)
        if fresh:
            nothing_else_to_do = all(ticket.deferrals for ticket in fresh)
            self._commit_surely(fresh, wait_for_locks=nothing_else_to_do)
        for group in passed_over.values():
            self._commit_surely(group, wait_for_locks=True)

    def _commit_surely(self, tickets: Sequence[Ticket], *, wait_for_locks: bool) -> None:
        """Commit; on a broken connection once more on a new one what has no answer yet: its outcome is unknown."""
        for _ in range(2):
            try:
                self._transact(self._open(tickets), wait_for_locks=wait_for_locks)
            except StoreUnavailable as error:
                log.warning("the database did not answer", extra={"error": str(error)})
                self._drop_store()
                for ticket in tickets:
                    ticket.may_have_happened = True
            else:
                return
        self._away(tickets)

    def _open(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Those that were neither answered nor deferred when their batch broke off half-way."""
        return [ticket for ticket in tickets if not ticket.is_answered and ticket not in self._deferred]

    def _transact(self, tickets: Sequence[Ticket], *, wait_for_locks: bool) -> None:
        """One transaction; where an item breaks it, halves it until that item stands alone."""
        store = self._connect()
        is_retry = any(ticket.may_have_happened for ticket in tickets)
        _pass_failpoints("before", tickets)
        try:
            items = [ticket.item for ticket in tickets]
            outcomes = Batch(store, items, wait_for_locks=wait_for_locks, is_retry=is_retry).run()
        except StoreUnavailable:
            raise
        except StoreBusy:
            for ticket in tickets:
                ticket.deferrals = MOST_DEFERRALS  # from now on each wallet waits for its own lock
            self._defer(tickets)
            return
        except Exception as error:  # noqa: BLE001 - whatever the database objects to must stand alone
            if len(tickets) == 1:
                self._isolate(tickets[0], error)
                return
            half = len(tickets) // 2
            self._transact(tickets[:half], wait_for_locks=wait_for_locks)
            self._transact(tickets[half:], wait_for_locks=wait_for_locks)
            return
        _pass_failpoints("after", tickets)
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
        for ticket, _ in results:
            ticket.is_answered = True
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
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
        if isinstance(ticket.item, Settle):
            with contextlib.suppress(OSError, *UNWRITABLE):
                self._journal.set_aside(ticket.item)
        self._answer([(ticket, Failure(str(error)))])

    # the database is away

    def _away(self, tickets: Sequence[Ticket]) -> None:
        """Refuse what can be refused; write down what must not be lost, and what may have been reserved unseen."""
        self._is_down = True
        self._drop_store()
        tickets = self._open(tickets)
        kept = [ticket for ticket in tickets if isinstance(ticket.item, Settle | Void) and self._is_writable(ticket)]
        items = [ticket.item for ticket in kept]
        items += [
            Void(ticket.item.request_id, ticket.item.wallet_id)
            for ticket in tickets
            if isinstance(ticket.item, Place) and ticket.may_have_happened
        ]
        try:
            self._journal.append(items)  # type: ignore[arg-type]
        except OSError:
            log.critical("the journal cannot be written; settlements wait in memory", exc_info=True)
            self._deferred += kept
            self._waiter.wait(REPLAY_EVERY_S)
        else:
            for ticket in kept:
                ticket.may_have_happened = True
                self._journaled[_journal_key(ticket.item)] = ticket
        self._answer(
            [(t, LedgerUnavailable()) for t in tickets if not isinstance(t.item, Settle | Void)],
        )

    def _is_writable(self, ticket: Ticket) -> bool:
        """Whether the journal can hold the item; one that it cannot must not keep the others out of it."""
        try:
            encode(ticket.item)
        except UNWRITABLE as error:
            self._isolate(ticket, error)
            return False
        return True

    def _replay(self) -> None:
        """Commit what the journal holds, oldest first, then empty it; stays as it is while the database is away."""
        items = self._journal.read()
        waiting = [self._journaled.get(_journal_key(item)) or _again(item) for item in items]
        try:
            while waiting:
                part, waiting = waiting[:BATCH_ITEMS], waiting[BATCH_ITEMS:]
                self._transact(part, wait_for_locks=True)
                later, self._deferred = self._deferred, []
                if len(later) == len(part):
                    return  # a wallet is locked; the journal keeps everything, and replaying twice changes nothing
                waiting = later + waiting
        except StoreUnavailable:
            self._is_down = True
            self._deferred = []
            self._drop_store()
            return
        self._journal.clear()
        self._journaled.clear()
        log.warning("journal replayed", extra={"items": len(items)})


def _pass_failpoints(when: str, tickets: Sequence[Ticket]) -> None:
    """`before-commit` or `after-commit`, and the same for batches with a hold or a settlement in them."""
    if not any_armed():
        return
    failpoint(f"{when}-commit")
    if any(isinstance(ticket.item, Place) for ticket in tickets):
        failpoint(f"{when}-hold-commit")
    if any(isinstance(ticket.item, Settle) for ticket in tickets):
        failpoint(f"{when}-settle-commit")


def _reference(item: Item) -> str:
    return item.reference if isinstance(item, Movement) else item.request_id


def _journal_key(item: Item) -> tuple[str, str]:
    return type(item).__name__, _reference(item)


def _again(item: Item) -> Ticket:
    return Ticket(item, None, monotonic_s(), may_have_happened=True)


def commit_now(store: Store, items: Sequence[Item]) -> list[Outcome]:
    """Run items on the caller's own connection, waiting for locks, in as few transactions as they allow.

    For commands and jobs. Raises `StoreUnavailable` and `StoreBusy`; an item that the database refuses, or whose
    wallet does not exist, is a `Failure` and takes no other item with it.
    """
    outcomes: dict[int, Outcome] = {}
    parts = [list(range(len(items)))] if items else []
    while parts:
        part = parts.pop(0)
        try:
            answers = Batch(store, [items[index] for index in part], wait_for_locks=True, is_retry=True).run()
        except (StoreUnavailable, StoreBusy):
            raise
        except Exception as error:  # noqa: BLE001 - whatever the database objects to must stand alone
            if len(part) == 1:
                outcomes[part[0]] = Failure(str(error))
            else:
                half = len(part) // 2
                parts = [part[:half], part[half:], *parts]
            continue
        answered = list(zip(part, answers, strict=True))
        outcomes.update({index: answer for index, answer in answered if not isinstance(answer, Deferred)})
        if later := [index for index, answer in answered if isinstance(answer, Deferred)]:
            parts = [later, *parts]
    return [outcomes[index] for index in range(len(items))]
