"""The committer: one task per process with a database connection of its own, through which all money goes.

What arrives while a transaction runs goes into the next one, so the price of a commit is shared by everybody who
waits. Settlements survive anything: when the database is away they go to the journal, from where they are replayed
before new holds are admitted. Whatever blocks (SQLite, connecting, the journal's disk) is done in a thread that does
nothing else.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
from django.conf import settings

from billing.errors import StoreBusy, StoreConflict, StoreUnavailable
from billing.ledger.batch import Batch, Deferred
from billing.ledger.items import Failure, Granted, Item, Movement, Outcome, Pending, Place, Settle, Void, voiding_of
from billing.ledger.journal import UNWRITABLE, Journal, encode
from billing.ledger.store import Store, run_blocking
from komilion.common.clock import monotonic_s
from komilion.common.errors import LedgerUnavailable
from komilion.common.failpoints import any_armed, failpoint

log = logging.getLogger(__name__)

BATCH_ITEMS = 256
WAIT_FOR_LOCK_AGE_S = 5.0
MOST_DEFERRALS = 20
REPLAY_EVERY_S = 1.0
SWEEP_EVERY_S = 0.25


class Ticket(msgspec.Struct, eq=False):
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
        self._queue: deque[Ticket] = deque()
        self._taken: list[Ticket] = []  # the batch at hand
        self._deferred: list[Ticket] = []
        self._journaled: dict[tuple[str, str], Ticket] = {}
        self._is_down = False
        self._is_stopping = False
        self._call: asyncio.Future[None] | None = None  # what the task waits for while it has nothing to do
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._task: asyncio.Task[None] | None = None
        self._unsettled: deque[Ticket] = deque()

    def start(self) -> None:
        """Start the task in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="committer")
        self._sweep()

    async def stop(self) -> None:
        """Commit (or journal) what is queued, then end."""
        assert self._task is not None, "stopped without a start"
        self._is_stopping = True
        self._wake()
        await self._task
        self._thread.shutdown(wait=False)

    @property
    def is_accepting(self) -> bool:
        """Whether new holds are admitted: the database is there and no settlement waits in the journal."""
        return not self._is_down and not self._journal.waiting

    def submit(self, item: Item) -> "asyncio.Future[Outcome]":
        """Queue an item; the future gets its outcome once that is durable.

        A placing fails at once with `LedgerUnavailable` while nothing can be admitted. A settlement that takes longer
        than `SETTLEMENT_WAIT_S` is `Pending`: nobody has to wait for it any more, and it is not lost.
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()
        if isinstance(item, Place) and not self.is_accepting:
            future.set_exception(LedgerUnavailable())
            return future
        ticket = Ticket(item, future, monotonic_s())
        if isinstance(item, Settle):
            self._unsettled.append(ticket)
        self._queue.append(ticket)
        self._wake()
        return future

    def post(self, item: Item) -> None:
        """Queue an item whose outcome nobody waits for."""
        self._queue.append(Ticket(item, None, monotonic_s()))
        self._wake()

    def _wake(self) -> None:
        if self._call is not None and not self._call.done():
            self._call.set_result(None)

    def _sweep(self) -> None:
        """Let go of those who wait too long for their settlement; one timer for all is cheaper than one each."""
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

    # the task

    async def _run(self) -> None:
        try:
            while not (self._is_stopping and not self._queue and not self._deferred):
                await self._collect()
                await self._step(self._taken)
        except asyncio.CancelledError:  # the loop ends without `stop`
            for ticket in self._taken:
                ticket.may_have_happened = True
            left = dict.fromkeys([*self._taken, *self._deferred, *self._queue])
            self._deferred = []
            self._write_down(self._begin_outage([*left]))
            raise
        finally:
            self._drop_store()
            self._journal.close()

    async def _step(self, tickets: list[Ticket]) -> None:
        """Commit what was collected, or write it down."""
        try:
            if self._journal.waiting:
                await self._replay()
            elif self._is_down:
                await self._probe()
            if self._is_down:
                await self._away(tickets)
            else:
                await self._commit(tickets)
        except Exception:  # the task must outlive anything; what it held is refused or written down
            log.exception("the committer failed on a batch; its items are refused or journaled")
            for ticket in tickets:
                ticket.may_have_happened = True
            await self._away(tickets)

    async def _collect(self) -> None:
        """Take everything that is there, oldest first; waits until there is something or it is time to replay."""
        self._taken = []
        if not self._queue and not self._deferred and not self._is_stopping:
            self._call = self._loop.create_future()
            timer = self._loop.call_later(REPLAY_EVERY_S, self._wake)
            await self._call
            timer.cancel()
        self._taken, self._deferred = self._deferred, []
        while self._queue and len(self._taken) < BATCH_ITEMS:
            self._taken.append(self._queue.popleft())

    async def _in_thread[T](self, function: Callable[..., T], *arguments: object) -> T:
        return await self._loop.run_in_executor(self._thread, function, *arguments)

    async def _commit(self, tickets: Sequence[Ticket]) -> None:
        """Commit a batch. What was passed over often waits for its lock, by wallet, so that no stranger waits too."""
        fresh = [ticket for ticket in tickets if ticket.deferrals < MOST_DEFERRALS]
        passed_over: dict[int, list[Ticket]] = {}
        for ticket in tickets:
            if ticket.deferrals >= MOST_DEFERRALS:
                passed_over.setdefault(ticket.item.wallet_id, []).append(ticket)
        if fresh:
            nothing_else_to_do = all(ticket.deferrals for ticket in fresh)
            await self._commit_surely(fresh, wait_for_locks=nothing_else_to_do)
        for group in passed_over.values():
            await self._commit_surely(group, wait_for_locks=True)

    async def _commit_surely(self, tickets: Sequence[Ticket], *, wait_for_locks: bool) -> None:
        """Commit; on a broken connection once more on a new one what has no answer yet: its outcome is unknown."""
        for _ in range(2):
            try:
                await self._transact(self._open(tickets), wait_for_locks=wait_for_locks)
            except StoreUnavailable as error:
                log.warning("the database did not answer", extra={"error": str(error)})
                self._drop_store()
                for ticket in tickets:
                    ticket.may_have_happened = True
            else:
                return
        await self._away(tickets)

    def _open(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Those that were neither answered nor deferred when their batch broke off half-way."""
        deferred = set(map(id, self._deferred))
        return [ticket for ticket in tickets if not ticket.is_answered and id(ticket) not in deferred]

    async def _transact(self, tickets: Sequence[Ticket], *, wait_for_locks: bool) -> None:
        """One transaction; where an item breaks it, halves it until that item stands alone."""
        store = await self._connect()
        is_retry = any(ticket.may_have_happened for ticket in tickets)
        _pass_failpoints("before", tickets)
        try:
            batch = Batch(store, [ticket.item for ticket in tickets], wait_for_locks=wait_for_locks, is_retry=is_retry)
            run = batch.run()
            outcomes = await (self._in_thread(run_blocking, run) if store.is_blocking else run)
        except StoreUnavailable:
            raise
        except StoreBusy:
            for ticket in tickets:
                ticket.deferrals = MOST_DEFERRALS  # from now on each wallet waits for its own lock
            self._defer(tickets)
        except Exception as error:  # noqa: BLE001 - whatever the database objects to must stand alone
            if isinstance(error, StoreConflict) and not is_retry:
                for ticket in tickets:
                    ticket.may_have_happened = True
                await self._transact(tickets, wait_for_locks=wait_for_locks)
            elif len(tickets) == 1:
                self._isolate(tickets[0], error)
            else:
                half = len(tickets) // 2
                await self._transact(tickets[:half], wait_for_locks=wait_for_locks)
                await self._transact(tickets[half:], wait_for_locks=wait_for_locks)
        else:
            _pass_failpoints("after", tickets)
            self._hand_out(tickets, outcomes)
            if self._pause_s:
                await asyncio.sleep(self._pause_s)  # lets a second process have the write lock

    def _hand_out(self, tickets: Sequence[Ticket], outcomes: Sequence[Outcome | Deferred]) -> None:
        """Answer what was done; what was passed over comes again."""
        deferred = []
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            if isinstance(outcome, Deferred):
                deferred.append(ticket)
            else:
                self._answer(ticket, outcome)
        if deferred:
            self._defer(deferred)

    async def _connect(self) -> Store:
        if self._store is None:
            self._store = await self._in_thread(self._open_store)
            self._store.attach(self._loop)
            self._is_down = False
        return self._store

    async def _probe(self) -> None:
        try:
            await self._connect()
        except StoreUnavailable:
            log.debug("the database is still away")

    def _drop_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _answer(self, ticket: Ticket, outcome: Outcome | Exception) -> None:
        """Hand out an outcome. A hold whose waiter is gone is given back in the next batch."""
        ticket.is_answered = True
        future = ticket.future
        if future is None:
            return
        if not future.done():
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        elif isinstance(ticket.item, Place) and isinstance(outcome, Granted):
            self.post(voiding_of(ticket.item))

    def _defer(self, tickets: Sequence[Ticket]) -> None:
        """To the front of the next batch; holds that waited too long are refused, settlements never are."""
        late = monotonic_s() - WAIT_FOR_LOCK_AGE_S
        refused = [t for t in tickets if t.since_s < late and not isinstance(t.item, Settle | Void)]
        for ticket in refused:
            self._answer(ticket, LedgerUnavailable())
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
        self._answer(ticket, Failure(str(error)))

    # the database is away

    async def _away(self, tickets: Sequence[Ticket]) -> None:
        """Refuse what can be refused; write down what must not be lost, and what may have been reserved unseen."""
        kept = self._begin_outage(tickets)
        if not await self._in_thread(self._write_down, kept):
            self._deferred += kept
            await asyncio.sleep(REPLAY_EVERY_S)

    def _begin_outage(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Refuse what nobody has paid for yet; returns what has to be written down."""
        self._is_down = True
        self._drop_store()
        kept = []
        for ticket in self._open(tickets):
            item = ticket.item
            if isinstance(item, Settle | Void):
                if self._is_writable(ticket):
                    kept.append(ticket)
                continue
            if isinstance(item, Place) and ticket.may_have_happened:
                kept.append(Ticket(voiding_of(item), None, ticket.since_s))
            self._answer(ticket, LedgerUnavailable())
        return kept

    def _write_down(self, tickets: Sequence[Ticket]) -> bool:
        """To the journal; whether its disk took it."""
        try:
            self._journal.append([ticket.item for ticket in tickets])  # type: ignore[misc]
        except OSError:
            log.critical("the journal cannot be written; settlements wait in memory", exc_info=True)
            return False
        for ticket in tickets:
            ticket.may_have_happened = True
            self._journaled[_journal_key(ticket.item)] = ticket
        return True

    def _is_writable(self, ticket: Ticket) -> bool:
        """Whether the journal can hold the item; one that it cannot must not keep the others out of it."""
        try:
            encode(ticket.item)
        except UNWRITABLE as error:
            self._isolate(ticket, error)
            return False
        return True

    async def _replay(self) -> None:
        """Commit what the journal holds, oldest first, then empty it; stays as it is while the database is away."""
        items = await self._in_thread(self._journal.read)
        waiting = [self._journaled.get(_journal_key(item)) or _again(item) for item in items]
        try:
            while waiting:
                part, waiting = waiting[:BATCH_ITEMS], waiting[BATCH_ITEMS:]
                await self._transact(part, wait_for_locks=True)
                later, self._deferred = self._deferred, []
                if len(later) == len(part):
                    return  # a wallet is locked; the journal keeps everything, and replaying twice changes nothing
                waiting = later + waiting
        except StoreUnavailable:
            self._is_down = True
            self._deferred = []
            self._drop_store()
            return
        await self._in_thread(self._journal.clear)
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
