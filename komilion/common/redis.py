"""Clients of the one Redis (or Valkey) of an installation, and the keys that more than one app reads.

Everything in Redis begins with `settings.REDIS_PREFIX`, Celery's and redbeat's keys too: installations that share one
Redis would else run each other's jobs and count each other's calls.
"""

import logging
from functools import cache
from urllib.parse import urlsplit

import redis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

PREFIX = settings.REDIS_PREFIX
CATALOG_VERSION_KEY = f"{PREFIX}catalog_version"  # integer, raised by every change of the catalogue; never expires
NEWS_CHANNEL = f"{PREFIX}news"

DEFAULT_PORT = 6_379
CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 2.0
HEALTH_CHECK_EVERY_S = 30

# Two changes may be announced in the wrong order; the version never goes back.
RAISE_TO = """
if tonumber(ARGV[1]) > tonumber(redis.call('GET', KEYS[1]) or 0) then redis.call('SET', KEYS[1], ARGV[1]) end
"""


def connect(url: str | None = None) -> redis.asyncio.Redis:
    """An asyncio client of `url` (default: `settings.REDIS_URL`) for the running loop; the caller closes it.

    A call raises `redis.RedisError` within about three seconds when the server is gone; nothing is retried
    but a connection that had died while it was idle.
    """
    return redis.asyncio.Redis.from_url(
        url or settings.REDIS_URL,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        health_check_interval=HEALTH_CHECK_EVERY_S,
        retry=AsyncRetry(NoBackoff(), 1),
    )


@cache
def shared_client(url: str) -> redis.Redis:
    """The blocking client of this process for `url`; safe to use from every thread and after a fork."""
    return _new_client(url)


def _new_client(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        health_check_interval=HEALTH_CHECK_EVERY_S,
        retry=Retry(NoBackoff(), 1),
    )


def trouble_of(url: str) -> str | None:
    """Why the Redis at `url` cannot be used right now, in one line without its password; None where it can.

    Never raises; blocks for up to three seconds when Redis is gone.
    """
    try:
        with _new_client(url) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        parts = urlsplit(url)
        where = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or DEFAULT_PORT}"
        reason = " ".join(str(error).split()).rstrip(".")
        return f"Redis at {where} (REDIS_URL) does not answer: {reason}"
    return None


def publish_catalog_version(version: int, url: str | None = None) -> bool:
    """Let every worker see that the catalogue is now at `version`; False and a warning when Redis is gone.

    Never raises; blocks for up to three seconds when Redis is gone.
    """
    try:
        shared_client(url or settings.REDIS_URL).eval(RAISE_TO, 1, CATALOG_VERSION_KEY, version)
    except (redis.RedisError, OSError) as error:
        logger.warning("catalogue version %s not announced, Redis is gone: %s", version, error)
        return False
    return True
