"""What is learnt of a call after its answer was sent: its task type, of a sample of the calls that named their model.

Nobody waits for it. A call is in the sample by its request id, so that every process would decide alike; a process that
is busy looks at `MOST_PER_S` of them, and what comes while the queue is full is left out. Reading a question and
changing its row takes some 300 us of processor time, so between two of them the event loop goes on with what is more
urgent.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

import msgspec
from django.db import DatabaseError, connection

from billing.actions.usage_notes import UsageNote, do_note_usage
from komilion.common.clock import monotonic_s
from komilion.common.numbers import numbers
from komilion.common.tasks import spawn
from routing.providers.base import ChatRequest
from routing.selection.features import Question, read_question

log = logging.getLogger(__name__)

QUEUE_MOST = 1_000
MOST_PER_S = 5
NOTES_AT_ONCE = 50  # rows in one transaction
WRITE_AFTER_S = 0.2  # so that calls that end together are written together


class _Waiting(msgspec.Struct, frozen=True):
    request_id: str
    started_at: str
    question: Question  # a glance; a whole prompt may have megabytes


class Quota:
    """So many a second."""

    __slots__ = ("_in_second", "_most", "_second")

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = self._in_second = 0

    def has_room(self) -> bool:
        """Whether this second has seen few of them; counts one more."""
        second = int(monotonic_s())
        self._in_second = self._in_second + 1 if second == self._second else 1
        self._second = second
        return self._in_second <= self._most


class Afterwards:
    """`note` returns at once. `classify` says what a row is to keep of a question, None where nobody can."""

    def __init__(self, classify: Callable[[Question], Mapping[str, Any] | None]) -> None:
        self._classify = classify
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._looked_at = Quota(MOST_PER_S)

    def note(self, request_id: str, started_at: str, chat: ChatRequest) -> None:
        """Look at this call later, where it is in the sample."""
        if not in_sample(request_id) or len(self._waiting) >= QUEUE_MOST or not self._looked_at.has_room():
            return
        self._waiting.append(_Waiting(request_id, started_at, read_question(chat, chat.wishes.task_hint)))
        if self._worker is None or self._worker.done():
            self._worker = spawn(self._work(), name="afterwards")

    async def _work(self) -> None:
        while self._waiting:
            await asyncio.sleep(WRITE_AFTER_S)
            notes: list[UsageNote] = []
            while self._waiting and len(notes) < NOTES_AT_ONCE:
                call = self._waiting.popleft()
                facts = self._classify(call.question)
                if facts is not None:
                    notes.append(UsageNote(call.request_id, call.started_at, facts))
                await asyncio.sleep(0)
            try:
                await asyncio.to_thread(_write, notes)
            except DatabaseError as error:
                log.warning("task types not noted", extra={"error": str(error)})


def in_sample(request_id: str) -> bool:
    """Whether this call is one of the share `CLASSIFIED_SHARE`."""
    return crc32(request_id.encode()) < numbers.CLASSIFIED_SHARE * 2**32


def _write(notes: list[UsageNote]) -> None:
    """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""
    try:
        do_note_usage(notes)
    finally:
        connection.close()
