"""The last call that was refused for want of money: of each organization, and of each cap. In Redis, for a day.

A refused call leaves nothing in the books, so without this no page could say why nothing arrives. Nobody may rely on
it: it is lost with Redis.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec
import redis

from komilion.common.redis import PREFIX, shared_client

log = logging.getLogger(__name__)

KEPT_S = 86_400


class Refusal(msgspec.Struct, frozen=True):
    """A call that was refused with 402: why, and what it needed at least."""

    at_unix_s: float
    reason: str
    message: str
    needed_nano: int

    @property
    def at(self) -> datetime:
        """When."""
        return datetime.fromtimestamp(self.at_unix_s, UTC)


def of_organization(organization_id: int) -> str:
    """The name under which the last refusal of an organization's calls is kept."""
    return f"organization:{organization_id}"


def of_cap(key_id: int, period: str) -> str:
    """The name under which the last refusal by this cap is kept."""
    return f"cap:{key_id}:{period}"


def remember(refusals: Mapping[str, Refusal], url: str) -> None:
    """Keep these, by name. Never raises; blocks for up to three seconds when Redis is gone."""
    try:
        with shared_client(url).pipeline(transaction=False) as pipeline:
            for name, refusal in refusals.items():
                pipeline.set(f"{PREFIX}refused:{name}", msgspec.json.encode(refusal), ex=KEPT_S)
            pipeline.execute()
    except (redis.RedisError, OSError) as error:
        log.warning("refusals not kept, Redis is gone", extra={"error": str(error)})


def last_refusals(names: Iterable[str], url: str) -> dict[str, Refusal]:
    """Those that there are, by name. Never raises; empty when Redis is gone."""
    asked = list(names)
    if not asked:
        return {}
    try:
        found = shared_client(url).mget([f"{PREFIX}refused:{name}" for name in asked])
    except (redis.RedisError, OSError) as error:
        log.warning("refusals not read, Redis is gone", extra={"error": str(error)})
        return {}
    kept = zip(asked, found, strict=True)
    return {name: msgspec.json.decode(text, type=Refusal) for name, text in kept if text is not None}
