"""Background tasks that cannot be lost: asyncio keeps only a weak reference to a task, this module a strong one."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)

_running: set[asyncio.Task[Any]] = set()


def spawn[T](work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Run `work` in the background of the running loop; what it raises is logged."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_finished)
    return task


def _finished(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and task.exception() is not None:
        log.error("background task failed", exc_info=task.exception(), extra={"task": task.get_name()})


async def all_done(timeout_s: float) -> None:
    """Wait for the background tasks of this loop, at most so long."""
    loop = asyncio.get_running_loop()
    own = {task for task in _running if task.get_loop() is loop}
    if own:
        await asyncio.wait(own, timeout=timeout_s)
