"""Waiting inside an event loop, as `tests.waiting` does outside of one."""

import asyncio
from collections.abc import Callable

from tests.waiting import PAUSE_S


async def eventually(predicate: Callable[[], object], deadline_s: float = 10, pause_s: float = PAUSE_S) -> None:
    """Let the loop run until `predicate` is true, else `TimeoutError`. A pause of 0 is one tick."""
    async with asyncio.timeout(deadline_s):
        while not predicate():  # noqa: ASYNC110 - what is waited for happens elsewhere and sets no event
            await asyncio.sleep(pause_s)
