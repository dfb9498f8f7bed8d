"""Clients that keep calls in flight and write down what each of them received: the second of the three journals.

Every call has an id of its own, in the text for the provider's journal and in `user` for the ledger's.
"""

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

import aiohttp

CHAT = "/v1/chat/completions"
PAUSE_S = 0.05
CALL_TIMEOUT = aiohttp.ClientTimeout(total=60)
_load_numbers = count(1)


@dataclass(frozen=True)
class Kind:
    """One way to call; `leaves_after` so many content frames the client hangs up."""

    model: str
    streamed: bool = False
    leaves_after: int | None = None
    max_tokens: int = 150
    tries: int = 1  # of providers, at most


@dataclass
class Received:
    """What a client saw of one call. `status` 0: no response; `whole`: to its proper end."""

    call_id: str
    kind: Kind
    started_at: float
    ended_at: float = 0.0
    is_connected: bool = True
    status: int = 0
    request_id: str = ""
    whole: bool = False
    left: bool = False
    frames: int = 0
    charge: int | None = None
    settlement: str = ""
    reason: str = ""  # of an error, as a status or as an event
    message: str = ""  # of the same error

    @property
    def is_answer(self) -> bool:
        """Whether the client has everything it asked for."""
        return self.whole and self.status == 200 and not self.reason

    def read_payload(self, payload: dict[str, Any]) -> None:
        """Note the bill or the error in a body or a frame."""
        note = payload.get("x_komilion")
        if note:
            self.charge = note["cost_nano_usd"]
            self.settlement = note["settlement"]
        if payload.get("error"):
            self.reason = payload["error"]["reason"]
            self.message = payload["error"]["message"]


def prompt(call_id: str) -> str:
    """What the user says in this call."""
    return f"What is quantum computing? call={call_id}"


async def call(session: aiohttp.ClientSession, url: str, key: str, kind: Kind, call_id: str) -> Received:
    """One call, whatever becomes of it."""
    received = Received(call_id, kind, time.time())
    body = {
        "model": kind.model,
        "messages": [{"role": "user", "content": prompt(call_id)}],
        "max_tokens": kind.max_tokens,
        "user": call_id,
        "stream": kind.streamed,
    }
    try:
        async with session.post(url + CHAT, json=body, headers={"Authorization": f"Bearer {key}"}) as response:
            received.status = response.status
            received.request_id = response.headers.get("X-Generation-Id", "")
            await _read(response, received)
    except aiohttp.ClientConnectorError:
        received.is_connected = False
    except (aiohttp.ClientError, ConnectionError):
        received.whole = False
    received.ended_at = time.time()
    return received


async def _read(response: aiohttp.ClientResponse, received: Received) -> None:
    if response.content_type != "text/event-stream":
        received.read_payload(json.loads(await response.read()))
        received.whole = True
        return
    is_done = False
    async for line in response.content:
        if not line.startswith(b"data: "):
            continue
        if line.strip() == b"data: [DONE]":
            is_done = True
            continue
        chunk = json.loads(line[len(b"data: ") :])
        received.read_payload(chunk)
        received.frames += any(choice["delta"].get("content") for choice in chunk["choices"])
        if received.kind.leaves_after is not None and received.frames >= received.kind.leaves_after:
            received.left = True
            return  # the connection is closed, since not everything was read
    received.whole = is_done


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(connector=connector, timeout=CALL_TIMEOUT)


def call_at_once(url: str, key: str, kinds: Sequence[Kind]) -> list[Received]:
    """All these calls at the same time; returns when the last one has ended."""
    prefix = next(_load_numbers)

    async def run() -> list[Received]:
        async with _session() as session:
            calls = [call(session, url, key, kind, f"{prefix:03d}-{number:06d}") for number, kind in enumerate(kinds)]
            return await asyncio.gather(*calls)

    return asyncio.run(run())


class Load:
    """Keeps so many calls in flight, on a thread, from `start` to `stop`; kinds are drawn at random by `seed`."""

    def __init__(self, url: str, key: str, kinds: Sequence[Kind], in_flight: int, seed: int = 1) -> None:
        self._url = url
        self._key = key
        self._kinds = kinds
        self._in_flight = in_flight
        self._random = Random(seed)
        self._prefix = next(_load_numbers)
        self._numbers = count(1)
        self._stopping = threading.Event()
        self._resting = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)
        self.received: list[Received] = []

    def start(self) -> "Load":
        """Begin."""
        self._thread.start()
        return self

    def rest(self) -> None:
        """Begin no calls until `go_on`: a web process that starts needs the processor more than we do."""
        self._resting.set()

    def go_on(self) -> None:
        """End a `rest`."""
        self._resting.clear()

    def stop(self) -> list[Received]:
        """Begin no more calls; what every client received, when the last one has ended."""
        self._stopping.set()
        self._thread.join()
        return self.received

    def answers(self) -> int:
        """How many whole answers came so far."""
        return sum(received.is_answer for received in list(self.received))

    async def _run(self) -> None:
        async with _session() as session:
            await asyncio.gather(*(self._client(session) for _ in range(self._in_flight)))

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self._stopping.is_set():
            if self._resting.is_set():
                await asyncio.sleep(PAUSE_S)
                continue
            kind = self._random.choice(self._kinds)
            call_id = f"{self._prefix:03d}-{next(self._numbers):06d}"
            received = await call(session, self._url, self._key, kind, call_id)
            self.received.append(received)
            if not received.is_connected or received.status == 503:
                await asyncio.sleep(PAUSE_S)
