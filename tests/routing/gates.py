"""Upstream answers that stop half-way until a test lets them go on, so that no test depends on speed."""

import json
import threading
from dataclasses import replace

from tests.fakes import frames, wire
from tests.fakes.exchange import Exchange
from tests.fakes.replies import WORDS, Reply
from tests.waiting import wait_until

STREAM = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
PLAIN = {"Content-Type": "application/json"}
LOOK_EVERY_S = 0.005
ENDLESS = {
    "max_output": 4_000_000,
    "context": 4_000_000,
}  # of a model that fills every buffer on its way


class Gate:
    """An answer of which the first `before` frames come at once and the rest after `open`.

    Not streamed, or with `before` None, not even the head comes before that.
    """

    def __init__(self, before: int | None = 3, reply: Reply | None = None) -> None:
        self._before = before
        self._reply = reply or Reply()
        self._arrived = threading.Event()
        self._opened = threading.Event()

    @property
    def script(self) -> Reply:
        """The reply to give to `Gateway.add_model`."""
        return replace(self._reply, act=self._act)

    def script_of(self, frames: int) -> Reply:
        """The same with so many content frames."""
        return replace(self._reply, frames=frames, act=self._act)

    def wait_for_call(self) -> None:
        """Until the upstream has sent what comes before the gate."""
        wait_until(self._arrived.is_set, what="the call to reach the upstream")

    def open(self) -> None:
        """Let the rest come."""
        self._opened.set()

    async def _act(self, exchange: Exchange) -> None:
        if not exchange.call.body.get("stream"):
            await self._answer(exchange)
            return
        planned = list(frames.stream(exchange.reply, exchange.call))
        sent = self._before or 0
        if self._before is not None:
            await exchange.send(wire.head(200, STREAM))
            for frame in planned[:sent]:
                await exchange.send(wire.chunk(frame.data))
        await self._wait(exchange)
        if self._before is None:
            await exchange.send(wire.head(200, STREAM))
        exchange.finish("completed")
        for frame in planned[sent:]:
            await exchange.send(wire.chunk(frame.data))
            await exchange.pause(LOOK_EVERY_S)
        await exchange.send(wire.chunk(b""))

    async def _answer(self, exchange: Exchange) -> None:
        await self._wait(exchange)
        body, exchange.call.declared_usage = frames.answer(exchange.reply, exchange.call)
        exchange.finish("completed")
        await exchange.respond(200, PLAIN, json.dumps(body).encode())

    async def _wait(self, exchange: Exchange) -> None:
        self._arrived.set()
        while not self._opened.is_set():
            await exchange.pause(LOOK_EVERY_S)


def words(count: int, each: int = 1) -> str:
    """The text of the first `count` content frames of a plain reply."""
    return "".join(f"{WORDS[place % len(WORDS)]} " * each for place in range(count))
