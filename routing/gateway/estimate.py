"""`POST /api/estimate`: what a chat request would do and cost, without a provider and without a hold.

It is admitted and planned as the call itself would be, and the ledger's own rules are asked about its hold. A moment
later the answer may be another: estimates promise nothing. To estimate is the work of a call without its provider, so
it has a place among those that run at once, and the input counts among the tokens a minute.
"""

import asyncio
from typing import Any

from django.db import DatabaseError, connection

from accounts.access import Caller
from billing.ledger.items import Granted, NeedsCount, Outcome, Place, Refused
from billing.previews import preview_hold
from billing.prices import UnpricedUsage
from komilion.common.errors import InsufficientBalance, KomilionError, LedgerUnavailable
from komilion.common.numbers import numbers
from komilion.common.usage import Usage
from routing.gateway.choice.brain import Asked, characters_in
from routing.gateway.choice.planning import catalog_for, plan_call
from routing.gateway.exchange import Exchange
from routing.gateway.inbound import parse_inbound
from routing.gateway.limit import Limit
from routing.gateway.notes import usd
from routing.gateway.reserve import count_input, granted, is_metered, order_of, refusal_of
from routing.gateway.route import BYTES_PER_TOKEN_AT_MOST
from routing.gateway.services import Services
from routing.gateway.types import Admitted, Attempt, Inbound, Plan, Reserved
from routing.selection.filters import FILTERS

LIKELY_OUTPUT_TOKENS = 256  # where nothing better is known


async def serve_estimate(exchange: Exchange, services: Services) -> None:
    """The estimate as JSON. Raises what the call would be refused for, but for want of money, which is an answer."""
    session = await services.authenticator.authenticate(exchange)
    inbound: Inbound | KomilionError
    try:
        inbound = parse_inbound(exchange, await services.bodies.read(exchange))
    except KomilionError as error:
        inbound = error  # it counts as a request all the same
    async with Limit(exchange, session, inbound, services.limiter) as admitted:
        admitted.used_tokens = admitted.inbound.input_tokens  # reading them is the same work as for a call
        estimate = await _estimate(exchange.request_id, admitted, services)
    await exchange.respond_json(estimate)


async def _estimate(request_id: str, admitted: Admitted, services: Services) -> dict[str, Any]:
    caller, inbound = admitted.session.caller, admitted.inbound
    catalog = await catalog_for(inbound, services, admitted.admission.catalog_version)
    plan = await plan_call(inbound, caller, catalog, services, may_probe=False)
    outcome = await _preview(plan, caller, request_id)
    refusal = refusal_of(outcome, caller) if isinstance(outcome, Refused) else None
    reserved = outcome if isinstance(outcome, Reserved) else None
    attempts = plan.attempts[: numbers.ATTEMPTS_MOST] if reserved is None else reserved.attempts
    expected = services.learning.brain.expect(Asked(inbound.chat, inbound.body_bytes, caller), attempts[0].offer)
    return {
        **_told_of_plan(plan, attempts),
        "adjusted": [*attempts[0].chat.adjusted, *plan.adjusted] if reserved is None else list(reserved.adjusted),
        **_told_of_cost(attempts[0], _most(attempts, reserved), inbound, expected),
        **_amount("hold", 0 if reserved is None else reserved.held),
        "would_be_402": refusal is not None,
        "refusal": None if refusal is None else _told_of_refusal(refusal),
    }


async def _preview(plan: Plan, caller: Caller, request_id: str) -> Reserved | Refused:
    """What would come of the call's hold, as `reserve` asks for it."""
    attempts = plan.attempts[: numbers.ATTEMPTS_MOST]
    order = order_of(attempts, caller, request_id, "", None)
    try:
        outcome = await asyncio.to_thread(_ask_the_ledger, order)
        if isinstance(outcome, NeedsCount):
            await count_input(attempts)
            order = order_of(attempts, caller, request_id, "", None, is_byte_bound=False)
            outcome = await asyncio.to_thread(_ask_the_ledger, order)
    except DatabaseError as error:
        raise LedgerUnavailable from error
    if isinstance(outcome, Refused):
        return outcome
    assert isinstance(outcome, Granted), "a preview has no claim, and a caller of this moment"
    return granted(plan, caller, outcome, order.ceiling)


def _most(attempts: tuple[Attempt, ...], reserved: Reserved | None) -> int:
    """Nano-USD that any of them may be charged: its ceiling, and no more than there is to hold."""
    most = 0
    for attempt in attempts:
        ceiling = attempt.offer.price.ceiling(attempt.input_bound, attempt.output_ceiling)
        if reserved is not None:
            ceiling = min(ceiling, reserved.held + (reserved.spare if is_metered(attempt) else 0))
        most = max(most, ceiling)
    return most


def _ask_the_ledger(place: Place) -> Outcome:
    """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""
    try:
        return preview_hold(place)
    finally:
        connection.close()


def _told_of_plan(plan: Plan, attempts: tuple[Attempt, ...]) -> dict[str, Any]:
    first, selected = attempts[0], plan.choice
    choice = None if selected is None else selected.choice
    filtered = None if choice is None else choice.inputs.filtered
    return {
        "object": "estimate",
        "requested_model": plan.requested_model,
        "model": first.offer.model_id,
        "provider": first.offer.provider,
        "fallbacks": list(dict.fromkeys(each.offer.model_id for each in attempts))[1:],
        "policy": None if selected is None else selected.policy,
        "task_type": None if selected is None else selected.task,
        "rule": None if selected is None else selected.rule,
        "filters": [] if filtered is None else [FILTERS[code - 1].name for code in sorted({*filtered.codes()} - {0})],
        "excluded": {} if filtered is None else filtered.reasons(),
    }


def _told_of_cost(first: Attempt, most: int, inbound: Inbound, expected: tuple[int, int] | None) -> dict[str, Any]:
    """The least that the first attempt may be charged, what it is expected to be, and the most that any may be."""
    input_tokens, output_tokens = expected or (
        min(inbound.body_bytes // 4 + 1, first.input_bound),
        LIKELY_OUTPUT_TOKENS * first.chat.choices,
    )
    output_tokens = min(output_tokens, first.output_ceiling)
    likely = min(_charge(first, Usage(input=input_tokens, output=output_tokens)), most)
    written = sum(map(characters_in, inbound.chat.messages))
    least = min(_charge(first, Usage(cache_read=written // BYTES_PER_TOKEN_AT_MOST, output=first.chat.choices)), likely)
    return {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cost": {**_amount("minimum", least), **_amount("expected", likely), **_amount("maximum", most)},
    }


def _charge(attempt: Attempt, usage: Usage) -> int:
    price = attempt.offer.price
    try:
        return price.charge(usage).charge
    except UnpricedUsage:
        return price.ceiling(usage.total_input, usage.total_output)


def _told_of_refusal(refusal: InsufficientBalance) -> dict[str, Any]:
    return {"reason": refusal.reason, "message": refusal.message, **_amount("needed", refusal.needed_nano)}


def _amount(name: str, nano: int) -> dict[str, Any]:
    return {f"{name}_usd": usd(nano), f"{name}_nano_usd": nano}
