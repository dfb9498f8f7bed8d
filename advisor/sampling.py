"""Keeping a typical prompt of a task type, after its answer was sent, where the organization allowed it.

`hear` returns at once: it looks at a set in memory. What is to be kept waits in a short queue for a thread that redacts
and writes it. Who allows it is read once a minute while calls come; the write looks again, so a refusal holds at once.
"""

import asyncio
import logging
from collections import deque
from math import inf

import msgspec
from django.db import DatabaseError, connection

from advisor.actions.samples import do_keep_sample
from advisor.queries import organizations_that_allow_samples
from komilion.common.clock import monotonic_s, utc_now
from komilion.common.tasks import spawn
from routing.gateway.choice.learning import Finished
from routing.gateway.forms import CHATS
from routing.selection.features import HEAD_CHARACTERS, TAIL_CHARACTERS, Question, read_question

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
QUEUE_MOST = 100


class _Heard(msgspec.Struct, frozen=True):
    organization_id: int
    task: str
    request_id: str
    text: str


class Sampler:
    """One per process."""

    def __init__(self) -> None:
        self._allowing: frozenset[int] = frozenset()
        self._looked_at_s = -inf
        self._kept: set[tuple[int, str]] = set()  # of this UTC day
        self._day = utc_now().date()
        self._waiting: deque[_Heard] = deque()
        self._worker: asyncio.Task[None] | None = None

    def hear(self, call: Finished) -> None:
        """Of a call whose answer was sent; only of chats whose task type is known, as nobody reads one for this."""
        task = None if call.selected is None or call.endpoint not in CHATS else call.selected.task
        organization_id = call.caller.organization_id
        if task is not None and organization_id in self._allowing and self._is_new(organization_id, task):
            text = text_of(read_question(call.chat))
            if text and len(self._waiting) < QUEUE_MOST:
                self._kept.add((organization_id, task))
                self._waiting.append(_Heard(organization_id, task, call.request_id, text))
        if (self._waiting or self._is_due) and (self._worker is None or self._worker.done()):
            self._worker = spawn(self._work(), name="prompt-samples")

    @property
    def _is_due(self) -> bool:
        """Whether it is time to read again who allows it."""
        return monotonic_s() - self._looked_at_s >= LOOK_EVERY_S

    def _is_new(self, organization_id: int, task: str) -> bool:
        """Whether nothing of this task type is kept today, as far as this process knows."""
        today = utc_now().date()
        if today != self._day:
            self._kept.clear()
            self._day = today
        return (organization_id, task) not in self._kept

    async def _work(self) -> None:
        try:
            if self._is_due:
                self._looked_at_s = monotonic_s()
                self._allowing = await asyncio.to_thread(_read)
        except DatabaseError as error:
            log.warning("unknown who allows prompts to be kept", extra={"error": str(error)})
        while self._waiting:
            try:
                await asyncio.to_thread(_keep, self._waiting.popleft())
            except Exception as error:  # noqa: BLE001 - whatever one prompt fails over, the next is looked at
                # By its kind alone: a database's words may quote the row, and so the prompt.
                log.warning("prompt not kept", extra={"error": type(error).__name__})


def text_of(question: Question) -> str:
    """Of a long prompt the beginning, up to the last word that is whole: half a secret would not be known as one."""
    if question.chars <= HEAD_CHARACTERS + TAIL_CHARACTERS:
        return question.text
    return question.text[:HEAD_CHARACTERS].rpartition(" ")[0]


def _read() -> frozenset[int]:
    """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""
    try:
        return organizations_that_allow_samples()
    finally:
        connection.close()


def _keep(heard: _Heard) -> None:
    """Likewise."""
    try:
        do_keep_sample(heard.organization_id, heard.task, heard.request_id, heard.text, utc_now())
    finally:
        connection.close()
