"""What blocks, out of the event loop: the database, the disk, and work of the processor."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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

    Whoever would have to wait for more than `waiting` others is refused, and so is an organization that has `each`
    pieces of work here.
    """

    def __init__(self, name: str, *, threads: int, waiting: int, each: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._most = threads + waiting
        self._each = each
        self._inside = Counter[int]()
        self._lock = threading.Lock()

    async def run[T](self, organization_id: int, function: Callable[[], T]) -> T:
        """What `function` returns. Raises `TooManyParallel`, `Unavailable`, each with `Retry-After`."""
        self._enter(organization_id)
        work = self._threads.submit(function)
        work.add_done_callback(lambda _: self._leave(organization_id))  # and not when nobody waits any more
        return await asyncio.wrap_future(work)

    async def finish[T](self, function: Callable[[], T]) -> T:
        """The same for the rest of a work that is paid for: it waits and is never refused."""
        return await asyncio.wrap_future(self._threads.submit(function))

    def _enter(self, organization_id: int) -> None:
        with self._lock:
            if self._inside[organization_id] >= self._each:
                raise TooManyParallel(f"Only {self._each} recordings of yours are prepared at once.", headers=BUSY)
            if self._inside.total() >= self._most:
                raise Unavailable("Too many recordings are being prepared; send it again in a moment.", headers=BUSY)
            self._inside[organization_id] += 1

    def _leave(self, organization_id: int) -> None:
        with self._lock:
            self._inside[organization_id] -= 1
            self._inside += Counter()  # without those that have nothing here
