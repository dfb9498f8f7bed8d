"""Noting calls that were refused for want of money, for the pages. Off the path of every call, refused ones too."""

import asyncio

from accounts.access import Caller
from komilion.common.clock import utc_now
from komilion.common.errors import InsufficientBalance
from komilion.common.refusals import Refusal, of_cap, of_organization, remember
from komilion.common.tasks import spawn


class Refusals:
    """`note` returns at once. One write at a time: what is refused meanwhile goes into the next, the last of each."""

    __slots__ = ("_url", "_waiting", "_writer")

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: dict[str, Refusal] = {}
        self._writer: asyncio.Task[None] | None = None

    def note(self, caller: Caller, error: InsufficientBalance) -> None:
        """Keep it for the organization, and for the cap where one was short."""
        refusal = Refusal(utc_now().timestamp(), error.reason, error.message, error.needed_nano)
        self._waiting[of_organization(caller.organization_id)] = refusal
        if error.cap is not None:
            self._waiting[of_cap(*error.cap)] = refusal
        if self._writer is None or self._writer.done():
            self._writer = spawn(self._write(), name="refusals")

    async def _write(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            await asyncio.to_thread(remember, waiting, self._url)
