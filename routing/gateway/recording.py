"""Keeping the answer of a call with an Idempotency-Key: byte for byte what a client that stayed received.

Frames, comments, and the closing frames with the bill. Those must be known before the settlement commits, since the
answer becomes visible in its transaction; so they are composed for a settlement that is durable, and only where it
turns out to be pending the live client is told so instead. That word is the one thing in which a repeated answer may
differ from the first.
"""

from collections.abc import Callable

import msgspec

from billing.ledger.items import Claim
from komilion.common.numbers import numbers
from routing.catalog.credentials import seal

type Composed = tuple[list[tuple[bytes, bytes]], bytes]  # an answer's headers and its last part


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """A response as it is stored."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Recording:
    """What one claimed call has sent; beyond `IDEMPOTENT_ANSWER_LIMIT_BYTES` nothing is kept."""

    __slots__ = ("_parts", "_size", "claim", "is_dropped")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.is_dropped = False
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        """Note what was sent, or would have been to a client that left."""
        self._size += len(data)
        if self._size > numbers.IDEMPOTENT_ANSWER_LIMIT_BYTES:
            self.is_dropped = True
            self._parts.clear()
        else:
            self._parts.append(data)

    def close(self, compose: Callable[[], Composed]) -> tuple[Composed, str]:
        """The last part, and the whole answer encrypted; empty where it is too large, which the last part then says."""
        last = compose()
        was_dropped = self.is_dropped
        self.add(last[1])
        if not self.is_dropped:
            return last, seal(msgspec.msgpack.encode(Answer(200, last[0], b"".join(self._parts)))).decode()
        return (last if was_dropped else compose()), ""
