"""Run as a program: what an ASGI and a WSGI server get from the application for requests that come in by an address.

Prints the statuses as JSON. A process of its own, because the settings say at its start whether there is test money.
"""

import asyncio
import json
from io import BytesIO
from typing import Any

HERE = "127.0.0.1"
ELSEWHERE = "192.0.2.1"


async def asgi(server: Any) -> int:
    """The status for a request of a server that says it listens there."""
    from komilion.asgi import application

    parts = iter([{"type": "http.request", "body": b"", "more_body": False}])
    sent: list[Any] = []

    async def receive() -> Any:
        for part in parts:
            return part
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/api/usage", "query_string": b""}
    scope |= {"headers": [(b"host", b"x")], "client": (HERE, 9), "server": server}
    await application(scope, receive, send)
    status: int = sent[0]["status"]
    return status


def wsgi(client: str) -> int:
    """The status for a request that comes from there."""
    from django.core.wsgi import get_wsgi_application

    said: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/usage", "HTTP_HOST": "x"}
    environ |= {"SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.input": BytesIO(), "REMOTE_ADDR": client}
    get_wsgi_application()(environ, lambda status, _: said.append(status))
    return int(said[0].split()[0])


async def main() -> None:
    """Ask as every kind of server."""
    by_asgi = [await asgi(server) for server in ((HERE, 80), (ELSEWHERE, 80), ("/run/socket", None), None)]
    by_wsgi = [await asyncio.to_thread(wsgi, client) for client in (HERE, ELSEWHERE, "")]
    print(json.dumps([*by_asgi, *by_wsgi]))


if __name__ == "__main__":
    asyncio.run(main())
