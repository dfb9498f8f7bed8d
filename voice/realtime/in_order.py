"""Work that runs behind the events of a session, one piece after the other, in the order in which it was asked for."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from komilion.common.tasks import spawn


class InOrder:
    """`add` returns at once; `done` waits for all that was added. What fails is logged and does not stop the rest."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last: asyncio.Task[None] | None = None

    def add(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it after what was added before."""
        self._last = spawn(_after(self._last, work), name=self._name)

    async def done(self) -> None:
        """Until everything that was added has run."""
        while self._last is not None and not self._last.done():
            await asyncio.wait({self._last})


async def _after(previous: "asyncio.Task[None] | None", work: Coroutine[Any, Any, None]) -> None:
    if previous is not None and not previous.done():
        await asyncio.wait({previous})
    await work
