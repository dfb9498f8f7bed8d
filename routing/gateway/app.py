"""The gateway as an ASGI application: no Django middleware, no ORM, no cookies between the socket and the provider."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import NoReturn

from komilion.common.errors import InternalError, KomilionError, MethodNotAllowed, RateLimited, Unavailable
from routing.gateway.authenticate import has_credential
from routing.gateway.call import NotSent, time_is_up
from routing.gateway.endpoints import Endpoint
from routing.gateway.exchange import ClientGone, Exchange
from routing.gateway.limit import count
from routing.gateway.services import Services, build_services
from routing.gateway.watch import Interrupted

log = logging.getLogger(__name__)


class Gateway:
    """Serves the rows of the endpoint table; `start` and `stop` belong to the server's lifespan."""

    def __init__(self, build: Callable[[], Services] = build_services) -> None:
        self._build = build
        self._services: Services | None = None

    @property
    def services(self) -> Services:
        """What the process keeps; only while it runs."""
        assert self._services is not None, "the gateway was not started"
        return self._services

    async def start(self) -> None:
        """Build and start what the process keeps."""
        self._services = self._build()
        await self._services.start()

    async def stop(self) -> None:
        """Settle what runs, then close."""
        await self.services.stop()

    async def serve(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """One exchange, to its end; nothing is raised. Only a server that stops cancels it."""
        services = self.services
        services.active += 1
        try:
            if exchange.method != endpoint.method:
                await _refuse_method(exchange, endpoint, services)
            await endpoint.serve(exchange, services)
        except KomilionError as error:
            await self._answer_error(exchange, error)
        except NotSent as error:
            await self._answer_error(exchange, error.error)
        except Interrupted as error:
            if error.reason not in {"client_left", "write_stall"}:
                await self._answer_error(exchange, time_is_up(exchange.path))
        except ClientGone:
            return
        except asyncio.CancelledError:
            if not exchange.started:  # a stream that has begun has said it itself
                await exchange.fail(Unavailable("This server is stopping; send the request again."))
        except Exception:
            log.exception("request failed", extra={"request_id": exchange.request_id})
            await self._answer_error(exchange, InternalError())
        finally:
            services.active -= 1

    async def _answer_error(self, exchange: Exchange, error: KomilionError) -> None:
        """As a status while that is possible; a stream that has begun has said it itself."""
        if exchange.started:
            log.error("error after the first byte", extra={"request_id": exchange.request_id, "error": str(error)})
            return
        if exchange.session is not None and exchange.admission is None:
            with contextlib.suppress(RateLimited):  # what went wrong first is what the caller is told
                await count(exchange, exchange.session, self.services.limiter)
        await exchange.fail(error)


async def _refuse_method(exchange: Exchange, endpoint: Endpoint, services: Services) -> NoReturn:
    """405; a key is looked up all the same, so that the answer carries the state of its limits."""
    if has_credential(exchange):
        await services.authenticator.authenticate(exchange)
    raise MethodNotAllowed(f"{exchange.path} takes {endpoint.method}.", headers={"Allow": endpoint.method})
