"""What live traffic says of offers, of all processes together: noted here, published, and merged every few seconds.

Each process keeps the figures of its own calls and publishes them under its id; what others published is read with
them. All of it is losable: without Redis a process goes by its own calls, and one that starts by nothing. What a
process published outlives it for `KEPT_FOR_S`, so that a restart forgets little.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec
import redis
import redis.asyncio

from komilion.common.redis import PREFIX, connect
from komilion.common.tasks import spawn
from routing.selection.live import Live

log = logging.getLogger(__name__)

SHARE_EVERY_S = 5.0
KEPT_FOR_S = 3_600
MEMBERS_KEY = f"{PREFIX}live"
FIGURES_KEY = f"{PREFIX}live:"


class LiveShare:
    """`own` is to be told of every answer; `take` gets the figures of all, in a thread. For one event loop."""

    def __init__(self, url: str, process_id: str, take: Callable[[Live], None]) -> None:
        self.own = Live()
        self._url = url
        self._process_id = process_id
        self._take = take
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Share and learn, until closed. A Redis that is not there is no error."""
        self._keeper = spawn(self._keep(), name="live-figures")

    async def close(self) -> None:
        """Stop sharing."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None

    async def _keep(self) -> None:
        while True:
            own = self.own.dumps()
            parts = [own]
            try:
                async with connect(self._url) as client:
                    parts += await self._exchange(client, own)
            except (redis.RedisError, OSError) as error:
                log.warning("live figures are this process' own", extra={"error": str(error)})
            await asyncio.to_thread(lambda: self._take(merged(parts)))  # noqa: B023 - it is over before the next turn
            await asyncio.sleep(SHARE_EVERY_S)

    async def _exchange(self, client: redis.asyncio.Redis, own: bytes) -> list[bytes]:
        """Publish ours; what the others published."""
        async with client.pipeline(transaction=False) as pipe:
            _ = pipe.set(FIGURES_KEY + self._process_id, own, ex=KEPT_FOR_S)
            _ = pipe.sadd(MEMBERS_KEY, self._process_id)
            _ = pipe.smembers(MEMBERS_KEY)
            members: set[bytes] = (await pipe.execute())[-1]
        others = [member for member in members if member.decode() != self._process_id]
        if not others:
            return []
        found = await client.mget([FIGURES_KEY.encode() + member for member in others])
        gone = [member for member, figures in zip(others, found, strict=True) if figures is None]
        if gone:
            await client.srem(MEMBERS_KEY, *gone)
        return [figures for figures in found if isinstance(figures, bytes)]


def merged(parts: list[bytes]) -> Live:
    """The figures of all; what cannot be read, as of another version, is passed over."""
    readable = []
    for part in parts:
        try:
            Live.loads(part)
        except msgspec.DecodeError:
            log.warning("live figures of another version passed over")
        else:
            readable.append(part)
    return Live.merged(readable)
