"""Connections to Redis that were cut off while they were made, as by services that stop as soon as they are started.

redis-py leaves them to the collector. What it finds behind such a test is no fault of those that follow.
"""

import gc
import warnings
from threading import Event

_is_expected = Event()


def expect_unborn() -> None:
    """Look behind the running test."""
    _is_expected.set()


def bury_expected() -> None:
    """Collect them where some are expected. Only when the test is over: what it caught keeps alive what it passed."""
    if _is_expected.is_set():
        _is_expected.clear()
        bury_unborn()


def bury_unborn() -> None:
    """Collect all that there are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
