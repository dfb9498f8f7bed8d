"""What blocks, out of the event loop: the database, the disk, and work of the processor."""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connection

from komilion.common.errors import TooManyParallel, Unavailable

BUSY = {"Retry-After": "5"}


async def in_thread[**P, T](function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run what blocks for a moment elsewhere; its connection to the database is given back."""

    def work() -> T:
        try:
            return function(*arguments, **named)
        finally:
            connection.close()

    return await asyncio.to_thread(work)


class Workshop:
    """A few threads of their own for work that takes long, so that chats never wait for them.

    Organizations take turns, and none has more than half of the threads, so that one with much work keeps no other
    waiting for long. Whoever would have to wait for more than `waiting` others is refused, and so is an organization
    that has `each` pieces of work here.
    """

    def __init__(self, name: str, *, threads: int, waiting: int, each: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._threads = threads
        self._most = threads + waiting
        self._each = each
        self._waiting: dict[int, deque[tuple[Future[Any], Callable[[], Any]]]] = {}  # who has waited longest is first
        self._running = Counter[int]()
        self._lock = threading.Lock()

    async def run[T](self, organization_id: int, function: Callable[[], T], gone: threading.Event | None = None) -> T:
        """What `function` returns; `gone` is set when nobody waits for that any more.

        Raises `TooManyParallel`, `Unavailable`, each with `Retry-After`.
        """
        with self._lock:
            self._demand_room(organization_id)
            work: Future[T] = Future()
            self._waiting.setdefault(organization_id, deque()).append((work, function))
            self._start()
        try:
            return await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            if gone is not None:
                gone.set()
            raise

    async def finish[T](self, function: Callable[[], T]) -> T:
        """The same for the rest of a work that is paid for: it waits and is never refused."""
        return await asyncio.wrap_future(self._pool.submit(function))

    def _demand_room(self, organization_id: int) -> None:
        own = self._running[organization_id] + len(self._waiting.get(organization_id, ()))
        if own >= self._each:
            raise TooManyParallel(f"Only {self._each} recordings of yours are prepared at once.", headers=BUSY)
        if self._running.total() + sum(map(len, self._waiting.values())) >= self._most:
            raise Unavailable("Too many recordings are being prepared; send it again in a moment.", headers=BUSY)

    def _start(self) -> None:
        """As much as there are threads for. Called with the lock."""
        while self._running.total() < self._threads and (organization_id := self._next()) is not None:
            waiting = self._waiting.pop(organization_id)
            work, function = waiting.popleft()
            if waiting:
                self._waiting[organization_id] = waiting  # behind all others
            self._running[organization_id] += 1
            self._pool.submit(self._work, organization_id, work, function)

    def _next(self) -> int | None:
        share = max(1, self._threads // 2)
        return next((who for who in self._waiting if self._running[who] < share), None)

    def _work(self, organization_id: int, work: "Future[Any]", function: Callable[[], Any]) -> None:
        result, trouble = None, None
        if is_wanted := work.set_running_or_notify_cancel():
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - it is whoever waits who is told
                trouble = error
        with self._lock:  # before anybody is told, who may come with the next one at once
            self._running[organization_id] -= 1
            self._running += Counter()  # without those that have nothing here
            self._start()
        if not is_wanted:
            return
        if trouble is None:
            work.set_result(result)
        else:
            work.set_exception(trouble)
