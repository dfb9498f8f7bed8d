"""`POST /api/estimate`: what a chat request would do and cost, without a provider and without a hold.

It is planned as the call itself would be, and the ledger's own rules are asked about its hold. A moment later the
answer may be another: estimates promise nothing.
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
from routing.gateway.limit import count
from routing.gateway.notes import usd
from routing.gateway.reserve import count_input, order_of, refusal_of
from routing.gateway.route import BYTES_PER_TOKEN_AT_MOST
from routing.gateway.services import Services
from routing.gateway.types import Attempt, Inbound, Plan
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
    await count(exchange, session, services.limiter)
    if isinstance(inbound, KomilionError):
        raise inbound
    assert exchange.admission is not None, "counted a moment ago"
    catalog = await catalog_for(inbound, services, exchange.admission.catalog_version)
    plan = await plan_call(inbound, session.caller, catalog, services, may_probe=False)
    attempts = plan.attempts[: numbers.ATTEMPTS_MOST]
    outcome = await _preview(attempts, session.caller, exchange.request_id)
    refusal = refusal_of(outcome, session.caller) if isinstance(outcome, Refused) else None
    asked = Asked(inbound.chat, inbound.body_bytes, session.caller)
    await exchange.respond_json(
        {
            **_told_of_plan(plan),
            **_told_of_cost(attempts, inbound, services.learning.brain.expect(asked, attempts[0].offer)),
            **_amount("hold", outcome.amount if isinstance(outcome, Granted) else 0),
            "would_be_402": refusal is not None,
            "refusal": None if refusal is None else _told_of_refusal(refusal),
        }
    )


async def _preview(attempts: tuple[Attempt, ...], caller: Caller, request_id: str) -> Outcome:
    """What the ledger would say to the call's hold, as `reserve` asks for it."""
    try:
        outcome = await asyncio.to_thread(_ask_the_ledger, order_of(attempts, caller, request_id, "", None))
        if isinstance(outcome, NeedsCount):
            await count_input(attempts)
            order = order_of(attempts, caller, request_id, "", None, is_byte_bound=False)
            outcome = await asyncio.to_thread(_ask_the_ledger, order)
    except DatabaseError as error:
        raise LedgerUnavailable from error
    return outcome


def _ask_the_ledger(place: Place) -> Outcome:
    """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""
    try:
        return preview_hold(place)
    finally:
        connection.close()


def _told_of_plan(plan: Plan) -> dict[str, Any]:
    first, selected = plan.attempts[0], plan.choice
    choice = None if selected is None else selected.choice
    filtered = None if choice is None else choice.inputs.filtered
    return {
        "object": "estimate",
        "requested_model": plan.requested_model,
        "model": first.offer.model_id,
        "provider": first.offer.provider,
        "fallbacks": list(dict.fromkeys(each.offer.model_id for each in plan.attempts[1 : numbers.ATTEMPTS_MOST])),
        "policy": None if selected is None else selected.policy,
        "task_type": None if selected is None else selected.task,
        "rule": None if selected is None else selected.rule,
        "filters": [] if filtered is None else [FILTERS[code - 1].name for code in sorted({*filtered.codes()} - {0})],
        "excluded": {} if filtered is None else filtered.reasons(),
        "adjusted": [*first.chat.adjusted, *plan.adjusted],
    }


def _told_of_cost(attempts: tuple[Attempt, ...], inbound: Inbound, expected: tuple[int, int] | None) -> dict[str, Any]:
    """The least that the first attempt may be charged, what it is expected to be, and the most that any may be."""
    first = attempts[0]
    most = max(each.offer.price.ceiling(each.input_bound, each.output_ceiling) for each in attempts)
    input_tokens, output_tokens = expected or (
        min(inbound.body_bytes // 4 + 1, first.input_bound),
        min(LIKELY_OUTPUT_TOKENS * first.chat.choices, first.output_ceiling),
    )
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
