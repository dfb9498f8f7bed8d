"""Work that runs behind the events of a session, one piece after the other, in the order in which it was asked for."""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any

from komilion.common.tasks import spawn


class InOrder:
    """`add` returns at once; `done` waits for all that was added. What fails is logged and does not stop the rest."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: deque[asyncio.Task[None]] = deque()  # done up to one that is not

    def add(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it after what was added before."""
        previous = self._tasks[-1] if self.waiting else None
        self._tasks.append(spawn(_after(previous, work), name=self._name))

    @property
    def waiting(self) -> int:
        """How many pieces run or wait."""
        while self._tasks and self._tasks[0].done():
            del self._tasks[0]
        return len(self._tasks)

    async def room(self, most: int) -> None:
        """Until fewer than `most` pieces run or wait: whoever adds what others ask for waits for this before."""
        while self.waiting >= most:
            await asyncio.wait({self._tasks[0]})

    async def done(self) -> None:
        """Until everything that was added has run."""
        await self.room(1)


async def _after(previous: "asyncio.Task[None] | None", work: Coroutine[Any, Any, None]) -> None:
    if previous is not None and not previous.done():
        await asyncio.wait({previous})
    await work
