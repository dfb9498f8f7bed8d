"""One upstream's streamed answer while it is read: events in, deliverable frames out.

What ends a choice is held back in `closing`. An answer that is to go on with a broken one is read unseen until it has
come to the place (`joining`).
"""

from collections.abc import Awaitable, Iterator
from typing import Any, Protocol

import orjson

from komilion.common.numbers import numbers
from routing.gateway.call import UpstreamResponse
from routing.gateway.funds import Funds, Stopped
from routing.gateway.joining import Diverged, Joiner, NotPlain, chunks_in, text_of
from routing.gateway.types import Reserved
from routing.gateway.watch import Watch
from routing.providers.base import Closing, Ended, Failed, Frames, Identity, StreamEvent

NOT_A_CHUNK = (KeyError, TypeError, AttributeError)


class Sink(Protocol):
    """Who takes what is read."""

    watch: Watch
    funds: Funds
    reserved: Reserved

    def deliver(self, reading: "Reading", frames: bytes) -> Awaitable[None]:
        """Whole frames for the client."""

    def keep(self, frames: bytes) -> None:
        """Frames without content, before the first content."""

    def content_began(self) -> None:
        """The provider wrote something, for the first time."""

    def join(self, reading: "Reading") -> None:
        """This answer goes on with the one that the client has a part of."""


class Reading:
    """Reads one open response into a sink."""

    __slots__ = (
        "_decoder",
        "_funds",
        "_has_delivered",
        "_joiner",
        "_reserved",
        "_response",
        "_sink",
        "_watch",
        "closing",
        "finishes",
        "is_complete",
        "is_finished",
        "meter",
        "tried",
    )

    def __init__(self, upstream: UpstreamResponse, request_id: str, sink: Sink, joiner: Joiner | None) -> None:
        offer = upstream.attempt.offer
        self.tried = upstream.tried
        self.meter = upstream.tried.meter
        self.closing: list[dict[str, Any]] = []  # finish frames, held back
        self.finishes = 0
        self.is_finished = False  # the provider has ended every choice
        self.is_complete = False  # finished, and the usage came with the end or after it
        self._response = upstream.response
        self._decoder = offer.dialect.chat_stream(Identity(request_id, offer.model_id))
        self._sink = sink
        self._watch = sink.watch
        self._funds = sink.funds
        self._reserved = sink.reserved
        self._joiner = joiner  # until the place is found
        self._has_delivered = False

    @property
    def skipped(self) -> int:
        """Malformed events that were left out."""
        return self._decoder.skipped

    async def read(self) -> None:
        """To the end that the provider says it has. Raises what its failing means, or `Diverged`."""
        while data := await self._response.read_some():
            for event in self._decoder.feed(data):
                if isinstance(event, Ended):
                    return
                await self._take(event)
            if self.is_complete:
                return  # everything is known; nobody has to wait for `[DONE]`
            if self.is_finished:
                self._watch.expect_the_end(numbers.USAGE_WAIT_S)
        for event in self._decoder.close():
            await self._take(event)

    async def _take(self, event: StreamEvent) -> None:
        if isinstance(event, Frames):
            if event.count:
                self._count(event)
            elif self.is_finished:
                return  # nothing but, say, `"usage": null`: the finish frame is still the last
            if self.closing:
                await self._flush_closing()
            if self._joiner is not None:
                await self._align(event.data)
            elif event.count or self._has_delivered:
                self._has_delivered = True
                await self._sink.deliver(self, event.data)
            else:
                self._sink.keep(event.data)
            if self.meter.counted_output * 2 >= self._reserved.held_output:
                await self._cover()
        elif isinstance(event, Closing):
            await self._take_closing(event)
        elif isinstance(event, Failed):
            raise event.error

    async def _cover(self) -> None:
        """Raises `Stopped` where nobody pays for more; what nobody has seen yet cannot be ended well, though."""
        try:
            await self._funds.cover(self.meter.counted_output)
        except Stopped as stop:
            if self._joiner is not None:
                raise Diverged from stop
            raise

    async def _take_closing(self, event: Closing) -> None:
        if event.count:
            self._count(event)
        if event.report is not None:
            self.meter.report = event.report
        choices = event.chunk.get("choices")
        if event.finished:
            self.finishes += sum(bool(choice.get("finish_reason")) for choice in event.chunk["choices"])
            self.is_finished = self.finishes >= self.tried.attempt.chat.choices
        if event.report is not None and self.finishes:
            # Of several choices others may still run, unless usage has a frame of its own.
            self.is_complete = not choices or self.is_finished
        if not choices:
            return
        await self._flush_closing()
        if self._joiner is not None and not self._align_closing(self._joiner, event):
            return
        self.closing.append(event.chunk)
        if not self.finishes:  # a content frame that reports usage so far
            await self._flush_closing()
            await self._cover()

    def _count(self, event: Frames | Closing) -> None:
        if not self.meter.frames:
            self._sink.content_began()
        self.meter.count(event.count, event.output_bytes)
        self._watch.content_came()

    async def _flush_closing(self) -> None:
        """A finish frame that something follows was not the last one: it leaves as it came."""
        for chunk in self.closing:
            chunk.pop("usage", None)
            await self._deliver(frame_of(chunk))
        self.closing.clear()

    async def _deliver(self, frames: bytes) -> None:
        self._has_delivered = True
        await self._sink.deliver(self, frames)

    # going on with an answer that broke off

    async def _align(self, frames: bytes) -> None:
        """Look in these frames for the place where the other answer broke off; what is behind it is delivered."""
        try:
            out = b"".join(map(frame_of, self._behind_the_place(frames)))
        except (NotPlain, *NOT_A_CHUNK) as error:
            raise Diverged from error
        if out:
            await self._deliver(out)

    def _behind_the_place(self, frames: bytes) -> Iterator[dict[str, Any]]:
        for chunk in chunks_in(frames):
            if self._joiner is None:
                yield chunk
            elif (rest := self._joiner.feed(text_of(chunk))) is not None:
                self._join()
                yield _with_text(chunk, rest)

    def _align_closing(self, joiner: Joiner, event: Closing) -> bool:
        """The same in a frame that ends the answer or reports usage; whether any of it is to be delivered."""
        try:
            rest = joiner.feed(text_of(event.chunk))
        except (NotPlain, *NOT_A_CHUNK) as error:
            raise Diverged from error
        if rest is None:
            if not event.finished:
                return False
            joiner.finish()
        self._join()
        _with_text(event.chunk, rest or "")
        return True

    def _join(self) -> None:
        self._joiner = None
        self._sink.join(self)


def _with_text(chunk: dict[str, Any], text: str) -> dict[str, Any]:
    """The chunk of one choice, with this text instead of its own and without a second role."""
    for choice in chunk["choices"]:
        choice["delta"] = {"content": text} if text else {}
    return chunk


def frame_of(chunk: dict[str, Any]) -> bytes:
    """A chunk as an event."""
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
