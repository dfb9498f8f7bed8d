"""The one place that asks what time it is, so that tests can move it and no module mixes zones."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(UTC)


def unix_s() -> int:
    """Whole seconds since 1970-01-01 UTC."""
    return int(time.time())


def unix_ms() -> int:
    """Whole milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def unix_exact_s() -> float:
    """Seconds since 1970-01-01 UTC with their fraction: for comparing with a moment that was stored."""
    return time.time()


def monotonic_s() -> float:
    """Seconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic()
