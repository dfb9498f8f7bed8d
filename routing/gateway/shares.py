"""What each of the calls that are compared may hold: an equal part of what the wallet has when the first one asks.

Else the dearest model would hold all of a small wallet for its longest answer, and the others were refused.
"""

import asyncio

from django.db import DatabaseError, connection

from billing.queries import available_nano
from komilion.common.errors import LedgerUnavailable


class Shares:
    """The parts of so many calls of one caller; for one event loop."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._each: int | None = None
        self._reading = asyncio.Lock()

    async def each(self, organization_id: int) -> int:
        """Nano-USD; read once, before any of the calls holds anything. Raises `LedgerUnavailable`."""
        async with self._reading:
            if self._each is None:
                try:
                    available = await asyncio.to_thread(_available, organization_id)
                except DatabaseError as error:
                    raise LedgerUnavailable from error
                self._each = available // self._calls
        return self._each


def _available(organization_id: int) -> int:
    """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""
    try:
        return available_nano(organization_id) or 0
    finally:
        connection.close()
