"""reserve: Plan -> Reserved. A durable hold before a byte goes to a provider, or 402.

A call that can be metered as it goes (streamed, no hidden reasoning) first holds its input and part of its output and
extends later; any other call holds its whole ceiling. Where the wallet covers less than the ceiling, the upstream's
output limit is lowered to what it covers, and the answer says so. A call that is compared with others holds its part of
the wallet at most (`shares`).
"""

import asyncio
from datetime import date
from typing import Literal

from msgspec.structs import replace

from accounts.access import Caller
from billing.cap_periods import resets_on
from billing.ledger.committer import Committer
from billing.ledger.items import (
    AuthorizationChanged,
    CapReached,
    Claim,
    Claimed,
    Extend,
    Granted,
    NeedsCount,
    Outcome,
    Place,
    Refused,
)
from komilion.common.errors import InsufficientBalance, InternalError, KeyCapReached, LedgerUnavailable
from komilion.common.money import format_usd
from komilion.common.numbers import numbers
from routing.gateway.count_tokens import bound_tokens
from routing.gateway.idempotency import AlreadyMade
from routing.gateway.recording import Recording
from routing.gateway.types import Attempt, Bound, Plan, Reserved

type Extension = Literal["granted", "insufficient_balance", "key_cap_reached", "unavailable"]

CAP_WORDS = {"day": "daily", "month": "monthly", "total": "total"}


class CallerChanged(Exception):
    """Key or organization changed since the caller was authenticated: authenticate again and try once more."""


async def reserve(
    plan: Plan, caller: Caller, request_id: str, committer: Committer, process_id: str, claim: Claim | None = None
) -> Reserved:
    """Hold what the dearest attempt may cost, and `claim` with it; what the hold does not pay for is not tried.

    Raises 402, 503, `CallerChanged`, or `AlreadyMade` where another call has the claim.
    """
    attempts = plan.attempts[: numbers.ATTEMPTS_MOST]
    order = order_of(attempts, caller, request_id, process_id, claim)
    is_within = plan.share is None or order.ceiling <= plan.share
    outcome = await committer.submit(order) if is_within else NeedsCount()
    if isinstance(outcome, NeedsCount):
        await count_input(attempts)
        order = _within_share(order_of(attempts, caller, request_id, process_id, claim, is_byte_bound=False), plan)
        outcome = await committer.submit(order)
    if isinstance(outcome, AuthorizationChanged):
        raise CallerChanged
    if isinstance(outcome, Claimed):
        assert claim is not None
        raise AlreadyMade(claim, outcome)
    if isinstance(outcome, Refused):
        raise refusal_of(outcome, caller)
    if not isinstance(outcome, Granted):
        raise InternalError
    reserved = granted(plan, caller, outcome, order.ceiling)
    if claim is not None:
        reserved.recording = Recording(claim)
    return reserved


async def count_input(attempts: tuple[Attempt, ...]) -> None:
    """Lower their bounds from bytes to what a count of the input finds."""
    chat = attempts[0].chat
    counted = await asyncio.to_thread(bound_tokens, chat.messages, chat.parameters)
    for attempt in attempts:
        attempt.input_bound = min(attempt.input_bound, counted + attempt.media_bound)


def _within_share(order: Place, plan: Plan) -> Place:
    """No more than the plan's share. Raises 402 where that lets nothing start."""
    if plan.share is None or plan.share >= order.ceiling:
        return order
    if plan.share < order.minimum:
        raise InsufficientBalance(
            f"This request needs at least ${format_usd(order.minimum)}, and its part of what the wallet has is"
            f" ${format_usd(plan.share)}: the rest is held by the other models of this comparison."
            " Top it up, or compare fewer models.",
            needed_nano=order.minimum,
        )
    return replace(order, ceiling=plan.share)


def held_output(attempt: Attempt) -> int:
    """Output tokens that the first hold pays for."""
    if is_metered(attempt):
        return min(attempt.output_ceiling, numbers.STREAM_HOLD_OUTPUT_TOKENS * attempt.chat.choices)
    return attempt.output_ceiling


def is_metered(attempt: Attempt) -> bool:
    """Whether the output can be counted while it comes."""
    return attempt.chat.stream and not attempt.offer.is_reasoning


def _most(attempt: Attempt) -> int:
    """Nano-USD that the first hold takes for the attempt."""
    return attempt.offer.price.ceiling(attempt.input_bound, held_output(attempt))


def _least(attempt: Attempt) -> int:
    """Nano-USD without which the attempt does not start."""
    least_output = min(attempt.output_ceiling, numbers.START_OUTPUT_TOKENS * attempt.chat.choices)
    return attempt.offer.price.ceiling(attempt.input_bound, least_output)


def order_of(
    attempts: tuple[Attempt, ...],
    caller: Caller,
    request_id: str,
    process_id: str,
    claim: Claim | None,
    *,
    is_byte_bound: bool = True,
) -> Place:
    """The whole of the dearest attempt, or what at least lets the cheapest one start."""
    first, *others = attempts
    ceiling, minimum = _most(first), _least(first)
    for attempt in others:
        ceiling, minimum = max(ceiling, _most(attempt)), min(minimum, _least(attempt))
    return Place(
        request_id=request_id,
        wallet_id=caller.organization_id,
        key_id=caller.key_id,
        key_epoch=caller.key_epoch,
        organization_epoch=caller.organization_epoch,
        ceiling=ceiling,
        minimum=minimum,
        is_byte_bound=is_byte_bound,
        price_ids=[each.offer.price.id for each in attempts],
        process_id=process_id,
        lifetime_s=numbers.HOLD_LIFETIME_S,
        capped_keys=caller.capped_keys,
        claim=claim,
    )


