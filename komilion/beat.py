"""The scheduler of beat: redbeat, which ends in one line where Redis does not answer.

It cannot go on by itself: its lock may be another beat's by then. The supervisor starts it again.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, override

from celery.beat import SchedulingError
from kombu.exceptions import OperationalError
from redbeat import RedBeatScheduler
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

AWAY = (RedisError, OperationalError)


class Scheduler(RedBeatScheduler):  # type: ignore[misc]
    """`SystemExit` instead of whatever celery would print with its traceback, twice."""

    @override
    def setup_schedule(self) -> None:
        with self._ending_in_one_line():
            super().setup_schedule()

    @override
    def tick(self, *args: Any, **kwargs: Any) -> float:
        with self._ending_in_one_line():
            if self.lock_key and self.lock is None:  # celery goes on where the signal for it has failed
                raise RedisError("the lock was not acquired")
            seconds: float = super().tick(*args, **kwargs)
            return seconds

    @override
    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        with self._ending_in_one_line():
            return super().apply_async(*args, **kwargs)

    @override
    def close(self) -> None:
        with self._ending_in_one_line():
            super().close()

    @contextmanager
    def _ending_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except (*AWAY, SchedulingError) as error:
            cause = error.__context__ if isinstance(error, SchedulingError) else error
            if not isinstance(cause, AWAY):
                raise
            self.lock = None  # not ours to release any more
            log.error("beat ends, since Redis does not answer", extra={"error": " ".join(str(cause).split())})
            raise SystemExit(1) from None
