"""What a server keeps, in the event loop of a test; and callers as the gateway knows them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from routing.gateway.services import Services, build_services
from routing.gateway.types import Session
from tests.stand import Tenant
from tests.unborn import bury_unborn, expect_unborn


@asynccontextmanager
async def running_services() -> AsyncIterator[Services]:
    """Started, and stopped as a server stops them."""
    services = build_services()
    await services.start()
    try:
        yield services
    finally:
        await services.stop()


def with_services[Result](body: Callable[[Services], Awaitable[Result]]) -> Result:
    """Run it."""

    async def run() -> Result:
        async with running_services() as services:
            return await body(services)

    bury_unborn()  # services that start collect what others left
    try:
        return asyncio.run(run())
    finally:
        expect_unborn()


def vouch(services: Services, tenant: Tenant) -> Callable[[], Awaitable[Session]]:
    """Finds the tenant's session."""
    return partial(services.authenticator.recognise, tenant.key)
