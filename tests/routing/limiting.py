"""What the tests of the limiter share: a loop as in production, scopes, and a clock that they move."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import redis
import uvloop

from komilion.common.redis import PREFIX
from routing.limits.limiter import Admission, Limiter, Scope
from routing.limits.tiers import Limits
from tests.async_waiting import eventually

PLENTY = 10**6
_names = itertools.count(1)


def in_loop[T](work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in the kind of event loop that serves requests."""
    return uvloop.run(work)


def scope(name: str | None = None, **limits: int) -> Scope:
    """A scope that no other test uses, with plenty of everything that is not named."""
    given = dict.fromkeys(("requests_per_minute", "tokens_per_minute", "parallel", "burst_per_s"), PLENTY)
    return Scope(name or f"test:{time.time_ns()}.{next(_names)}", Limits(**given | limits))


class Clock:
    """Milliseconds that pass when a test says so."""

    def __init__(self, now_ms: int = 1_800_000_000_500) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@asynccontextmanager
async def limiter(
    url: str, name: str = "test", workers: int = 1, clock_ms: Callable[[], int] | None = None
) -> AsyncIterator[Limiter]:
    """A limiter that has been started, as one more process."""
    started = Limiter(url, name, workers, clock_ms=clock_ms)
    await started.start()
    try:
        yield started
    finally:
        await started.close()


async def admit_all(limits: Limiter, *wanted: Scope, times: int, tokens: int = 1) -> list[Admission]:
    """`times` requests in one tick, in order."""
    return await asyncio.gather(*(limits.admit(wanted, tokens) for _ in range(times)))


def slots(client: redis.Redis, of: Scope) -> dict[str, str]:
    """Slots in use, by process, as they count in Redis: those of dead processes do not."""
    found: Any = client.hgetall(f"{PREFIX}slots:{of.id}")
    alive = [name for name in found if client.exists(f"{PREFIX}alive:{name}")]
    return {name.split(".")[0]: found[name] for name in alive}


async def on_its_way_to_redis(limits: Limiter) -> None:
    """Until the call has just been sent; its answer has not been read yet."""
    await eventually(lambda: limits._in_flight is not None, pause_s=0)
