"""The one place where tests wait: short pauses until something has happened, or a clear failure."""

import threading
import time
from collections.abc import Callable

PAUSE_S = 0.01
_never = threading.Event()


def wait_until[T](predicate: Callable[[], T], deadline_s: float = 10, what: str = "the condition") -> T:
    """Ask `predicate` until it answers something truthy, and return that; fail after `deadline_s` seconds."""
    end_s = time.monotonic() + deadline_s
    while not (answer := predicate()):
        if time.monotonic() >= end_s:
            raise AssertionError(f"waited {deadline_s} s in vain for {what}; the last answer was {answer!r}")
        _never.wait(PAUSE_S)
    return answer
