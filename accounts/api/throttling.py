"""A limit on management requests: so many in a minute for each key or person, counted in Redis.

Inference has its own limits; this one only keeps a script gone wild from keeping the database busy, so it lets
everything pass while Redis is away.
"""

import logging
from typing import TYPE_CHECKING, cast, override

import redis
from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.access import Asker
from komilion.common.clock import monotonic_s
from komilion.common.redis import PREFIX, shared_client

if TYPE_CHECKING:  # the views import this module while they are imported themselves
    from rest_framework.views import APIView

log = logging.getLogger(__name__)

WINDOW_S = 60
ASK_AGAIN_AFTER_S = 5.0  # so that a Redis that is gone costs no request more than the first its time-outs
# One step, so that no count is ever left without an end.
COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('TTL', KEYS[1])}
"""


class _Redis:
    """Whether Redis is worth asking."""

    gone_until_s = 0.0


class PerMinute(BaseThrottle):
    """`API_REQUESTS_PER_MINUTE` for each key, or for each member with all her sessions together."""

    _wait_s = 0

    @override
    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Count the request; whether it may go on."""
        asker = cast(Asker, request.user)
        subject = f"key:{asker.key.pk}" if asker.key is not None else f"member:{asker.membership_id}"
        if monotonic_s() < _Redis.gone_until_s:
            return True
        try:
            client = shared_client(settings.REDIS_URL)
            found = client.eval(COUNT, 1, f"{PREFIX}api:{subject}", WINDOW_S)
            count, self._wait_s = cast("tuple[int, int]", found)
        except (redis.RedisError, OSError) as error:
            _Redis.gone_until_s = monotonic_s() + ASK_AGAIN_AFTER_S
            log.warning("management requests are not counted, Redis is gone: %s", error)
            return True
        return count <= settings.API_REQUESTS_PER_MINUTE

    @override
    def wait(self) -> float:
        """Seconds until the window ends."""
        return max(1, self._wait_s)
