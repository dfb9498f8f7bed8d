"""A whole answer that is larger than we take: nobody gets it, but the provider bills it, so what it used is found out.

It is read on to its end, where a provider says what it used, and only the last piece of it is kept. What is charged is
what the provider reports; else our own count where the caller asked for token probabilities, which is how an answer
becomes so large; else nothing: then it is the provider that writes without end.
"""

import contextlib

from komilion.common.http_client import Response
from komilion.common.http_errors import HttpError, TooLarge
from komilion.common.numbers import numbers
from routing.gateway.meter import Meter
from routing.gateway.settle import Settlement
from routing.gateway.types import BYTES_PER_TOKEN, Attempt

TAIL_BYTES = 64 * 2**10  # usage and what stands behind it


async def read_on(response: Response, begun: TooLarge, attempt: Attempt, meter: Meter) -> None:
    """Meter what `begun` gave up reading. Never raises what the provider does."""
    size, tail, is_whole = begun.size, begun.last[-TAIL_BYTES:], False
    with contextlib.suppress(HttpError, TimeoutError):  # then nobody knows what it used
        while size <= numbers.UPSTREAM_DRAIN_LIMIT_BYTES:
            piece = await response.read_some()
            if not piece:
                is_whole = True
                break
            size += len(piece)
            tail = (tail + piece)[-TAIL_BYTES:]
    if is_whole:
        meter.report = attempt.offer.dialect.usage_at_end(tail)
    meter.count(1, min(size, attempt.output_ceiling * BYTES_PER_TOKEN))


async def charge_oversize(settlement: Settlement) -> None:
    """Settle the last attempt, whose answer was too large, if it is to be charged; else it is the house's loss."""
    meter = settlement.progress.tries[-1].meter
    usage = meter.reported(settlement.request_id)
    if usage is not None:
        await settlement.settle("provider_cut", usage, "provider")
    elif settlement.reserved.attempt.chat.parameters.get("logprobs"):
        await settlement.settle("provider_cut", meter.estimated(), "estimated")
