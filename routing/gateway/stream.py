"""stream: frames -> client. Whole frames pass as bytes; what closes the answer waits for its settlement.

The frame that ends a choice is held back: if nothing follows but the provider's usage, it is the one that carries
`usage` and `x_komilion` (or the extra usage frame does, where the client asked for one), and it leaves only after the
charge is durable. An answer that breaks off goes on with the next attempt: before any content with its frames, after
content where they repeat what was delivered (`joining`). Else the error is an event, never a truncated answer dressed
as success.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

from billing.ledger.committer import Committer
from komilion.common.clock import monotonic_s, unix_s
from komilion.common.errors import KomilionError, ProviderError, Unavailable, error_body
from komilion.common.failpoints import failpoint
from komilion.common.http_errors import HttpError
from komilion.common.usage import Usage, UsageSource
from routing.gateway.call import AttemptFailed, NotSent, UpstreamResponse, time_is_up
from routing.gateway.calls import Calls
from routing.gateway.exchange import Exchange
from routing.gateway.funds import Funds, Stopped
from routing.gateway.joining import Delivered, Diverged, Joiner
from routing.gateway.notes import annotate
from routing.gateway.outlet import Outlet
from routing.gateway.progress import Try, finish_reason_of
from routing.gateway.reading import Reading, frame_of
from routing.gateway.recording import Composed
from routing.gateway.reserve import take_up
from routing.gateway.settle import Settlement
from routing.gateway.types import Outcome, Settled
from routing.gateway.verdicts import DIVERGED, VERDICTS, kind_of
from routing.gateway.watch import Interrupted, Reason, Watch

DONE = b"data: [DONE]\n\n"
TOO_LATE = frozenset({"provider_timeout", "request_timeout"})
NOT_JOINED = "The provider broke off its answer, and no other could be joined to it."


class Stream:
    """Relays one streamed answer, by as many attempts as it takes."""

    def __init__(
        self, exchange: Exchange, calls: Calls, settlement: Settlement, watch: Watch, committer: Committer
    ) -> None:
        self.exchange = exchange
        self.settlement = settlement
        self.reserved = settlement.reserved
        self._calls = calls
        self.watch = watch
        self._outlet = Outlet(exchange, settlement.reserved, watch)
        self.funds = Funds(settlement.reserved, exchange.request_id, committer)
        self._reading: Reading | None = None
        self._owner: Try | None = None  # whose content the client has; it is charged unless another one goes on with it
        self._delivered = Delivered() if settlement.reserved.attempt.chat.choices == 1 else None

    async def relay(self) -> None:
        """From the first frame to the settled end. Raises what happened before the first byte was sent."""
        self.watch.send_comments(self._outlet.send_comment)
        self._calls.is_resumable = self._is_resumable
        try:
            reading = await self._calls.run(self._read)
        except Stopped as stop:
            tried = self._charge_owner() or self.settlement.progress.tries[-1]
            await self._end(stop.outcome, tried.meter.estimated(), "estimated", stopped=stop.reason)
        except (Interrupted, asyncio.CancelledError) as error:
            await self._interrupted(error.reason if isinstance(error, Interrupted) else self.watch.absorb())
        except NotSent as error:
            if not self.exchange.started:
                raise
            await self._fail(error.error, error)
        except KomilionError as error:
            await self._fail(self._told(error), error)
        else:
            await self._end("completed", *reading.meter.final(self.exchange.request_id))

    def _told(self, error: KomilionError) -> KomilionError:
        """The answer broke off; how it went with others that could have gone on with it is of no use to the caller."""
        owner = self._owner
        if owner is None or self.settlement.progress.tries[-1] is owner or kind_of(error) not in VERDICTS:
            return error
        return time_is_up(self.exchange.path) if owner.note["error"] in TOO_LATE else ProviderError(NOT_JOINED)

    def _is_resumable(self) -> bool:
        """Whether another attempt could go on with what was delivered."""
        return self._owner is None or (self._delivered is not None and self._delivered.text is not None)

    async def _read(self, upstream: UpstreamResponse) -> Reading:
        """One answer, to the end that the provider says it has. Raises what its failing means."""
        self._outlet.forget()
        joiner = None if self._owner is None else Joiner(self._text())
        reading = self._reading = Reading(upstream, self.exchange.request_id, self, joiner)
        try:
            await self._read_to_the_end(reading)
        except Diverged as error:
            raise AttemptFailed(DIVERGED, ProviderError(NOT_JOINED), is_abandoned=True) from error
        finally:
            if reading.skipped:
                reading.tried.note["skipped_events"] = reading.skipped
        if not reading.finishes:
            raise ProviderError("The provider's answer ended before it was finished.")
        return reading

    async def _read_to_the_end(self, reading: Reading) -> None:
        """What goes wrong when every choice has ended does no harm: only the usage may be missing."""
        try:
            await reading.read()
        except (HttpError, TimeoutError):
            if not reading.is_finished:
                raise
        except asyncio.CancelledError:
            if not (reading.is_finished and self.watch.absorb_silence()):
                raise

    def _text(self) -> str:
        """What the client has, of an answer that can be gone on with."""
        text = None if self._delivered is None else self._delivered.text
        assert text is not None, "nothing follows what cannot be joined"
        return text

    # what `Reading` tells

    def deliver(self, reading: Reading, frames: bytes) -> Awaitable[None]:
        """Frames for the client."""
        self._owner = reading.tried
        if self._delivered is not None:
            self._delivered.add(frames)
        return self._outlet.send(frames)

    def keep(self, frames: bytes) -> None:
        """Frames that wait for the first content."""
        self._outlet.keep(frames)

    def content_began(self) -> None:
        """The provider is there."""
        if self.settlement.progress.first_content_s is None:
            self.settlement.progress.first_content_s = monotonic_s()
        self._calls.answered()

    def join(self, reading: Reading) -> None:
        """From here on the client gets this answer."""
        assert self._owner is not None, "nothing was delivered"
        offer, length = self._owner.attempt.offer, len(self._text())
        self.reserved.joins.append({"model": offer.model_id, "provider": offer.provider, "characters": length})
        self._owner = reading.tried

    # the end

    async def _end(self, outcome: Outcome, usage: Usage, source: UsageSource, *, stopped: str | None = None) -> None:
        """Settle, then send the last frames."""
        self.watch.wind_up()
        reading = self._reading
        assert reading is not None, "an end without a beginning"
        frames = ([] if stopped else reading.closing) or [self._bare_chunk("length" if stopped else None)]
        for chunk in frames:
            chunk.pop("usage", None)
        self.settlement.progress.finish_reason = finish_reason_of(frames)
        if self.reserved.attempt.chat.include_usage:
            frames = [*frames, {**self._bare_chunk(None), "choices": []}]
        if source == "provider" and reading.meter.report is not None:
            frames[-1]["usage"] = reading.meter.report.raw
        await self._outlet.send_last(await self._conclude(outcome, usage, source, frames, stopped))
        failpoint("last-byte")

    async def _fail(self, error: KomilionError, cause: BaseException | None, *, is_stop: bool = False) -> None:
        """The answer broke off. Nothing sent: the error becomes a status. Else an error event, and a settled bill."""
        self.watch.wind_up()
        self._outlet.forget()
        usage = Usage()
        source: UsageSource = "absent"
        outcome: Outcome = "provider_failed"
        owner = self._charge_owner()
        if owner is not None:
            usage, source, outcome = owner.meter.estimated(), "estimated", "provider_cut"
        if is_stop:
            outcome = "server_stopped"
        if owner is None:  # nothing that anybody would want again
            await self._settle(outcome, usage, source)
            if not self.exchange.started:
                raise error from cause
        chunk = self._bare_chunk("error")
        chunk |= error_body(error, self.exchange.path)
        await self._outlet.send_last(await self._conclude(outcome, usage, source, [chunk]))

    def _charge_owner(self) -> Try | None:
        """What was delivered is what is charged, whichever attempt ran last."""
        owner = self._owner
        if owner is not None and self.reserved.attempt is not owner.attempt:
            take_up(self.reserved, owner.attempt)
        self.settlement.progress.charged = owner
        return owner

    async def _interrupted(self, reason: Reason | None) -> None:
        """A time limit, a caller who left a provider that can be cancelled, or this server stopping (no reason)."""
        if reason == "client_left":
            tried = self._charge_owner()
            if tried is None:
                reading = self._reading
                if reading is None or reading.tried is not self.settlement.progress.tries[-1]:
                    raise Interrupted(reason)  # before the provider began to answer
                tried = reading.tried
            await self._settle("client_left", tried.meter.estimated(), "estimated")
        elif reason is None:
            await self._fail(Unavailable("This server is stopping; send the request again."), None, is_stop=True)
            raise asyncio.CancelledError
        else:
            await self._fail(time_is_up(self.exchange.path), None)

    async def _settle(self, outcome: Outcome, usage: Usage, source: UsageSource) -> Settled:
        """An extension still on its way comes first, so that the settlement releases all of the hold."""
        await self.funds.rest()
        return await self.settlement.settle(outcome, usage, source)

    async def _conclude(
        self,
        outcome: Outcome,
        usage: Usage,
        source: UsageSource,
        frames: list[dict[str, Any]],
        stopped: str | None = None,
    ) -> bytes:
        """Settle; returns the closing frames, the last of which has the bill."""
        await self.funds.rest()
        recording = self.reserved.recording
        is_v1 = self.exchange.path.startswith("/v1/")

        def compose(settled: Settled) -> Composed:
            annotate(frames[-1], self.reserved, settled, is_v1=is_v1, stopped=stopped)
            headers = [] if recording is None else self._outlet.head()
            return headers, self._outlet.scrub(b"".join(map(frame_of, frames)) + DONE)

        return (await self.settlement.conclude(outcome, usage, source, compose))[1]

    def _bare_chunk(self, finish_reason: str | None) -> dict[str, Any]:
        return {
            "id": self.exchange.request_id,
            "object": "chat.completion.chunk",
            "created": unix_s(),
            "model": self.reserved.attempt.offer.model_id,
            "choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}],
        }
