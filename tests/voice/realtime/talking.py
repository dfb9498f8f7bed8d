"""A plain client of voice sessions, and what an operator adds for them: models with known prices at the stand-in."""

import asyncio
import base64
import json
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.fakes.realtime import RealtimeScript, RealtimeUpstream
from tests.fakes.realtime_session import FakeSession
from tests.stand import Gateway, Tenant

WAIT_S = 10
FRAME_MS = 20
SAMPLES_PER_MS = 24
LOUD = 8_000
_names = count(1)

# US dollars per million: round figures, and each another one.
PRICES = {
    "input_price": "4",
    "cache_read_price": "0.4",
    "audio_input_price": "32",
    "audio_cache_read_price": "0.5",
    "output_price": "24",
    "audio_output_price": "64",
}


@dataclass
class Stand:
    """`gateway` and `upstream`; `provider` is the stand-in's name at the gateway."""

    gateway: Gateway
    upstream: RealtimeUpstream
    provider: str
    _upstream_ids: dict[str, str] = field(default_factory=dict)

    def model(self, script: RealtimeScript | None = None, **options: Any) -> str:
        """A realtime model that behaves by the script; returns its id."""
        number = next(_names)
        upstream_id = self.upstream.script(f"talker-{number}", script or RealtimeScript())
        name = f"acme/talker-{number}"
        self.gateway.add_model(upstream_id, name, provider=self.provider, kind="realtime", **{**PRICES, **options})
        self.gateway.wait_for_catalog()
        self._upstream_ids[name] = upstream_id
        return name

    def sessions_of(self, model: str) -> list[FakeSession]:
        """The connections that reached the stand-in for a model."""
        return self.upstream.sessions_of(self._upstream_ids[model])

    def balance_nano(self, tenant: Tenant) -> int:
        """What the wallet has, held or not."""
        from komilion.common.money import parse_usd

        wallet = self.gateway.wallet(tenant.email)
        return parse_usd(wallet["available"]) + parse_usd(wallet["held"]) - parse_usd(wallet["debt"])

    def held_nano(self, tenant: Tenant) -> int:
        """What is reserved."""
        from komilion.common.money import parse_usd

        return parse_usd(self.gateway.wallet(tenant.email)["held"])

    def url(self, path: str) -> str:
        """The address of a WebSocket."""
        return self.gateway.url.replace("http", "ws", 1) + path


class Talker:
    """One open session. `events` is all that came, in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.close_reason = ""

    async def send(self, kind: str, **fields: Any) -> None:
        """One client event."""
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def next(self, wait_s: float = WAIT_S) -> dict[str, Any]:
        """The next server event. Raises `ConnectionClosed`, `TimeoutError`."""
        async with asyncio.timeout(wait_s):
            try:
                event = json.loads(await self.socket.recv())
            except ConnectionClosed as closed:
                frame = closed.rcvd or closed.sent
                self.close_code, self.close_reason = (1006, "") if frame is None else (frame.code, frame.reason)
                raise
        self.events.append(event)
        return event

    async def until(self, kind: str, where: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """Read up to the next event of this type."""
        while True:
            event = await self.next()
            if event["type"] == kind and where(event):
                return event

    async def until_closed(self) -> int:
        """Read to the end; the close code."""
        try:
            while True:
                await self.next()
        except ConnectionClosed:
            assert self.close_code is not None
            return self.close_code

    async def answer(self) -> dict[str, Any]:
        """Ask for an answer and read to its cost, which is returned."""
        await self.send("response.create")
        return await self.until("x_komilion.cost")

    async def say(self, milliseconds: int, *, loud: bool = True) -> None:
        """Append so much sound, in frames of 20 ms."""
        for _ in range(milliseconds // FRAME_MS):
            await self.send("input_audio_buffer.append", audio=sound(FRAME_MS, loud=loud))

    def types(self) -> list[str]:
        """The types of what came."""
        return [event["type"] for event in self.events]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What came of one type."""
        return [event for event in self.events if event["type"] == kind]

    def cost_nano(self) -> int:
        """The sum of the `x_komilion.cost` events."""
        return sum(event["cost_nano_usd"] for event in self.of("x_komilion.cost"))


@asynccontextmanager
async def talking(
    stand: Stand, key: str, model: str, path: str = "/v1/realtime", **options: Any
) -> AsyncIterator[Talker]:
    """A session with a key in the header, past its `session.created`."""
    headers = {"Authorization": f"Bearer {key}", **options.pop("headers", {})}
    url = stand.url(f"{path}?model={model}")
    async with connect(url, additional_headers=headers, max_size=None, compression=None, **options) as socket:
        talker = Talker(socket)
        await talker.until("session.created")
        yield talker


def sound(milliseconds: int, *, loud: bool) -> str:
    """PCM16 as base64: a square wave, or silence."""
    level = LOUD if loud else 0
    samples = array("h", (level if number // 40 % 2 else -level for number in range(milliseconds * SAMPLES_PER_MS)))
    return base64.b64encode(samples.tobytes()).decode()


async def eventually_equal(look: Callable[[], int], wanted: int) -> None:
    """Until a figure of the ledger is what is wanted."""
    async with asyncio.timeout(WAIT_S):
        while await in_thread(look) != wanted:  # noqa: ASYNC110 - the ledger sets no event
            await asyncio.sleep(0.02)


async def in_thread[T](look: Callable[[], T]) -> T:
    """What a look into the database finds, with a connection that is closed behind it."""
    from django.db import connection

    def run() -> T:
        try:
            return look()
        finally:
            connection.close()

    return await asyncio.to_thread(run)
