"""The yardstick: a relay on uvicorn and aiohttp that parses request and answer, writes them anew, and does no more."""

import os
from typing import Any

import aiohttp
import orjson
import uvicorn

UPSTREAM_URL = os.environ.get("RELAY_UPSTREAM_URL", "")
HEADERS = {"content-type": "application/json", "authorization": "Bearer sk-upstream"}


class Relay:
    """The ASGI application."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Any ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._relay(receive, send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._session:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _relay(self, receive: Any, send: Any) -> None:
        assert self._session is not None
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        request = orjson.loads(body)
        async with self._session.post(UPSTREAM_URL, data=orjson.dumps(request), headers=HEADERS) as response:
            answer = orjson.loads(await response.read())
        answer["model"] = request["model"]
        data = orjson.dumps(answer)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": data})


if __name__ == "__main__":
    uvicorn.run(
        Relay(),
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
