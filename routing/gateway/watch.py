"""Guards one running call: time limits, a caller that leaves or stops reading, and sign of life while nothing comes.

One timer a call, armed for the nearest deadline and moved lazily: noting progress is a plain assignment. A call may
have several attempts; their limits begin anew with each, that of the whole call does not.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Literal

from komilion.common.numbers import numbers
from komilion.common.tasks import spawn
from routing.gateway.exchange import Exchange

type Reason = Literal["silence", "total", "write_stall", "client_left"]

COMMENT_FRAME = b": keep-alive\n\n"
TIMER_SLACK_S = 0.002
# The loop runs timers before it reads sockets: after a stall of this process, what came meanwhile waits there unread.
SECOND_LOOK_S = 0.01


class Interrupted(Exception):
    """The call was interrupted by its watch; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class Watch:
    """`async with Watch(exchange) as watch:` around the call; `begin` for each of its attempts.

    An expired limit cancels the block and comes out as `Interrupted`, unless it is absorbed inside.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._gap_s = self._patience_s = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._departure: asyncio.Task[None] | None = None
        self._ends_with_client = False
        self._send_comment: Callable[[bytes], Awaitable[None]] | None = None
        self._started = self._quiet_since = self._last_sent = self._loop.time()
        self._writing_since: float | None = None
        self._reason: Reason | None = None
        self._is_suspect = False  # a limit has passed; what is unread may still say otherwise
        self._is_ending = False  # only the bill and the last frames are left, within the limit of a write

    async def __aenter__(self) -> "Watch":
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.close()
        if isinstance(error, asyncio.CancelledError):
            reason = self.absorb()
            if reason is not None:
                raise Interrupted(reason) from None

    def begin_stream(self, *, first_content_s: float, gap_s: float, ends_with_client: bool) -> None:
        """An attempt begins whose content comes as it is made."""
        self._ends_with_client = ends_with_client
        self._is_ending = self._is_suspect = False
        self._quiet_since = self._loop.time()
        self._patience_s, self._gap_s = first_content_s, gap_s
        self.watch_client()
        self._arm()

    def begin_whole(self, *, ends_with_client: bool) -> None:
        """An attempt begins that answers at once, within a limit of its own.

        One that is read to its end, come what may, is not watched at all.
        """
        self._ends_with_client = ends_with_client
        self._is_ending = self._is_suspect = False
        if ends_with_client:
            self.watch_client()
            self._arm()

    def rest(self) -> None:
        """Between two attempts nobody can be silent."""
        self._patience_s = self._gap_s = math.inf
        self._is_ending = self._is_suspect = False

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._look()

    def absorb(self) -> Reason | None:
        """After a `CancelledError`: why this watch cancelled the call, or None if somebody else did."""
        reason, self._reason = self._reason, None
        if reason is not None and self._task is not None:
            self._task.uncancel()
        return reason

    def absorb_silence(self) -> bool:
        """The same where only silence is to be forgiven; whether it was that."""
        return self._reason == "silence" and self.absorb() is not None

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._departure is not None:
            self._departure.cancel()
            self._departure = None

    def content_came(self) -> None:
        """The provider sent content: from now on the gap between frames counts."""
        self._quiet_since = self._loop.time()
        self._patience_s = self._gap_s

    def expect_the_end(self, within_s: float) -> None:
        """The provider has finished; what it may still add must come soon."""
        self._quiet_since = self._loop.time()
        self._patience_s = self._gap_s = within_s
        self._arm()

    def wind_up(self) -> None:
        """The answer is over, well or not: nothing may interrupt its settlement and its last frames any more."""
        self._is_ending = True

    def send_comments(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Say something every so often while nothing else is sent; `send` sends it, and the head if need be."""
        self._send_comment = send

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a part of the stream; a client that does not take it in time counts as gone."""
        self._writing_since = self._last_sent = since = self._loop.time()
        try:
            await self._exchange.write(data, last=last)
        except asyncio.CancelledError:
            if self._reason != "write_stall":
                raise
            self.absorb()
            self._client_left()
        self._writing_since = None
        self._quiet_since += self._loop.time() - since  # nobody read meanwhile, so it was not the provider's silence

    def watch_client(self) -> None:
        """Notice when the caller leaves; it interrupts the call where the attempt ends with its caller."""
        if self._departure is None:
            self._departure = spawn(self._await_departure(), name="departure")

    async def _await_departure(self) -> None:
        while (await self._exchange.receive())["type"] != "http.disconnect":
            continue
        self._client_left()

    def _client_left(self) -> None:
        self._exchange.is_gone = True
        if self._ends_with_client and not self._is_ending:
            self._interrupt("client_left")

    def _interrupt(self, reason: Reason) -> None:
        if self._reason is None and self._task is not None:
            self._reason = reason
            self._is_ending = reason != "write_stall"
            self._task.cancel()

    def _look(self) -> None:
        """Check every limit, then sleep until the nearest one."""
        now = self._loop.time()
        limits: list[tuple[float, Reason]] = []
        if self._writing_since is not None:
            limits.append((self._writing_since + numbers.WRITE_STALL_S, "write_stall"))
        elif not self._is_ending:
            limits.append((self._quiet_since + self._patience_s, "silence"))
        if not self._is_ending:
            limits.append((self._started + numbers.TOTAL_TIMEOUT_S, "total"))
        deadline = now + numbers.WRITE_STALL_S
        if limits:
            deadline, reason = min(limits)
            if deadline > now:
                self._is_suspect = False
            elif self._is_suspect:
                self._interrupt(reason)
            else:
                self._is_suspect = True
                self._timer = self._loop.call_later(SECOND_LOOK_S, self._look)
                return
        is_quiet = self._writing_since is None and not self._is_ending and not self._exchange.is_gone
        if self._send_comment is not None and is_quiet:
            due = self._last_sent + numbers.COMMENT_FRAME_EVERY_S
            if due <= now:
                self._last_sent = now
                _ = spawn(self._comment(self._send_comment), name="comment")
                due = now + numbers.COMMENT_FRAME_EVERY_S
            deadline = min(deadline, due)
        # What begins after this look must be found due in time too: a write that stalls, a stream to be kept alive.
        wake = min(max(deadline, now), now + numbers.WRITE_STALL_S, now + numbers.COMMENT_FRAME_EVERY_S)
        self._timer = self._loop.call_at(wake + TIMER_SLACK_S, self._look)

    async def _comment(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        if self._timer is not None and not self._is_ending:  # else the answer's end came before this task's turn
            await send(COMMENT_FRAME)
