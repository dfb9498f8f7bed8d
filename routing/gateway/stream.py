"""stream: frames -> client. Whole frames pass as bytes; what closes the answer waits for its settlement.

The frame that ends a choice is held back: if nothing follows but the provider's usage, it is the one that carries
`usage` and `x_komilion` (or the extra usage frame does, where the client asked for one), and it leaves only after the
charge is durable. Errors after the first byte are an event, never a truncated answer dressed as success.
"""

import asyncio
from typing import Any

import orjson

from billing.ledger.committer import Committer
from komilion.common.clock import monotonic_s, unix_s
from komilion.common.errors import KomilionError, LedgerUnavailable, ProviderError, Unavailable, error_body
from komilion.common.failpoints import failpoint
from komilion.common.http_client import HttpError
from komilion.common.tasks import spawn
from komilion.common.usage import Usage, UsageSource
from routing.gateway.call import UpstreamResponse, time_is_up
from routing.gateway.exchange import Exchange, Headers
from routing.gateway.meter import Meter
from routing.gateway.notes import annotate, origin_headers
from routing.gateway.recording import Composed
from routing.gateway.reserve import Extension, extend, is_metered
from routing.gateway.settle import Settlement
from routing.gateway.types import Outcome, Settled
from routing.gateway.watch import Reason, Watch
from routing.providers.base import Closing, Ended, Failed, Frames, Identity, StreamEvent
from routing.providers.scrub import scrub

SSE_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
DONE = b"data: [DONE]\n\n"


MOST_OVER_CEILING = 4  # our count of a token is four bytes; no model writes four times as much in one
FEW_TOKENS = 256


class Stopped(Exception):
    """The answer ends here, by us; what was delivered is charged. `args`: the outcome, and why for the client."""


