"""Whether a request may come in: counted for the whole installation in Redis, in batches, by window.lua.

What arrives in one tick of the event loop, or while a call is on its way, goes into the next call; there is
never more than one on its way. A call costs a process some 50 us of CPU however many requests it decides, so
this is what makes a limit on every request affordable.

    admit, release -> queue -> one call -> verdicts       Redis answers
                   -> local windows (limit / WORKERS)     Redis is gone; a background task tries again

Slots of running calls are sent as totals ("this process occupies 3 in org:12"), never as +1 and -1, so no count
can go below zero, and one that Redis forgot is repaired by the next. With every connection the process takes a
new name, declares its old name dead and sends all its totals: a call that was given up during an outage and is
carried out late, after newer ones, then changes what nobody counts any more.
"""

import asyncio
import contextlib
import hashlib
import logging
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import cast

import hiredis
import orjson

from komilion.common.clock import monotonic_s
from komilion.common.redis import PREFIX
from routing.limits.admission import VERDICT_LENGTH, Admission, Refusal, Scope, read_verdict
from routing.limits.local import LocalWindows
from routing.limits.wire import Reply, Wire, WireError, open_wire, pack

__all__ = ["Admission", "Limiter", "Refusal", "Scope"]

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("window.lua").read_bytes().replace(b"komilion:", PREFIX.encode())
SCRIPT_SHA = hashlib.sha1(SCRIPT, usedforsecurity=False).hexdigest()

BATCH_ADMITS = 128
BATCH_SCOPES = 256  # rows with nothing to admit: releases, and slots registered again after an outage
CALL_TIMEOUT_S = 0.1
# uvloop runs timers before it reads sockets: after a stall of this process an answer may be waiting there,
# unread.
CALL_GRACE_S = 0.005
CONNECT_TIMEOUT_S = 0.5
PROBE_EVERY_S = 0.5
# One call a moment for everybody costs a busy process a third of the CPU of one call each. A quiet one does not wait.
BUSY_GAP_S = 0.002
QUIET_CALLS = 4
RELEASE_DELAY_S = 0.005
BEAT_EVERY_S = 2.0  # window.lua takes a process for dead after 10 s
CLOSE_TIMEOUT_S = 1.0


@dataclass(slots=True)
class _Waiter:
    scopes: tuple[Scope, ...]
    tokens: int
    slots: int
    verdict: asyncio.Future[Admission]


@dataclass(slots=True)
class _Batch:
    """One call: rows of scopes and the admits that point into them, in the form that window.lua reads."""

    alive: bool
    rows: list[list[object]] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)  # scope id -> index of its row, from 1
    admits: list[list[int]] = field(default_factory=list)
    waiters: list[_Waiter] = field(default_factory=list)

    def payload(self) -> bytes:
        return orjson.dumps((self.rows, self.admits))


