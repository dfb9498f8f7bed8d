"""One exchange to its end: whatever its handler raises becomes the answer, as far as one is still possible."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from komilion.common.errors import InternalError, KomilionError, RateLimited, Unavailable
from routing.gateway.call import NotSent, time_is_up
from routing.gateway.exchange import ClientGone, Exchange
from routing.gateway.limit import count
from routing.gateway.services import Services
from routing.gateway.watch import Interrupted

log = logging.getLogger(__name__)

type Handler = Callable[[Exchange, Services], Awaitable[None]]


async def serve_to_the_end(exchange: Exchange, services: Services, handler: Handler) -> None:
    """Run the handler; nothing is raised. Only a server that stops cancels it."""
    try:
        await handler(exchange, services)
    except KomilionError as error:
        await _answer_error(exchange, services, error)
    except NotSent as error:
        await _answer_error(exchange, services, error.error)
    except Interrupted as error:
        if error.reason not in {"client_left", "write_stall"}:
            await _answer_error(exchange, services, time_is_up(exchange.path))
    except ClientGone:
        return
    except asyncio.CancelledError:
        if not exchange.started:  # a stream that has begun has said it itself
            await exchange.fail(Unavailable("This server is stopping; send the request again."))
    except Exception:
        log.exception("request failed", extra={"request_id": exchange.request_id})
        await _answer_error(exchange, services, InternalError())


async def _answer_error(exchange: Exchange, services: Services, error: KomilionError) -> None:
    """As a status while that is possible; a stream that has begun has said it itself."""
    if exchange.started:
        log.error("error after the first byte", extra={"request_id": exchange.request_id, "error": str(error)})
        return
    if exchange.session is not None and exchange.admission is None:
        with contextlib.suppress(RateLimited):  # what went wrong first is what the caller is told
            await count(exchange, exchange.session, services.limiter)
    await exchange.fail(error)
