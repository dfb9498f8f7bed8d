"""The minutes of a meeting by `neo-mode`: a long one part by part, and then the parts together (map and reduce)."""

import asyncio
import logging
from dataclasses import dataclass, field

from komilion.common.errors import KomilionError
from routing.gateway.inside import ChatRefused, Finished, TextDelta, ask
from voice.meetings.hearing import Payer
from voice.meetings.minutes import (
    OF_A_TRANSCRIPT,
    OF_PARTS,
    Minutes,
    merged,
    pages_of,
    parts_of,
    question,
    read_minutes,
)

log = logging.getLogger(__name__)

PASSES_MOST = 4  # of merging; then the rest is put in a row
IN_PROGRESS = "idempotency_in_progress"
WAITS_MOST = 30  # for a call that a dead process had begun; its hold expires within half a minute
WAIT_S = 2.0


@dataclass(slots=True)
class Summary:
    """Minutes, what they cost, and the calls that made them. `trouble` says why there are none, or not all."""

    minutes: Minutes | None = None
    cost_nano: int = 0
    request_ids: list[str] = field(default_factory=list)
    trouble: ChatRefused | None = None


async def summarize(payer: Payer, lines: list[str], name: str = "") -> Summary:
    """The minutes of these lines. `name` (of a job) makes each call one that is charged once, however often it is made.

    Nothing is raised for a chat that is refused or fails: the transcript is there and paid for.
    """
    summary = Summary()
    asker = _Asker(payer, summary, name)
    try:
        pages = parts_of(lines)
        parts = [await asker.ask(OF_A_TRANSCRIPT, page) for page in pages]
        for _ in range(PASSES_MOST):
            if len(parts) < 2:
                break
            summary.minutes = merged(parts)
            parts = [await asker.ask(OF_PARTS, page) for page in pages_of(parts)]
        summary.minutes = parts[0] if len(parts) == 1 else merged(parts)
    except ChatRefused as refused:
        summary.trouble = refused
    return summary


class _Asker:
    """Asks one chat after the other, and keeps the bill."""

    def __init__(self, payer: Payer, summary: Summary, name: str) -> None:
        self._payer = payer
        self._summary = summary
        self._name = name
        self._number = 0

    async def ask(self, instruction: str, text: str) -> Minutes:
        """Raises `ChatRefused`."""
        self._number += 1
        key = f"{self._name}-{self._number}" if self._name else ""
        for _ in range(WAITS_MOST):
            try:
                return await self._ask(instruction, text, key)
            except ChatRefused as refused:
                if refused.reason != IN_PROGRESS:
                    raise
                await asyncio.sleep(WAIT_S)
        raise ChatRefused(503, "unavailable", "The summary is being made by another process.")

    async def _ask(self, instruction: str, text: str, key: str) -> Minutes:
        answer, finished = list[str](), None
        try:
            async for event in ask(
                self._payer.renew, question(instruction, text), self._payer.services, idempotency_key=key
            ):
                if isinstance(event, TextDelta):
                    answer.append(event.text)
                elif isinstance(event, Finished):
                    finished = event
        except KomilionError as error:
            raise ChatRefused(error.status, error.reason, error.message) from error
        if finished is not None:
            self._summary.cost_nano += int(finished.bill.get("cost_nano_usd") or 0)
            self._summary.request_ids.append(finished.request_id)
        return read_minutes("".join(answer))
