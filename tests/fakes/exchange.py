"""One call being answered by the scripted upstream: its bytes, its pauses, its end.

The entry in the journal is closed before the bytes that complete the answer are written, so whoever has
received an answer finds it in the journal.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle
from random import Random

from tests.fakes import frames, wire
from tests.fakes.journal import Call, Journal, Outcome, Tokens
from tests.fakes.replies import Cut, Reply, tokens_for

EVENT_STREAM = {"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"}
RANDOM_PIECE_BYTES = 64


class Exchange:
    """The call, the script for it, and the connection to write to."""

    def __init__(
        self,
        call: Call,
        reply: Reply,
        transport: asyncio.Transport,
        drain: Callable[[], Awaitable[None]],
        journal: Journal,
        trap_url: str,
    ) -> None:
        self.call = call
        self.reply = reply
        self.trap_url = trap_url
        self._transport = transport
        self._drain = drain
        self._journal = journal
        self._generated = Tokens()  # what the provider would bill if the gateway left now
        call.whole = tokens_for(reply, call, frames.choices_of(call))
        call.overrun = reply.overrun is not None

    async def send(self, data: bytes) -> None:
        """Write, and wait while the gateway does not read."""
        self._transport.write(data)
        await asyncio.sleep(0)  # even where the gateway reads everything, its leaving must be noticed
        await self._drain()

    async def pause(self, seconds: float) -> None:
        """Let time pass; ends at once when the gateway leaves."""
        if seconds:
            await asyncio.sleep(seconds)

    def finish(self, outcome: Outcome, billed: Tokens | None = None) -> None:
        """Close the entry in the journal."""
        self._journal.ended(self.call, outcome, self.call.whole if billed is None else billed)

    def left(self) -> None:
        """The gateway has gone before the end."""
        self.finish("cancelled", self.call.whole if self.reply.bills_when_left else self._generated)

    def break_off(self, *, reset: bool = False) -> None:
        """Close the connection in the middle of things."""
        if reset:
            linger = struct.pack("ii", 1, 0)  # close now and say so with RST
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()
        else:
            self._transport.close()

    async def respond(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """A whole response with the right length."""
        length = {"Content-Length": str(len(body))}
        await self.send(wire.head(status, {**headers, **length}) + body)

    async def run(self) -> None:
        """Answer by the script."""
        reply = self.reply
        await self.pause(reply.before_head_s)
        if reply.cut and reply.cut.before_head:
            self.finish("cut", Tokens())
            self.break_off(reset=reply.cut.how == "reset")
        elif reply.act:
            await reply.act(self)
            self.finish("failed", Tokens())
        elif reply.status != 200 or reply.body is not None:
            self.finish("refused", Tokens())
            await self.respond(reply.status, reply.headers, self._error_body())
        elif self.call.body.get("stream"):
            await self._stream()
        else:
            await self._whole_answer()

    def _error_body(self) -> bytes:
        if self.reply.body is not None:
            return self.reply.body
        error = {"message": f"Scripted error {self.reply.status}", "type": "server_error", "code": None}
        return json.dumps({"error": error}).encode()

    async def _whole_answer(self) -> None:
        self._generated = Tokens(self.call.whole.prompt)
        await self.pause(self.reply.before_content_s)
        self._generated = self.call.whole
        body, self.call.declared_usage = frames.answer(self.reply, self.call)
        separators = (", ", ": ") if self.reply.spaced else (",", ":")
        data = json.dumps(body, separators=separators, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", **self.reply.headers}
        if self.reply.cut:
            cut_at = self.reply.cut.body_bytes
            self.finish("cut")
            await self.send(wire.head(200, {**headers, "Content-Length": str(len(data))}))
            await self.send(data[: len(data) // 2 if cut_at is None else cut_at])
            self.break_off(reset=self.reply.cut.how == "reset")
        else:
            self.finish("completed")
            await self.respond(200, headers, data)

    async def _stream(self) -> None:
        reply, call = self.reply, self.call
        self._generated = Tokens(call.whole.prompt)
        await self.send(wire.head(200, {**EVENT_STREAM, **reply.headers}))
        await self.pause(reply.before_content_s)
        planned = list(frames.stream(reply, call))
        contents = frames.content_frames(reply, call)
        out = _Body(self, reply.cut)
        for place, frame in enumerate(planned, start=1):
            if frame.content and call.frames_written:
                await self.pause(reply.between_frames_s)
            if out.must_stop_before(frame, call.frames_written):
                break
            call.frames_written += frame.content
            call.declared_usage = frame.declared or call.declared_usage
            self._generated = frames.delivered(call.whole, call.frames_written, contents)
            if place == len(planned) and not reply.cut:
                failed = reply.error_after is not None and call.frames_written < contents
                self.finish("failed" if failed else "completed", self._generated)
            if not await out.write(frame.data):
                break
        await self._end_of_stream(out, reply.cut)

    async def _end_of_stream(self, out: "_Body", cut: Cut | None) -> None:
        self.finish("cut" if cut else "completed", self._generated)
        await out.flush()
        if cut and cut.how != "end":
            self.break_off(reset=cut.how == "reset")
        else:
            await self.send(wire.chunk(b""))


class _Body:
    """The bytes of a stream on their way out: cut again into pieces, and broken off where the script says."""

    def __init__(self, exchange: Exchange, cut: Cut | None) -> None:
        self._exchange = exchange
        self._cut = cut
        self._sizes = _piece_sizes(exchange.reply)
        self._size = next(self._sizes) if self._sizes else 0
        self._waiting = b""
        self._written_bytes = 0

    def must_stop_before(self, frame: frames.Frame, contents_written: int) -> bool:
        """Whether the stream is cut between the last frame and this one; half of it may be written first."""
        if not self._cut:
            return False
        if self._cut.inside is not None and frame.content and contents_written + 1 == self._cut.inside:
            self._waiting += frame.data[: len(frame.data) // 2]
            return True
        return self._cut.frames is not None and contents_written >= self._cut.frames

    async def write(self, data: bytes) -> bool:
        """Send what is ready; False when the limit on the body's bytes is reached."""
        limit = self._cut.body_bytes if self._cut else None
        within_limit = True
        if limit is not None and self._written_bytes + len(data) >= limit:
            data = data[: limit - self._written_bytes]
            within_limit = False
        self._written_bytes += len(data)
        self._waiting += data
        if self._sizes is None:
            await self.flush()
            return within_limit
        while len(self._waiting) >= self._size:
            piece, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            await self._exchange.send(wire.chunk(piece))
            self._size = next(self._sizes)
        return within_limit

    async def flush(self) -> None:
        """Send all that waits."""
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            await self._exchange.send(wire.chunk(waiting))


def _piece_sizes(reply: Reply) -> Iterator[int] | None:
    """An endless iterator of sizes, or None where whole frames are sent."""
    if reply.split_seed is not None:
        random = Random(reply.split_seed)
        return iter(lambda: random.randint(1, RANDOM_PIECE_BYTES), 0)
    return cycle(reply.pieces) if reply.pieces else None
