"""The gateway as an ASGI application: no Django middleware, no ORM, no cookies between the socket and the provider."""

import logging
from collections.abc import Callable

from komilion.common.errors import InternalError, KomilionError, MethodNotAllowed
from routing.gateway.call import NotSent, time_is_up
from routing.gateway.endpoints import Endpoint
from routing.gateway.exchange import ClientGone, Exchange
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
        """One exchange, to its end; nothing is raised but a cancellation."""
        services = self.services
        services.active += 1
        try:
            if exchange.method != endpoint.method:
                raise MethodNotAllowed(f"{exchange.path} takes {endpoint.method}.", headers={"Allow": endpoint.method})
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
        await exchange.fail(error)
