"""`POST /api/compare`: one request asked of two to six models at the same time, their answers side by side.

Each model is a call of its own through `serve_chat`, on an exchange whose writes are caught (`column`): admitted, held,
billed and logged like any other, with its own request id. Frames go on to the client as they come, one piece of one
answer at a time and in the order in which they ask, so nothing is buffered and nobody is starved; a client that does
not read holds all of them up, as it would each. When it leaves, each call learns of it and ends as its own offer says
(docs/decisions/0005). An error ends the call that has it and no other.

A comparison is one act of the caller, so its calls do not refuse each other: one that finds no free place, or the
second's requests used up, because of others of the same comparison waits for them. For what is used by anything else
it is refused like any call.

As long as nothing was answered, calls that were all refused for the same reason make that the status of the whole.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from komilion.common.clock import monotonic_s
from komilion.common.errors import BadRequest, PayloadTooLarge
from komilion.common.numbers import numbers
from komilion.common.tasks import spawn
from routing.gateway.column import Column
from routing.gateway.differences import differences
from routing.gateway.exchange import Exchange
from routing.gateway.forms import OPENAI
from routing.gateway.idempotency import HEADER as IDEMPOTENCY_KEY
from routing.gateway.json_guard import parse_object
from routing.gateway.outlet import SSE_HEADERS
from routing.gateway.pipeline import serve_chat
from routing.gateway.services import Services
from routing.gateway.serving import serve_to_the_end
from routing.gateway.shares import Shares
from routing.gateway.stream import DONE
from routing.gateway.watch import COMMENT_FRAME

LEAST_MODELS, MOST_MODELS = 2, 6
MODEL_CHARACTERS = 200
TRIES = 2 * MOST_MODELS  # of a call that waits for others: each of them ends once, and each can take a second
FORM = replace(OPENAI, endpoint="compare")


async def serve_compare(exchange: Exchange, services: Services) -> None:
    """From the first header to the summary. Raises what is wrong with the request as a whole."""
    await services.authenticator.authenticate(exchange)
    if IDEMPOTENCY_KEY in exchange.headers:
        raise BadRequest("Idempotency-Key is for one call; compare makes several. Leave it out.")
    body = await services.bodies.read(exchange)
    chat = parse_object(body)
    models, stream = _models(chat), _stream(chat)
    if len(body) * len(models) > numbers.BODY_LIMIT_BYTES:  # each call has all of it in memory
        limit = numbers.BODY_LIMIT_BYTES // 2**20
        raise PayloadTooLarge(f"The request body times {len(models)} models is more than {limit} MiB.")
    await Comparison(exchange, models, stream=stream).run(chat, services)


def _models(chat: dict[str, Any]) -> list[str]:
    """Takes `models` out of the body. Raises `BadRequest`."""
    if "model" in chat:
        raise BadRequest("Send `models`, a list, in place of `model`.", param="model")
    models = chat.pop("models", None)
    if type(models) is not list or not LEAST_MODELS <= len(models) <= MOST_MODELS:
        raise BadRequest(f"models must be a list of {LEAST_MODELS} to {MOST_MODELS} model ids.", param="models")
    for model in models:
        if type(model) is not str or not 0 < len(model) <= MODEL_CHARACTERS:
            raise BadRequest(f"models must hold ids of 1 to {MODEL_CHARACTERS} characters.", param="models")
    return models


def _stream(chat: dict[str, Any]) -> bool:
    """Takes `stream` out of the body; without it the answer is streamed. Raises `BadRequest`."""
    stream = chat.pop("stream", None)
    if stream is not None and type(stream) is not bool:
        raise BadRequest("stream must be true or false.", param="stream")
    return stream is not False


class Comparison:
    """The calls of one request, and the one response that they share."""

    def __init__(self, exchange: Exchange, models: list[str], *, stream: bool) -> None:
        self._exchange = exchange
        self._stream = stream
        self._gone = asyncio.Event()
        self._turn = asyncio.Lock()  # first come, first served
        self._last_sent_s = monotonic_s()
        self._untold: list[Column] = []  # refused while the answer's status was open
        self._columns = [Column(index, model, self._send, self._gone) for index, model in enumerate(models)]
        self._shares = Shares(len(models))
        self._place_is_free = asyncio.Event()  # a new one whenever a call has ended

    async def run(self, chat: Mapping[str, Any], services: Services) -> None:
        """All calls to their settled ends; a server that stops cuts them all, and they say so themselves."""
        departure = spawn(self._await_departure(), name="departure")
        calls = {spawn(self._call(column, chat, services), name="compared") for column in self._columns}
        try:
            await self._wait(calls)
        except asyncio.CancelledError:
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
        finally:
            departure.cancel()
        await self._conclude()

    async def _call(self, column: Column, chat: Mapping[str, Any], services: Services) -> None:
        for _ in range(TRIES):
            place = self._place_is_free
            inner = column.open(self._exchange, chat, stream=self._stream)
            await serve_to_the_end(inner, services, partial(serve_chat, form=FORM, shares=self._shares))
            column.end()
            if not await self._is_our_turn(column, place):
                break
        self._give_back()
        if column.is_refused and self._stream:
            self._untold.append(column)
            if self._exchange.started:
                await self._say(b"")

    async def _is_our_turn(self, column: Column, place: asyncio.Event) -> bool:
        """Whether a call that the limits refused is made again, now that others of this comparison have made room.

        `place` is set when a call has ended since this one was made.
        """
        admission = column.exchange.admission
        others = [other for other in self._columns if other is not column and other.is_admitted]
        if admission is None or admission.never or not others:
            return False
        try:
            if admission.refused_by == "burst":
                await _until(self._gone, admission.retry_after_s)
            elif admission.refused_by == "parallel" and (place.is_set() or any(other.is_running for other in others)):
                await place.wait()
            else:
                return False
        except asyncio.CancelledError:  # this server stops
            return False
        return not self._gone.is_set()

    def _give_back(self) -> None:
        self._place_is_free.set()
        self._place_is_free = asyncio.Event()

    async def _wait(self, calls: set[asyncio.Task[None]]) -> None:
        """Until all have ended; with a sign of life whenever none of them has given one for a while."""
        while calls:
            due_s = self._last_sent_s + numbers.COMMENT_FRAME_EVERY_S - monotonic_s() if self._stream else None
            if due_s is not None and due_s <= 0:
                await self._say(COMMENT_FRAME)
                continue
            _, calls = await asyncio.wait(calls, timeout=due_s, return_when=asyncio.FIRST_COMPLETED)

    async def _await_departure(self) -> None:
        while (await self._exchange.receive())["type"] != "http.disconnect":
            continue
        self._gone.set()

    async def _say(self, data: bytes, *, last: bool = False) -> None:
        """Send what is no call's own; a client that does not take it in time counts as gone."""
        try:
            async with asyncio.timeout(numbers.WRITE_STALL_S):
                await self._send(data, last=last)
        except TimeoutError:
            self._gone.set()

    async def _send(self, data: bytes, *, last: bool = False) -> None:
        """After the head and the refusals that nobody was told of yet."""
        async with self._turn:
            self._last_sent_s = monotonic_s()
            if self._gone.is_set():
                return
            if not self._exchange.started:
                self._note_limits()
                await self._exchange.start(200, SSE_HEADERS)
            while self._untold:
                data = self._untold.pop().error_frame() + data
            await self._exchange.write(data, last=last)

    def _note_limits(self) -> None:
        """The head says how the caller's limits stand after the last of the calls that was counted."""
        counted = [column.exchange.admission for column in self._columns if column.exchange.admission is not None]
        self._exchange.admission = counted[-1] if counted else None

    async def _conclude(self) -> None:
        """The summary; or one error, where nothing else came of any call."""
        first = self._columns[0]
        if not self._exchange.started:
            self._note_limits()
            if all(column.is_refused for column in self._columns) and len({_reason(c) for c in self._columns}) == 1:
                retry = [] if first.retry_after is None else [(b"retry-after", first.retry_after)]
                await self._exchange.respond(first.status, msgspec.json.encode(first.refusal), retry)
                return
        results = [column.result() for column in self._columns]
        summary: dict[str, Any] = {"object": "compare.summary", "results": results, "diff": self._differences()}
        if self._stream:
            frame = b"data: " + msgspec.json.encode(summary) + b"\n\n"
            await self._say(frame + DONE, last=True)
            return
        for column, result in zip(self._columns, results, strict=True):
            result |= {"text": None if column.is_refused else column.text, "answer": column.answer}
        await self._exchange.respond(200, msgspec.json.encode({**summary, "object": "compare"}))

    def _differences(self) -> dict[str, Any]:
        answered = [column for column in self._columns if not column.is_refused]
        return differences([(column.index, column.text, column.characters) for column in answered])


def _reason(column: Column) -> Any:
    return msgspec.json.decode(column.refusal["error"])["reason"]


async def _until(event: asyncio.Event, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
