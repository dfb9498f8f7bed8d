"""A whole answer: read it, meter it, settle it, then send it with its bill."""

import orjson

from komilion.common.errors import AnswerTooLarge
from komilion.common.failpoints import failpoint
from komilion.common.http_errors import TooLarge
from komilion.common.numbers import numbers
from routing.gateway.call import UpstreamResponse
from routing.gateway.calls import Calls
from routing.gateway.exchange import JSON_TYPE, Exchange
from routing.gateway.idempotency import NOT_KEPT
from routing.gateway.meter import Meter
from routing.gateway.notes import annotate, cost_headers, origin_headers
from routing.gateway.oversize import charge_oversize, read_on
from routing.gateway.progress import finish_reason_of
from routing.gateway.recording import Composed
from routing.gateway.settle import Settlement
from routing.gateway.types import Settled
from routing.providers.base import ChatAnswer, Identity
from routing.providers.scrub import scrub


async def answer(exchange: Exchange, calls: Calls, settlement: Settlement) -> None:
    """Of the first attempt that brings one. Raises what the last one's failing means."""
    reserved = settlement.reserved

    async def read(upstream: UpstreamResponse) -> tuple[ChatAnswer, Meter]:
        offer, meter = upstream.attempt.offer, upstream.tried.meter
        try:
            body = await upstream.response.read(numbers.UPSTREAM_BODY_LIMIT_BYTES)
        except TooLarge as error:
            await read_on(upstream.response, error, upstream.attempt, meter)
            raise
        whole = offer.dialect.chat_answer(body, Identity(exchange.request_id, offer.model_id))
        meter.count(0, whole.output_bytes)
        meter.report = whole.report
        return whole, meter

    try:
        whole, meter = await calls.run(read)
    except AnswerTooLarge:
        await charge_oversize(settlement)
        raise
    usage, source = meter.final(exchange.request_id)
    settlement.progress.finish_reason = finish_reason_of([whole.payload])
    is_v1 = exchange.path.startswith("/v1/")
    if source == "estimated":
        whole.payload.pop("usage", None)  # what it says is not what was charged

    def compose(settled: Settled) -> Composed:
        payload = annotate(whole.payload, reserved, settled, is_v1=is_v1)
        data = scrub(
            orjson.dumps(settlement.admitted.inbound.form.render(payload)),
            reserved.attempt.offer.target.api_key.encode(),
        )
        headers = [JSON_TYPE, *origin_headers(reserved, is_v1=is_v1), *cost_headers(settled, is_v1=is_v1)]
        if reserved.recording is not None and reserved.recording.is_dropped:
            headers.append(NOT_KEPT)
        return headers, data

    headers, data = await settlement.conclude("completed", usage, source, compose)
    failpoint("first-byte")
    await exchange.respond(200, data, headers[1:])
    failpoint("last-byte")
