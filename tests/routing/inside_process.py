"""What a server keeps, in the event loop of a test; and callers as the gateway knows them."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from routing.gateway.services import Services, build_services
from routing.gateway.types import Session
from tests.stand import Tenant


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

    try:
        return asyncio.run(run())
    finally:
        bury_unborn_connections()


def bury_unborn_connections() -> None:
    """Services that stop as soon as they are started cut connections to Redis off while these are made, which redis-py
    then leaves to the collector. What it finds now is theirs and no fault of the tests that follow.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def vouch(services: Services, tenant: Tenant) -> Callable[[], Awaitable[Session]]:
    """Finds the tenant's session."""
    return partial(services.authenticator.recognise, tenant.key)
