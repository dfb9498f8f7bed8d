"""A scripted server on a thread and an event loop of its own, for as long as a `with` block."""

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

START_DEADLINE_S = 10


class OnThread(ABC):
    """What is begun and ended on the loop; `stop` may be called from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    async def begin(self) -> None:
        """Listen."""

    @abstractmethod
    async def end(self) -> None:
        """Stop listening, and drop every connection."""

    async def serve(self, ready: threading.Event | None = None) -> None:
        """Answer until `stop`."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self.begin()
        if ready:
            ready.set()
        await self._stop.wait()
        await self.end()

    def stop(self) -> None:
        """Stop serving; twice is as once."""
        if self._loop and self._stop:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        ready = threading.Event()
        name = type(self).__name__
        self._thread = threading.Thread(target=lambda: asyncio.run(self.serve(ready)), name=name, daemon=True)
        self._thread.start()
        assert ready.wait(START_DEADLINE_S), f"{name} did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