class Stream:
    """Relays one streamed answer."""

    def __init__(
        self,
        exchange: Exchange,
        upstream: UpstreamResponse,
        settlement: Settlement,
        watch: Watch,
        committer: Committer,
    ) -> None:
        self.exchange = exchange
        self.settlement = settlement
        self.reserved = settlement.reserved
        self.attempt = upstream.attempt
        self.meter = Meter(upstream.attempt, settlement.reserved)
        self._response = upstream.response
        self._watch = watch
        self._committer = committer
        self._is_v1 = exchange.path.startswith("/v1/")
        self._secret = upstream.attempt.offer.target.api_key.encode()
        self._decoder = upstream.attempt.offer.dialect.chat_stream(
            Identity(exchange.request_id, upstream.attempt.offer.model_id)
        )
        self._closing: list[dict[str, Any]] = []  # finish frames, held back
        self._finished = False
        self._is_complete = False  # finished, and the usage came with the end or after it
        self._extension: asyncio.Task[Extension] | None = None
        self._ask_again_at = 0  # counted output tokens
        self._may_extend = is_metered(upstream.attempt)
        self._recording = settlement.reserved.recording

    async def relay(self) -> None:
        """From the first frame to the settled end. Raises what happened before the first byte was sent."""
        self._watch.send_comments(self._send_comment)
        try:
            await self._pump()
        except asyncio.CancelledError:
            await self._interrupted(self._watch.absorb())
            return
        except Stopped as stop:
            self._response.close()
            await self._end(stop.args[0], self.meter.estimated(), "estimated", stopped=stop.args[1])
            return
        except (HttpError, TimeoutError) as error:
            await self.fail(ProviderError(f"{self.attempt.offer.provider} broke off its answer."), error)
            return
        except KomilionError as error:
            await self.fail(error, error)
            return
        if self._finished:
            await self._end("completed", *self.meter.final(self.exchange.request_id))
        else:
            await self.fail(ProviderError("The provider's answer ended before it was finished."), None)

    async def _pump(self) -> None:
        """Read until the provider says it is done."""
        while True:
            data = await self._response.read_some()
            if not data:
                for event in self._decoder.close():
                    await self._take(event)
                return
            for event in self._decoder.feed(data):
                if isinstance(event, Ended):
                    return
                await self._take(event)
            if self._is_complete:
                return  # everything is known; nobody has to wait for `[DONE]`

    async def _take(self, event: StreamEvent) -> None:
        if isinstance(event, Frames):
            if event.count:
                self._content(event.count, event.output_bytes)
            elif self._finished and self.attempt.chat.choices == 1:
                return  # nothing but, say, `"usage": null`: the finish frame is still the last
            await self._flush_closing()
            await self._send(event.data)
            await self._extend_in_time()
        elif isinstance(event, Closing):
            await self._take_closing(event)
        elif isinstance(event, Failed):
            raise event.error

    async def _take_closing(self, event: Closing) -> None:
        if event.count:
            self._content(event.count, event.output_bytes)
        if event.report is not None:
            self.meter.report = event.report
        self._finished = self._finished or event.finished
        choices = event.chunk.get("choices")
        if event.report is not None and self._finished:
            # Of several choices others may still run, unless usage has a frame of its own.
            self._is_complete = not choices or self.attempt.chat.choices == 1
        if choices:
            await self._flush_closing()
            self._closing.append(event.chunk)
            if not self._finished:  # a content frame that reports usage so far
                await self._flush_closing()
                await self._extend_in_time()

    def _content(self, frames: int, output_bytes: int) -> None:
        if self.settlement.progress.first_content_s is None:
            self.settlement.progress.first_content_s = monotonic_s()
        self.meter.count(frames, output_bytes)
        self._watch.content_came()

    async def _flush_closing(self) -> None:
        """A finish frame that something follows was not the last one: it leaves as it came."""
        for chunk in self._closing:
            chunk.pop("usage", None)
            await self._send(_frame(chunk))
        self._closing.clear()

    async def _start(self) -> None:
        """Send the head, once."""
        if not self.exchange.started:
            failpoint("first-byte")
            await self.exchange.start(200, self._head())

    def _head(self) -> Headers:
        return [*SSE_HEADERS, *origin_headers(self.reserved, is_v1=self._is_v1)]

    async def _send(self, data: bytes) -> None:
        data = scrub(data, self._secret)
        if not self.exchange.is_gone:
            await self._start()
        if self._recording is not None:
            self._recording.add(data)
        if not self.exchange.is_gone:
            await self._watch.write(data)

    async def _send_comment(self, comment: bytes) -> None:
        await self._start()
        if self._recording is not None:
            self._recording.add(comment)
        await self.exchange.write(comment)

    async def _send_last(self, data: bytes) -> None:
        """What closes the answer; it is recorded already."""
        if self.exchange.is_gone:
            return
        await self._start()
        await self._watch.write(data)
        await self._watch.write(b"", last=True)

    # money while it runs

    async def _extend_in_time(self) -> None:
        """Ask for the next part of the hold when half of this one is used; stop when it is used up in vain.

        A provider that keeps no limit at all is stopped too: what is beyond the ceiling nobody has paid for.
        """
        used = self.meter.counted_output
        reserved = self.reserved
        if used > self.attempt.output_ceiling * MOST_OVER_CEILING + FEW_TOKENS:
            raise Stopped("completed", "max_tokens")
        if not self._may_extend:
            return
        while used * 2 >= reserved.held_output and reserved.held_output < self.attempt.output_ceiling:
            if self._extension is None:
                if used < self._ask_again_at:
                    return
                asking = extend(reserved, used, self.exchange.request_id, self._committer)
                self._extension = spawn(asking, name="extend")
            if used < reserved.held_output and not self._extension.done():
                return
            extension = await self._extension
            self._extension = None
            if extension != "granted":
                if used >= reserved.held_output:
                    if extension == "unavailable":
                        raise LedgerUnavailable
                    raise Stopped(extension, extension)
                self._ask_again_at = (used + reserved.held_output + 1) // 2  # not with every frame
                return

    # the end

    async def _end(self, outcome: Outcome, usage: Usage, source: UsageSource, *, stopped: str | None = None) -> None:
        """Settle, then send the last frames."""
        self._watch.wind_up()
        frames = self._closing or [self._bare_chunk("length" if stopped else None)]
        for chunk in frames:
            chunk.pop("usage", None)
        if self.attempt.chat.include_usage:
            frames = [*frames, {**self._bare_chunk(None), "choices": []}]
        if source == "provider" and self.meter.report is not None:
            frames[-1]["usage"] = self.meter.report.raw
        await self._send_last(await self._conclude(outcome, usage, source, frames, stopped))
        failpoint("last-byte")

    async def fail(self, error: KomilionError, cause: BaseException | None, *, is_stop: bool = False) -> None:
        """The answer broke off. Nothing sent: the error becomes a status. Else an error event, and a settled bill."""
        self._watch.wind_up()
        usage = Usage()
        source: UsageSource = "absent"
        outcome: Outcome = "provider_failed"
        if self.meter.frames:
            usage, source, outcome = self.meter.estimated(), "estimated", "provider_cut"
        if is_stop:
            outcome = "server_stopped"
        if not self.meter.frames:  # nothing that anybody would want again
            await self._settle(outcome, usage, source)
            if not self.exchange.started:
                raise error from cause
        chunk = self._bare_chunk("error")
        chunk |= error_body(error, self.exchange.path)
        await self._send_last(await self._conclude(outcome, usage, source, [chunk]))

    async def _interrupted(self, reason: Reason | None) -> None:
        """A time limit, a caller who left a provider that can be cancelled, or this server stopping (no reason)."""
        self._response.close()
        if reason == "client_left":
            await self._settle("client_left", self.meter.estimated(), "estimated")
        elif reason is None:
            await self.fail(Unavailable("This server is stopping; send the request again."), None, is_stop=True)
            raise asyncio.CancelledError
        else:
            await self.fail(time_is_up(self.exchange.path), None)

    async def _settle(self, outcome: Outcome, usage: Usage, source: UsageSource) -> Settled:
        """An extension still on its way comes first, so that the settlement releases all of the hold."""
        if self._extension is not None:
            await asyncio.wait({self._extension})
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
        if self._extension is not None:
            await asyncio.wait({self._extension})

        def compose(settled: Settled) -> Composed:
            annotate(frames[-1], self.reserved, settled, is_v1=self._is_v1, stopped=stopped)
            headers = [] if self._recording is None else self._head()
            return headers, scrub(b"".join(map(_frame, frames)) + DONE, self._secret)

        return (await self.settlement.conclude(outcome, usage, source, compose))[1]

    def _bare_chunk(self, finish_reason: str | None) -> dict[str, Any]:
        return {
            "id": self.exchange.request_id,
            "object": "chat.completion.chunk",
            "created": unix_s(),
            "model": self.attempt.offer.model_id,
            "choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}],
        }


def _frame(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