def refusal_of(refused: Refused, caller: Caller) -> InsufficientBalance:
    """What the caller is told; the figures are those of the attempt that needs least."""
    if refused.cap is not None:
        return KeyCapReached(
            _cap_message(refused, refused.cap, caller),
            needed_nano=refused.needed,
            cap=(refused.cap.key_id, refused.cap.period),
        )
    debt = f" and ${format_usd(refused.debt)} of debt to pay first" if refused.debt else ""
    return InsufficientBalance(
        f"This request needs at least ${format_usd(refused.needed)} and the wallet has"
        f" ${format_usd(refused.available)} available{debt}. Top it up and try again.",
        needed_nano=refused.needed,
    )


def _cap_message(refused: Refused, cap: CapReached, caller: Caller) -> str:
    whose = "this key" if cap.key_id == caller.key_id else "the key that made this one"
    running = f" and ${format_usd(cap.reserved)} reserved by running calls" if cap.reserved else ""
    next_start = resets_on(cap.period, date.fromisoformat(cap.starts_on))
    when = "It does not reset; raise it to go on." if next_start is None else f"It resets at {next_start} 00:00 UTC."
    return (
        f"This request needs at least ${format_usd(refused.needed)} and the {CAP_WORDS[cap.period]} cap of {whose},"
        f" ${format_usd(cap.limit)}, leaves ${format_usd(refused.available)}:"
        f" ${format_usd(cap.spent)} is spent{running}. {when}"
    )


def granted(plan: Plan, caller: Caller, hold: Granted, ceiling: int) -> Reserved:
    """Leave out what cannot start with less than the `ceiling` that was asked for; take up the first of the rest."""
    attempts, spare = plan.attempts[: numbers.ATTEMPTS_MOST], hold.available
    bounded_by: Bound = "key_cap_reached" if hold.is_capped else "insufficient_balance"
    if plan.share is not None and plan.share - hold.amount <= spare:
        spare, bounded_by = plan.share - hold.amount, "shared_balance"
    if (hold.amount < ceiling or ceiling == plan.share) and len(attempts) > 1:
        fitting = tuple(each for each in attempts if _least(each) <= hold.amount)
        served = {each.offer.model_id for each in fitting}
        skipped = [model for model in dict.fromkeys(each.offer.model_id for each in attempts) if model not in served]
        notes = ({"param": "models", "action": "skipped", "model": model, "reason": bounded_by} for model in skipped)
        plan, attempts = replace(plan, adjusted=(*plan.adjusted, *notes)), fitting
    reserved = Reserved(
        plan=plan,
        attempt=attempts[0],
        attempts=attempts,
        caller=caller,
        held=hold.amount,
        spare=spare,
        bounded_by=bounded_by,
        caps=hold.caps,
    )
    take_up(reserved, attempts[0])
    return reserved


def take_up(reserved: Reserved, attempt: Attempt) -> None:
    """Make it the attempt that runs: bound its output by what is paid for, and say so.

    A metered call may still draw on what is available.
    """
    price = attempt.offer.price
    reserved.attempt = attempt
    if reserved.held >= price.ceiling(attempt.input_bound, attempt.output_ceiling):
        reserved.held_output = attempt.output_ceiling
    else:
        limit = attempt.output_ceiling if reserved.extensions else held_output(attempt)
        reserved.held_output = min(limit, price.output_tokens_for(reserved.held, attempt.input_bound))
        spendable = reserved.held + (reserved.spare if is_metered(attempt) else 0)
        affordable = price.output_tokens_for(spendable, attempt.input_bound)
        if affordable < attempt.output_ceiling:
            lowered = max(1, affordable // attempt.chat.choices)
            attempt.lower(lowered, reserved.bounded_by)
    reserved.adjusted = (*reserved.plan.adjusted, *attempt.chat.adjusted, *attempt.lowered)


def not_extended(outcome: Outcome) -> Extension:
    """Why an extension was not granted."""
    is_capped = isinstance(outcome, Refused) and outcome.cap is not None
    return "key_cap_reached" if is_capped else "insufficient_balance"


async def extend(reserved: Reserved, used: int, request_id: str, committer: Committer) -> Extension:
    """Reserve the next part of a stream's output, of which `used` tokens have come."""
    attempt = reserved.attempt
    price = attempt.offer.price
    step = numbers.STREAM_HOLD_OUTPUT_TOKENS * attempt.chat.choices
    wanted = min(attempt.output_ceiling, max(reserved.held_output, 2 * used) + step)
    amount = price.ceiling(attempt.input_bound, wanted) - reserved.held
    if amount <= 0:
        reserved.held_output = wanted
        return "granted"
    ordinal = reserved.extensions + 1
    try:
        outcome = await committer.submit(
            Extend(request_id, reserved.caller.organization_id, ordinal, amount, reserved.caps)
        )
    except LedgerUnavailable:
        return "unavailable"  # it may have been granted unseen: the same ordinal then gets the same amount
    reserved.extensions = ordinal
    if not isinstance(outcome, Granted):
        return not_extended(outcome)
    reserved.held += outcome.amount
    reserved.caps = outcome.caps
    reserved.held_output = min(wanted, price.output_tokens_for(reserved.held, attempt.input_bound))
    return "granted"
