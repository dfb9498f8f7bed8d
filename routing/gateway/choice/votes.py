"""Votes on answers, as this process counts them: read from the database at the start, then as news of them come.

A vote that replaces another one, or a time without news, makes it count anew. Nothing is lost when this is: the rows
are there.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from django.db import DatabaseError, connection

from komilion.common.clock import utc_now
from komilion.common.tasks import spawn
from routing.selection.offsets import HALF_LIFE_S, Offsets
from routing.selection.queries import votes_after

log = logging.getLogger(__name__)

COUNTED_MOST = 5_000  # the newest; older ones have faded
COUNTED_FOR = timedelta(seconds=3 * HALF_LIFE_S)
GATHER_S = 0.2  # so that votes that come together are counted together


class Votes:
    """`take` gets the offsets, in a thread, whenever they changed. For one event loop."""

    def __init__(self, take: Callable[[Offsets], None]) -> None:
        self._take = take
        self._offsets = Offsets()
        self._last_id = 0
        self._is_stale = False
        self._is_due = False
        self._worker: asyncio.Task[None] | None = None

    def hear(self, *, replaced: bool) -> None:
        """A vote came, in any process."""
        self._is_stale = self._is_stale or replaced
        self._is_due = True
        if self._worker is None or self._worker.done():
            self._worker = spawn(self._count(), name="votes")

    def begin_again(self) -> None:
        """News may have been missed."""
        self.hear(replaced=True)

    async def _count(self) -> None:
        while self._is_due:
            await asyncio.sleep(GATHER_S)
            self._is_due = False
            if self._is_stale:
                self._is_stale = False
                self._offsets, self._last_id = Offsets(), 0
            try:
                await asyncio.to_thread(self._read)
            except DatabaseError as error:
                log.warning("votes not counted", extra={"error": str(error)})

    def _read(self) -> None:
        """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""
        try:
            votes = votes_after(self._last_id, utc_now() - COUNTED_FOR, COUNTED_MOST)
        finally:
            connection.close()
        for vote in votes:
            self._offsets.note(vote.feedback, vote.at_s)
            self._last_id = vote.id
        self._take(Offsets.loads(self._offsets.dumps()))  # a copy: ours goes on
