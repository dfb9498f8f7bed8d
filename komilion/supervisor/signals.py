"""Waiting for a signal, the end of a child, or a time, whichever comes first; no thread and no sleep.

The signal handlers do next to nothing: Python writes a byte into a pipe for each signal, and `wait` selects
on it.
"""

import contextlib
import os
import select
import signal
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(Exception):
    """Somebody asked us to stop while we were starting."""


class Signals:
    """What was asked of this process. Make one, in the main thread, before the first child is started."""

    def __init__(self) -> None:
        self.stop_requested = False
        self.force_requested = False
        self._interrupts = 0
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # only to be woken when a child ends
        for number in STOPPING:
            signal.signal(number, self._stop)

    def wait(self, timeout_s: float | None) -> None:
        """Return after any signal, or after `timeout_s` (None: no limit)."""
        select.select([self._reader], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """A second Ctrl-C forces; a second SIGTERM does not: make passes on the one that its group gets."""
        self.stop_requested = True
        if number == signal.SIGINT:
            self._interrupts += 1
            self.force_requested = self._interrupts > 1
