"""Conversations that never end: each sends and gets a frame of 20 ms of audio every 20 ms, and times every one of them.

The provider and all callers run in one loop, so that both ends of a frame are timed by one clock. Connected to each
other directly they show what this loop itself adds; the difference is the relay's.
"""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter_ns
from typing import override

from bench.voice.wire import DOWN_BYTES, UP_BYTES, ClientPeer, Peer, ServerPeer, down_frame, up_frame

FRAME_S = 0.02
NS_PER_MS = 1_000_000


@dataclass
class Way:
    """What was sent one way in one conversation, and when what of it came."""

    sent_ns: list[int] = field(default_factory=list)
    took_ns: list[int] = field(default_factory=list)
    misplaced: int = 0  # came out of order, or twice

    def send(self) -> int:
        """The number of the frame that goes now."""
        self.sent_ns.append(perf_counter_ns())
        return len(self.sent_ns) - 1

    def came(self, number: int) -> None:
        """A frame came."""
        if number != len(self.took_ns):
            self.misplaced += 1
        self.took_ns.append(perf_counter_ns() - self.sent_ns[number])


class Provider(ServerPeer):
    """Answers the first `response.create` for ever."""

    def __init__(self, way_up: Way, way_down: Way) -> None:
        super().__init__(UP_BYTES, way_up.came)
        self.way_down = way_down
        self.speaks = False

    @override
    def on_head(self, head: bytes) -> None:
        super().on_head(head)
        self.write(b'{"type":"session.created","event_id":"e","session":{"type":"realtime","id":"sess","model":"m"}}')

    @override
    def on_event(self, event: dict[str, object]) -> None:
        if event["type"] == "response.create" and not self.speaks:
            self.write(b'{"type":"response.created","event_id":"e","response":{"id":"resp_1","status":"in_progress"}}')
            self.speaks = True


class Caller(ClientPeer):
    """Speaks for ever once its session is there."""

    def __init__(self, way_up: Way, way_down: Way) -> None:
        super().__init__(DOWN_BYTES, way_down.came)
        self.way_up = way_up
        self.costs = 0

    @override
    def on_event(self, event: dict[str, object]) -> None:
        if event["type"] == "session.created":
            self.is_open.set_result(None)
        elif event["type"] == "error":
            raise RuntimeError(event)


@dataclass
class Talks:
    """All conversations: their callers, their providers' sides, and both ways of each."""

    callers: list[Caller] = field(default_factory=list)
    providers: list[Provider] = field(default_factory=list)
    ups: list[Way] = field(default_factory=list)
    downs: list[Way] = field(default_factory=list)

    def accept(self) -> Provider:
        """For the connection of the conversation that is being opened."""
        provider = Provider(self.ups[-1], self.downs[-1])
        self.providers.append(provider)
        return provider

    async def open(self, port: int, path: str, key: str) -> None:
        """One more conversation."""
        self.ups.append(Way())
        self.downs.append(Way())
        make = partial(Caller, self.ups[-1], self.downs[-1])
        _, caller = await asyncio.get_running_loop().create_connection(make, "127.0.0.1", port)
        caller.open(path, key)
        await asyncio.wait_for(caller.is_open, 10)
        self.callers.append(caller)
        caller.write(b'{"type":"response.create"}')

    async def run(self, seconds: float) -> None:
        """Talk for so long, each conversation at its own moment of the 20 ms; then let what is under way arrive."""
        loop = asyncio.get_running_loop()
        began_s = loop.time() + 0.1
        step_s = FRAME_S / len(self.callers) / 2
        for number, (caller, provider) in enumerate(zip(self.callers, self.providers, strict=True)):
            first_s = began_s + 2 * number * step_s
            self._tick(caller, caller.way_up, up_frame, first_s, began_s + seconds)
            self._tick(provider, provider.way_down, down_frame, first_s + step_s, began_s + seconds)
        await asyncio.sleep(seconds + 1.5)

    def _tick(self, peer: Peer, way: Way, frame: object, due_s: float, until_s: float) -> None:
        loop = asyncio.get_running_loop()

        def send(due_s: float) -> None:
            if peer.is_over:
                return
            peer.write(frame(way.send()))  # type: ignore[operator] # one of the two of `wire`
            if due_s + FRAME_S < until_s:
                loop.call_at(due_s + FRAME_S, send, due_s + FRAME_S)

        loop.call_at(due_s, send, due_s)

    def close(self) -> None:
        """Hang up."""
        for peer in (*self.callers, *self.providers):
            peer.transport.abort()


@dataclass(frozen=True)
class Timed:
    """Milliseconds that frames took one way, and how many there were."""

    p50: float
    p99: float
    most: float
    sent: int
    lost: int
    misplaced: int


def timed(ways: list[Way]) -> Timed:
    """All conversations together."""
    took = sorted(ns for way in ways for ns in way.took_ns)
    sent = sum(len(way.sent_ns) for way in ways)
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))] / NS_PER_MS  # noqa: E731
    return Timed(at(0.5), at(0.99), took[-1] / NS_PER_MS, sent, sent - len(took), sum(way.misplaced for way in ways))
