"""A whole answer: read it, meter it, settle it, then send it with its bill."""

import orjson

from komilion.common.errors import KomilionError
from komilion.common.failpoints import failpoint
from komilion.common.numbers import numbers
from routing.gateway.call import UpstreamResponse
from routing.gateway.exchange import JSON_TYPE, Exchange
from routing.gateway.idempotency import NOT_KEPT
from routing.gateway.meter import Meter
from routing.gateway.notes import annotate, cost_headers, origin_headers
from routing.gateway.recording import Composed
from routing.gateway.settle import NOTHING, Settlement
from routing.gateway.types import Settled
from routing.providers.base import Identity
from routing.providers.scrub import scrub


async def answer(exchange: Exchange, upstream: UpstreamResponse, settlement: Settlement) -> None:
    """Raises what the body's error means, after settling for nothing."""
    attempt = upstream.attempt
    reserved = settlement.reserved
    body = await upstream.response.read(numbers.UPSTREAM_BODY_LIMIT_BYTES)
    try:
        identity = Identity(exchange.request_id, attempt.offer.model_id)
        whole = attempt.offer.dialect.chat_answer(body, identity)
    except KomilionError:
        await settlement.settle("provider_failed", NOTHING, "absent")
        raise
    meter = Meter(attempt, reserved)
    meter.count(0, whole.output_bytes)
    meter.report = whole.report
    usage, source = meter.final(exchange.request_id)
    is_v1 = exchange.path.startswith("/v1/")
    if source == "estimated":
        whole.payload.pop("usage", None)  # what it says is not what was charged

    def compose(settled: Settled) -> Composed:
        payload = annotate(whole.payload, reserved, settled, is_v1=is_v1)
        data = scrub(
            orjson.dumps(settlement.admitted.inbound.form.render(payload)), attempt.offer.target.api_key.encode()
        )
        headers = [JSON_TYPE, *origin_headers(reserved, is_v1=is_v1), *cost_headers(settled, is_v1=is_v1)]
        if reserved.recording is not None and reserved.recording.is_dropped:
            headers.append(NOT_KEPT)
        return headers, data

    headers, data = await settlement.conclude("completed", usage, source, compose)
    failpoint("first-byte")
    await exchange.respond(200, data, headers[1:])
    failpoint("last-byte")
