"""The gateway as an ASGI application: no Django middleware, no ORM, no cookies between the socket and the provider."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from komilion.common.errors import MethodNotAllowed
from routing.gateway.authenticate import has_credential
from routing.gateway.endpoints import Endpoint
from routing.gateway.exchange import Exchange
from routing.gateway.services import Services, build_services
from routing.gateway.serving import serve_to_the_end


class Gateway:
    """Serves the rows of the endpoint table; `start` and `stop` belong to the server's lifespan."""

    def __init__(self, build: Callable[[], Services] = build_services) -> None:
        self._build = build
        self._services: Services | None = None

    @property
    def is_started(self) -> bool:
        """Whether it can serve."""
        return self._services is not None

    @property
    def services(self) -> Services:
        """What the process keeps; only while it runs."""
        assert self._services is not None, "the gateway was not started"
        return self._services

    async def start(self) -> None:
        """Build and start what the process keeps."""
        services = self._build()
        await services.start()
        self._services = services

    async def stop(self) -> None:
        """Settle what runs, then close."""
        await self.services.stop()

    async def serve(self, exchange: Exchange, rows: Sequence[Endpoint]) -> None:
        """One exchange, by one of these rows, to its end; nothing is raised. Only a server that stops cancels it."""
        services = self.services
        services.active += 1
        try:
            for row in rows:
                if row.method == exchange.method:
                    await serve_to_the_end(exchange, services, row.serve)
                    return
            await serve_to_the_end(exchange, services, partial(_refuse_method, rows))
        finally:
            services.active -= 1


async def _refuse_method(rows: Sequence[Endpoint], exchange: Exchange, services: Services) -> NoReturn:
    """405; a key is looked up all the same, so that the answer carries the state of its limits."""
    if has_credential(exchange):
        await services.authenticator.authenticate(exchange)
    methods = ", ".join(row.method for row in rows)
    raise MethodNotAllowed(f"{exchange.path} takes {methods}.", headers={"Allow": methods})
