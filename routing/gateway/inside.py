"""A chat that this process itself asks for, on behalf of a caller: admitted, held, billed and logged like any other.

It goes through `serve_chat` on an exchange whose writes come back here. Whoever asks in this way knows the caller's
session already; nothing in the request says who is calling.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import orjson

from komilion.common.errors import ProviderError
from komilion.common.ids import new_request_id
from komilion.common.tasks import spawn
from routing.gateway.exchange import Exchange, Vouch
from routing.gateway.pipeline import serve_chat
from routing.gateway.services import Services
from routing.gateway.serving import serve_to_the_end

PATH = "/v1/chat/completions"
DATA, DONE = b"data: ", b"[DONE]"


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A part of a tool call; id and name come with its first part."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end: why, what was used, and the bill (`x_komilion`)."""

    request_id: str
    finish_reason: str
    model: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    bill: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Cost:
    """What a chat came to, once it has ended, also for whoever left before its end. The charge is in nano-USD."""

    request_id: str = ""
    model: str = ""
    charge: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    is_pending: bool = False


class ChatRefused(Exception):
    """It was refused or failed; status, reason and message are what any client would have been told."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


type Event = TextDelta | ToolCallDelta | Finished


def ask(
    renew: Vouch, body: dict[str, Any], services: Services, *, idempotency_key: str = "", cost: Cost | None = None
) -> AsyncGenerator[Event]:
    """Stream a chat completion. `renew` finds the caller's session, again where its rights changed meanwhile.

    With an `idempotency_key`, of the caller's API key or else of its organization, a call that was made before is
    answered and charged once. Leaving the iterator early is a client that goes away; `cost` is filled in however it
    ends. Raises `ChatRefused`.
    """
    return _ask(_Inside(renew, body, idempotency_key), services, cost)


def ask_in_slot(renew: Vouch, body: dict[str, Any], services: Services, *, cost: Cost) -> AsyncGenerator[Event]:
    """`ask`, on behalf of a caller of whom a parallel slot is held for this already, as by a spoken conversation."""
    inside = _Inside(renew, body)
    inside.exchange.has_slot = True
    return _ask(inside, services, cost)


async def _ask(inside: "_Inside", services: Services, cost: Cost | None) -> AsyncGenerator[Event]:
    running = spawn(_serve(inside, services), name="inside")
    try:
        async with aclosing(inside.events()) as events:
            async for event in events:
                yield event
    finally:
        inside.gone.set()
        await asyncio.wait({running})
        if cost is not None:
            inside.tell(cost)


async def _serve(inside: "_Inside", services: Services) -> None:
    services.active += 1
    try:
        await serve_to_the_end(inside.exchange, services, serve_chat)
    finally:
        services.active -= 1
        inside.written.put_nowait(None)


class _Inside:
    """The other end of the exchange."""

    def __init__(self, renew: Vouch, body: dict[str, Any], idempotency_key: str = "") -> None:
        request_id = new_request_id()
        headers = [(b"idempotency-key", idempotency_key.encode())] if idempotency_key else []
        scope = {"method": "POST", "path": PATH, "headers": headers, "komilion.request_id": request_id}
        self.exchange = Exchange(scope, self._receive, self._send)
        self.exchange.vouched = renew
        self.gone = asyncio.Event()
        self.written: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._body: bytes | None = orjson.dumps({**body, "stream": True})
        self._status = 0
        self._finish_reason = ""
        self._model = ""
        self._usage: dict[str, Any] = {}
        self._bill: dict[str, Any] = {}

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif message["body"]:
            self.written.put_nowait(message["body"])

    def tell(self, cost: Cost) -> None:
        """Fill in what it came to."""
        settled = self.exchange.settled
        if settled is not None:
            cost.request_id, cost.model = self.exchange.request_id, self._model
            cost.charge, cost.usage, cost.is_pending = settled.charge, dict(settled.usage), settled.is_pending

    async def events(self) -> AsyncGenerator[Event]:
        """What comes, to the end. Raises `ChatRefused`."""
        rest = bytearray()
        while (data := await self.written.get()) is not None:
            rest += data
            if self._status != 200:
                continue
            *frames, last = bytes(rest).split(b"\n\n")
            rest = bytearray(last)
            for frame in frames:
                if frame.startswith(DATA) and not frame.endswith(DONE):
                    for event in self._read(orjson.loads(frame[len(DATA) :])):
                        yield event
        if self._status != 200:
            raise _refused(self._status, orjson.loads(rest)["error"])
        yield Finished(self.exchange.request_id, self._finish_reason, self._model, self._usage, self._bill)

    def _read(self, chunk: dict[str, Any]) -> list[Event]:
        if "error" in chunk:
            raise _refused(ProviderError.status, chunk["error"])
        self._model = chunk.get("model") or self._model
        self._usage = chunk.get("usage") or self._usage
        self._bill = chunk.get("x_komilion") or self._bill
        found: list[Event] = []
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            if delta.get("content"):
                found.append(TextDelta(delta["content"]))
            for call in delta.get("tool_calls") or ():
                function = call.get("function") or {}
                found.append(
                    ToolCallDelta(
                        call.get("index", 0),
                        call.get("id") or "",
                        function.get("name") or "",
                        function.get("arguments") or "",
                    )
                )
        return found


def _refused(status: int, error: dict[str, Any]) -> ChatRefused:
    return ChatRefused(status, error.get("reason") or "", error["message"])
