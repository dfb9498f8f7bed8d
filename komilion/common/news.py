"""News between the processes of an installation ("this key changed"), over Redis pub/sub.

News make things sooner, never right: nobody may rely on hearing them. What must hold without them (a revoked
key) is checked where it counts, and a listener that was cut off is told so, because it may have missed
anything.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping

import orjson
import redis
from django.conf import settings

from komilion.common.redis import NEWS_CHANNEL, connect, shared_client

logger = logging.getLogger(__name__)

type Message = dict[str, object]
"""A JSON object with at least `kind`, such as {"kind": "key_changed", "hash": "<hex>"}."""

BACK_OFF_FIRST_S = 0.1
BACK_OFF_MOST_S = 2.0
IDLE_S = 5.0  # without a word for so long, ask; without an answer for as long again, the connection is dead


def publish(message: Mapping[str, object], url: str | None = None) -> bool:
    """Tell every listener; False and a warning when Redis cannot be reached. Never raises.

    Blocks for up to three seconds when Redis is gone. `message` holds what JSON can hold, and `kind`. `url`
    defaults to `settings.REDIS_URL`.
    """
    try:
        shared_client(url or settings.REDIS_URL).publish(NEWS_CHANNEL, orjson.dumps(dict(message)))
    except (redis.RedisError, OSError) as error:
        logger.warning("news %s not sent, Redis is gone: %s", message.get("kind"), error)
        return False
    return True


class Listener:
    """Calls `on_message` for each message and `on_connect` whenever it begins to hear (again).

    `on_connect` comes first, and after the subscription is in force: who drops its caches then, and reads
    afresh, misses nothing. Both are called in the event loop and must be quick; what they raise is logged and
    goes no further.
    """

    def __init__(
        self,
        on_message: Callable[[Message], None],
        on_connect: Callable[[], None],
        url: str | None = None,
        *,
        idle_s: float = IDLE_S,
    ) -> None:
        self._on_message = on_message
        self._on_connect = on_connect
        self._url = url
        self._idle_s = idle_s
        self._task: asyncio.Task[None] | None = None
        self._back_off_s = BACK_OFF_FIRST_S

    def start(self) -> None:
        """Begin to listen in the background of the running loop. A Redis that is not there is waited for."""
        self._task = asyncio.get_running_loop().create_task(self._listen_forever(), name="news")

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _listen_forever(self) -> None:
        while True:
            try:
                await self._listen()
            except (redis.RedisError, OSError) as error:
                logger.warning("no news, trying again in %.1f s: %s", self._back_off_s, error)
            await asyncio.sleep(self._back_off_s)
            self._back_off_s = min(2 * self._back_off_s, BACK_OFF_MOST_S)

    async def _listen(self) -> None:
        """Hear until the connection ends, which raises `redis.RedisError` or `OSError`."""
        async with connect(self._url) as client, client.pubsub() as subscription:
            await subscription.subscribe(NEWS_CHANNEL)
            asked = False
            while True:
                event = await subscription.get_message(timeout=self._idle_s)
                if event is not None:
                    asked = False
                    self._handle(event)
                elif asked:
                    raise redis.ConnectionError("no answer to a ping")
                else:
                    asked = True
                    await subscription.ping()

    def _handle(self, event: Mapping[str, object]) -> None:
        if event["type"] == "subscribe":  # also after the client library reconnected by itself
            self._back_off_s = BACK_OFF_FIRST_S
            _shielded(self._on_connect)
        elif event["type"] == "message":
            message = None
            with contextlib.suppress(orjson.JSONDecodeError):
                message = orjson.loads(event["data"])  # type: ignore[arg-type] # bytes, as nothing is decoded
            if isinstance(message, dict) and isinstance(message.get("kind"), str):
                _shielded(lambda: self._on_message(message))
            else:
                logger.warning("news that is not news: %.100r", event["data"])


def _shielded(callback: Callable[[], None]) -> None:
    """A caller's mistake must not end the listening, for then nobody would hear of a revoked key any more."""
    try:
        callback()
    except Exception:
        logger.exception("a callback for news failed")
