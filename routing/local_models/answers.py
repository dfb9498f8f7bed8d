"""The plumbing of ASGI that all parts of the local model server share: bodies in, answers out, clients that leave."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from routing.local_models.wire import RequestError

type Message = dict[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

JSON_TYPE = b"application/json"
STREAM_TYPE = b"text/event-stream"


async def read_body(receive: Receive, limit_bytes: int) -> bytes:
    """The whole body. Raises `RequestError` when it is too long or the client leaves before its end."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError("The client went away.", status=499)
        body += message.get("body", b"")
        if len(body) > limit_bytes:
            raise RequestError(f"The body is longer than {limit_bytes} bytes.", status=413)
        if not message.get("more_body", False):
            return bytes(body)


async def answer(send: Send, status: int, body: bytes, content_type: bytes = JSON_TYPE) -> None:
    """A whole answer."""
    await start(send, status, content_type)
    await chunk(send, body, more=False)


async def start(send: Send, status: int, content_type: bytes) -> None:
    """The head of an answer."""
    headers = [(b"content-type", content_type)]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def chunk(send: Send, data: bytes, *, more: bool = True) -> None:
    """A piece of an answer's body."""
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def gone(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_there(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, but give it up when the client leaves. Raises what the work raises."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(gone(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
