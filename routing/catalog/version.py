"""Tells the workers that the catalogue changed: a number in Redis that every limit call brings back."""

import logging

import redis
from django.conf import settings

from komilion.common.redis import CATALOG_VERSION_KEY, shared_client

log = logging.getLogger(__name__)

# The number only rises, whatever order two commands finish in.
RAISE = """
local seen = tonumber(redis.call('GET', KEYS[1]) or 0)
if tonumber(ARGV[1]) > seen then redis.call('SET', KEYS[1], ARGV[1]) end
"""


def publish_catalog_version(version: int) -> bool:
    """False and a warning when Redis is away; workers then find the change by looking into the database."""
    try:
        shared_client(settings.REDIS_URL).eval(RAISE, 1, CATALOG_VERSION_KEY, version)
    except (redis.RedisError, OSError) as error:
        log.warning("catalogue version not published", extra={"version": version, "error": str(error)})
        return False
    return True
