"""How often one may try: a lock on failed logins that doubles, and a count for a day. In Redis; without it, 503.

Letting everybody try while Redis is away would let them try as often as they like, so logging in and signing up then
say that they are not possible for the moment. Who is logged in notices nothing, sessions are in the database.
"""

import hmac
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

from komilion.common.redis import PREFIX, shared_client
from komilion.web.people.client_ip import client_network

LOGIN_PREFIX = f"{PREFIX}login"
DAY_S = 86_400

# One person at one place, and one person from everywhere: how many attempts before the first lock, and the longest.
FREE_ATTEMPTS = 5
FREE_ATTEMPTS_EVERYWHERE = 50
FIRST_LOCK_S = 30
LONGEST_LOCK_S = 3_600
LONGEST_LOCK_EVERYWHERE_S = 900
PLACE_KNOWN_S = 30 * DAY_S

# KEYS: attempts at this place, attempts everywhere, place known. ARGV: free, longest, free everywhere, longest
# everywhere, first lock. An attempt counts as failed until it is known to be right, so that a thousand at once are
# no way around. Answers the seconds until the next attempt may be made; 0: go on.
ATTEMPT = """
local now = tonumber(redis.call('TIME')[1])
local known = redis.call('EXISTS', KEYS[3]) == 1
local scopes = {{KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])}}
if not known then scopes[2] = {KEYS[2], tonumber(ARGV[3]), tonumber(ARGV[4])} end
local wait = 0
for _, scope in ipairs(scopes) do
  local locked_until = tonumber(redis.call('HGET', scope[1], 'until') or 0)
  if locked_until > now and locked_until - now > wait then wait = locked_until - now end
end
if wait > 0 then return wait end
for _, scope in ipairs(scopes) do
  local over = redis.call('HINCRBY', scope[1], 'attempts', 1) - scope[2]
  if over >= 0 then
    local lock = math.min(tonumber(ARGV[5]) * 2 ^ math.min(over, 20), scope[3])
    redis.call('HSET', scope[1], 'until', now + lock)
  end
  redis.call('EXPIRE', scope[1], 86400)
end
return 0
"""

# Counting and looking are one step, so that no more are let in however many come at once. KEYS: the count. ARGV: the
# most. Answers 1 where there was room.
RESERVE = """
if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1]) then return 0 end
if redis.call('INCR', KEYS[1]) == 1 then redis.call('EXPIRE', KEYS[1], 86400) end
return 1
"""

GIVE_BACK = """
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('DECR', KEYS[1]) <= 0 then redis.call('DEL', KEYS[1]) end
"""


@dataclass(frozen=True, slots=True)
class LoginLock:
    """The lock on guessing one person's password; `who` is what was typed as her address."""

    who: str
    place: str

    @classmethod
    def of(cls, request: HttpRequest, email: str) -> "LoginLock":
        """That of this address for whoever sends the request."""
        return cls(email.strip().lower(), client_network(request))

    def attempt(self) -> int:
        """Count an attempt; the seconds to wait where it may not be made, else 0. Raises `redis.RedisError`."""
        limits = (FREE_ATTEMPTS, LONGEST_LOCK_S, FREE_ATTEMPTS_EVERYWHERE, LONGEST_LOCK_EVERYWHERE_S, FIRST_LOCK_S)
        return int(shared_client(settings.REDIS_URL).eval(ATTEMPT, 3, *self._keys(), *limits))

    def succeeded(self) -> None:
        """The password was right: forget the failures, and remember that she logs in from here."""
        here, everywhere, known = self._keys()
        client = shared_client(settings.REDIS_URL)
        client.delete(here, everywhere)
        client.set(known, 1, ex=PLACE_KNOWN_S)

    def _keys(self) -> tuple[str, str, str]:
        person = _hidden(self.who)
        here = _hidden(f"{self.who} {self.place}")
        return f"{LOGIN_PREFIX}:here:{here}", f"{LOGIN_PREFIX}:everywhere:{person}", f"{LOGIN_PREFIX}:known:{here}"


def forget_failures(email: str, request: HttpRequest) -> None:
    """After the password was set anew."""
    LoginLock.of(request, email).succeeded()


@dataclass(frozen=True, slots=True)
class TrialsHere:
    """How many had trial credit at one place within a day. Raises `redis.RedisError`."""

    place: str

    @classmethod
    def of(cls, request: HttpRequest) -> "TrialsHere":
        """Those where the request comes from."""
        return cls(client_network(request))

    def reserve(self) -> bool:
        """Take room for one more, before it is known whether it is granted; False where there is none left."""
        most = settings.TRIAL_GRANTS_A_DAY_PER_IP
        return bool(shared_client(settings.REDIS_URL).eval(RESERVE, 1, self._key(), most))

    def give_back(self) -> None:
        """It was not granted."""
        shared_client(settings.REDIS_URL).eval(GIVE_BACK, 1, self._key())

    def _key(self) -> str:
        return f"{PREFIX}trials:{_hidden(self.place)}"


def _hidden(text: str) -> str:
    """No address of a person stands in Redis."""
    return hmac.digest(settings.KEY_PEPPER, f"limit:{text}".encode(), "sha256").hex()[:32]