class Limiter:
    """Limits of callers, shared by all processes that talk to the same Redis. For one event loop, not threads.

    `process_id` is the readable part of this process's name in Redis. `workers` is the number of processes that
    share the limits while Redis is gone. `clock_ms` replaces both clocks (the server's and the local one) in
    tests; nothing else may give it.
    """

    def __init__(self, url: str, process_id: str, workers: int, *, clock_ms: Callable[[], int] | None = None) -> None:
        self._url = url
        self._process_id = process_id
        self._process = process_id  # with a random part that changes with every connection
        self._clock_ms = clock_ms
        self._local = LocalWindows(workers)
        self._held: dict[str, int] = {}  # scope id -> slots in use by requests of this process
        # Scope id -> token corrections [second, change, ...] not yet sent. A scope stands here, perhaps with none,
        # while the slots that Redis knows of may differ from `_held`; not while Redis is gone.
        self._unsent: dict[str, list[int]] = {}
        self._queue: deque[_Waiter] = deque()
        self._in_flight: _Batch | None = None
        self._running = 0  # calls that were admitted and not released yet
        self._timer: asyncio.TimerHandle | None = None  # of the next call
        self._timer_due = 0.0
        self._called_at = 0.0
        self._beat_due = True
        self._deadline: asyncio.TimerHandle | None = None
        self._wire: Wire | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._quiet = asyncio.Event()  # nothing is queued, unsent or on its way, or Redis is gone
        self._degraded = True
        self._catalog_version = 0

    @property
    def degraded(self) -> bool:
        """Redis is gone and this process decides on its own (also before `start` and after `close`)."""
        return self._degraded

    @property
    def catalog_version(self) -> int:
        """The catalogue version in the last answer; at most `BEAT_EVERY_S` old while not degraded."""
        return self._catalog_version

    async def start(self) -> None:
        """Connect, then keep the connection. A Redis that is not there is no error: `degraded` says so."""
        await self._open()
        if self._degraded:
            logger.warning("Redis is not there; every process limits its share on its own")
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="limiter")

    async def close(self) -> None:
        """Send the releases that are still here (for at most `CLOSE_TIMEOUT_S`), then hang up."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._settle()
        self._hang_up()

    async def admit(self, scopes: tuple[Scope, ...], tokens: int, *, slots: int = 1) -> Admission:
        """Take one request, `tokens` and one parallel slot in every scope, or nothing in any. Never raises.

        `slots` is 0 for what runs in a slot that was taken before, such as an answer of a session that has one.
        What was admitted must be released exactly once. A caller that is cancelled while it waits holds
        nothing, but its request may count in the window.
        """
        if self._degraded:
            return self._admit_locally(scopes, tokens, slots)
        verdict: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiter(scopes, tokens, slots, verdict))
        self._schedule()
        try:
            return await verdict
        except asyncio.CancelledError:
            if not verdict.cancelled():  # it was decided between the cancellation and this line
                self.release(scopes, verdict.result(), tokens, 0)
            raise

    def release(self, scopes: tuple[Scope, ...], admission: Admission, reserved_tokens: int, used_tokens: int) -> None:
        """Free the slots and count `used_tokens` instead of `reserved_tokens`, in the second they were
        reserved in.

        Never blocks and never raises; what was refused is ignored. Tokens whose second has left the window,
        or that were counted on the other side of an outage, stay as they were reserved: that ends within 61
        s.
        """
        if not admission.allowed:
            return
        self._running -= 1
        for scope in scopes:
            left = self._held.get(scope.id, 0) - admission.slots
            if left > 0:
                self._held[scope.id] = left
            else:
                self._held.pop(scope.id, None)
        change = used_tokens - reserved_tokens
        if admission.degraded:
            self._local.correct(scopes, admission.second, change)
            change = 0
        if not self._degraded:
            self._note_unsent(scopes, admission.second, change)
            self._schedule()

    def _note_unsent(self, scopes: tuple[Scope, ...], second: int, change: int) -> None:
        for scope in scopes:
            corrections = self._unsent.setdefault(scope.id, [])
            if change:
                corrections += (second, change)

    def _schedule(self) -> None:
        """Have the next call made soon: what waits for an answer goes at the end of this tick, or, in a busy process,
        a moment after the last call; slots that are given back can wait a little longer for company.
        """
        if self._wire is None or self._in_flight is not None:
            return
        loop = asyncio.get_running_loop()
        delay_s = 0.0
        if not self._queue and not self._beat_due:
            delay_s = RELEASE_DELAY_S
        elif self._running > QUIET_CALLS:
            delay_s = max(0.0, self._called_at + BUSY_GAP_S - loop.time())
        due = loop.time() + delay_s
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = loop.call_later(delay_s, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._wire is None or self._in_flight is not None:
            return  # gone meanwhile, or on its way: its answer comes back here
        if not (self._queue or self._unsent or self._beat_due):
            self._quiet.set()
            return
        self._quiet.clear()
        batch = self._next_batch()
        if not (batch.rows or batch.alive):
            self._quiet.set()  # all that was queued has been cancelled
            return
        self._in_flight = batch
        self._called_at = asyncio.get_running_loop().time()
        self._deadline = asyncio.get_running_loop().call_later(CALL_TIMEOUT_S, self._suspect)
        self._call("EVALSHA", SCRIPT_SHA)

    def _next_batch(self) -> _Batch:
        batch = _Batch(alive=self._beat_due)
        self._beat_due = False
        while self._queue and len(batch.admits) < BATCH_ADMITS:
            waiter = self._queue.popleft()
            if not waiter.verdict.done():  # cancelled before it was asked: nothing to ask
                rows = (self._row_of(batch, scope) for scope in waiter.scopes)
                batch.admits.append([waiter.tokens, waiter.slots, *rows])
                batch.waiters.append(waiter)
        for scope_id in list(islice(self._unsent, BATCH_SCOPES)):
            batch.rows.append([scope_id, self._held.get(scope_id, 0), self._unsent.pop(scope_id)])
            batch.positions[scope_id] = len(batch.rows)
        return batch

    def _row_of(self, batch: _Batch, scope: Scope) -> int:
        """Index of the scope's row in the batch. Its limits are those of the first request in the batch."""
        position = batch.positions.get(scope.id)
        if position is None:
            limits = scope.limits
            batch.rows.append(
                [
                    scope.id,
                    self._held.get(scope.id, 0),
                    self._unsent.pop(scope.id, []),
                    limits.requests_per_minute,
                    limits.tokens_per_minute,
                    limits.parallel,
                    limits.burst_per_s,
                ]
            )
            position = batch.positions[scope.id] = len(batch.rows)
        return position

    def _call(self, command: str, script: str | bytes) -> None:
        assert self._wire is not None
        assert self._in_flight is not None
        batch = self._in_flight
        clock = () if self._clock_ms is None else (self._clock_ms(),)
        words = (command, script, 0, self._process, int(batch.alive), batch.payload(), *clock)
        self._wire.send(pack(*words), self._answered)

    def _answered(self, reply: Reply) -> None:
        batch = self._in_flight
        assert batch is not None
        if isinstance(reply, hiredis.ReplyError):
            if str(reply).startswith("NOSCRIPT"):
                self._call("EVAL", SCRIPT)  # a Redis that was restarted or flushed; the same deadline holds
            else:
                self._fail(str(reply))
            return
        self._stop_clock()
        self._in_flight = None
        numbers = cast("list[int]", reply)
        self._catalog_version, second, unknown = numbers[:3]
        if self._degraded:
            self._degraded = False
            logger.info("limits are counted in Redis")
        if unknown:  # a new connection, or Redis was emptied or took us for dead: tell it all slots
            for scope_id in self._held:
                self._unsent.setdefault(scope_id, [])
        for waiter, start in zip(batch.waiters, range(3, len(numbers), VERDICT_LENGTH), strict=True):
            verdict = numbers[start : start + VERDICT_LENGTH]
            self._settle_waiter(waiter, verdict, second)
        self._rest()

    def _rest(self) -> None:
        """Go on with what came meanwhile, or note that nothing did."""
        if self._queue or self._unsent or self._beat_due:
            self._schedule()
        else:
            self._quiet.set()

    def _settle_waiter(self, waiter: _Waiter, verdict: list[int], second: int) -> None:
        version, slots = self._catalog_version, waiter.slots
        admission = read_verdict(verdict, second=second, catalog_version=version, degraded=False, slots=slots)
        if waiter.verdict.cancelled():
            if admission.allowed:  # Redis counts a slot that nobody holds, and tokens that nobody will use
                self._note_unsent(waiter.scopes, second, -waiter.tokens)
            return
        if admission.allowed:
            self._hold(waiter.scopes, waiter.slots)
        waiter.verdict.set_result(admission)

    def _hold(self, scopes: tuple[Scope, ...], slots: int) -> None:
        self._running += 1
        if slots:
            for scope in scopes:
                self._held[scope.id] = self._held.get(scope.id, 0) + slots

    def _admit_locally(self, scopes: tuple[Scope, ...], tokens: int, slots: int) -> Admission:
        now_ms, version = self._now_ms(), self._catalog_version
        verdict = self._local.admit(scopes, tokens, self._held if slots else None, now_ms)
        admission = read_verdict(verdict, second=now_ms // 1000, catalog_version=version, degraded=True, slots=slots)
        if admission.allowed:
            self._hold(scopes, slots)
        return admission

    def _now_ms(self) -> int:
        return self._clock_ms() if self._clock_ms is not None else int(monotonic_s() * 1000)

    def _suspect(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(
            CALL_GRACE_S, self._fail, f"no answer in {CALL_TIMEOUT_S} s"
        )

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _fail(self, reason: str) -> None:
        """Hang up and decide everything that waits here, now."""
        if not self._degraded:
            logger.warning("Redis is gone (%s); every process limits its share on its own", reason)
        self._hang_up()
        self._lost.set()

    def _hang_up(self) -> None:
        self._degraded = True
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        self._stop_clock()
        batch, self._in_flight = self._in_flight, None
        waiters = list(self._queue)
        self._queue.clear()
        if batch is not None:
            waiters = batch.waiters + waiters
        self._unsent.clear()  # `_open` begins anew, and corrections may be too old by then
        for waiter in waiters:
            if not waiter.verdict.done():
                waiter.verdict.set_result(self._admit_locally(waiter.scopes, waiter.tokens, waiter.slots))
        self._quiet.set()

    async def _open(self) -> None:
        """Connect and make the first call; afterwards the limiter is degraded, or not."""
        try:
            wire = await open_wire(self._url, CONNECT_TIMEOUT_S, ("DEL", f"{PREFIX}alive:{self._process}"))
        except WireError as error:
            logger.debug("no connection to Redis: %s", error)
            return
        self._process = f"{self._process_id}.{secrets.token_hex(4)}"
        wire.on_lost = lambda: self._fail("the connection was closed")
        self._wire = wire
        self._beat_due = True
        self._local.forget_idle(self._now_ms())
        await self._settle()

    async def _settle(self) -> None:
        """Until nothing is unsent, or Redis is gone."""
        self._quiet.clear()
        self._schedule()
        if self._wire is not None:
            await self._quiet.wait()

    async def _keep(self) -> None:
        """Reconnect when the connection is lost; say every `BEAT_EVERY_S` that this process lives."""
        while True:
            if self._wire is None:
                await asyncio.sleep(PROBE_EVERY_S)
                await self._open()
                continue
            self._lost.clear()
            try:
                async with asyncio.timeout(BEAT_EVERY_S):
                    await self._lost.wait()
            except TimeoutError:
                self._beat_due = True
                self._schedule()
