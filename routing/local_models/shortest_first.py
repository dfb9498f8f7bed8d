"""One at a time, and whoever has least left to do comes first.

A spoken sentence then waits for one stretch of an hour's recording and not for the hour. An hour may wait as long as
sentences keep coming.
"""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator


class ShortestFirst:
    """Turns of one worker."""

    def __init__(self) -> None:
        self._busy = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()  # among equals, who came first

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @contextlib.asynccontextmanager
    async def turn(self, left: int) -> AsyncIterator[None]:
        """The worker is yours inside; `left` is how much you still have to do."""
        if self._busy:
            await self._wait(left)
        self._busy = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, left: int) -> None:
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (left, next(self._numbers), called)
        heapq.heappush(self._waiting, entry)
        try:
            await called
        except asyncio.CancelledError:
            if called.cancelled():
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)
            else:  # called and cancelled at once
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        if self._waiting:
            heapq.heappop(self._waiting)[2].set_result(None)
        else:
            self._busy = False
