"""reserve: Plan -> Reserved. A durable hold before a byte goes to a provider, or 402.

A call that can be metered as it goes (streamed, no hidden reasoning) first holds its input and part of its output and
extends later; any other call holds its whole ceiling. Where the wallet covers less than the ceiling, the upstream's
output limit is lowered to what it covers, and the answer says so.
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
    Place,
    Refused,
)
from komilion.common.errors import InsufficientBalance, InternalError, KeyCapReached, LedgerUnavailable
from komilion.common.money import format_usd
from komilion.common.numbers import numbers
from routing.gateway.count_tokens import bound_tokens
from routing.gateway.idempotency import AlreadyMade
from routing.gateway.recording import Recording
from routing.gateway.types import Attempt, Plan, Reserved

type Extension = Literal["granted", "insufficient_balance", "key_cap_reached", "unavailable"]

CAP_WORDS = {"day": "daily", "month": "monthly", "total": "total"}


class CallerChanged(Exception):
    """Key or organization changed since the caller was authenticated: authenticate again and try once more."""


async def reserve(
    plan: Plan, caller: Caller, request_id: str, committer: Committer, process_id: str, claim: Claim | None = None
) -> Reserved:
    """Hold what the dearest attempt may cost, and `claim` with it.

    Raises 402, 503, `CallerChanged`, or `AlreadyMade` where another call has the claim.
    """
    attempt = plan.attempts[0]
    outcome = await committer.submit(_order(attempt, caller, request_id, process_id, claim))
    if isinstance(outcome, NeedsCount):
        counted = await asyncio.to_thread(bound_tokens, attempt.chat.messages, attempt.chat.parameters)
        attempt = replace(attempt, input_bound=min(attempt.input_bound, counted))
        exact = _order(attempt, caller, request_id, process_id, claim, is_byte_bound=False)
        outcome = await committer.submit(exact)
    if isinstance(outcome, AuthorizationChanged):
        raise CallerChanged
    if isinstance(outcome, Claimed):
        assert claim is not None
        raise AlreadyMade(claim, outcome)
    if isinstance(outcome, Refused):
        if outcome.cap is not None:
            raise KeyCapReached(
                _cap_message(outcome, outcome.cap, caller),
                needed_nano=outcome.needed,
                cap=(outcome.cap.key_id, outcome.cap.period),
            )
        debt = f" and ${format_usd(outcome.debt)} of debt to pay first" if outcome.debt else ""
        raise InsufficientBalance(
            f"This request needs at least ${format_usd(outcome.needed)} and the wallet has"
            f" ${format_usd(outcome.available)} available{debt}. Top it up and try again.",
            needed_nano=outcome.needed,
        )
    if not isinstance(outcome, Granted):
        raise InternalError
    reserved = _lower_to_grant(plan, attempt, caller, outcome)
    if claim is not None:
        reserved.recording = Recording(claim)
    return reserved


def held_output(attempt: Attempt) -> int:
    """Output tokens that the first hold pays for."""
    if is_metered(attempt):
        return min(attempt.output_ceiling, numbers.STREAM_HOLD_OUTPUT_TOKENS * attempt.chat.choices)
    return attempt.output_ceiling


def is_metered(attempt: Attempt) -> bool:
    """Whether the output can be counted while it comes."""
    return attempt.chat.stream and not attempt.offer.is_reasoning


def _order(
    attempt: Attempt,
    caller: Caller,
    request_id: str,
    process_id: str,
    claim: Claim | None,
    *,
    is_byte_bound: bool = True,
) -> Place:
    price = attempt.offer.price
    least_output = min(attempt.output_ceiling, numbers.START_OUTPUT_TOKENS * attempt.chat.choices)
    return Place(
        request_id=request_id,
        wallet_id=caller.organization_id,
        key_id=caller.key_id,
        key_epoch=caller.key_epoch,
        organization_epoch=caller.organization_epoch,
        ceiling=price.ceiling(attempt.input_bound, held_output(attempt)),
        minimum=price.ceiling(attempt.input_bound, least_output),
        is_byte_bound=is_byte_bound,
        price_ids=[price.id],
        process_id=process_id,
        lifetime_s=numbers.HOLD_LIFETIME_S,
        capped_keys=caller.capped_keys,
        claim=claim,
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


def _lower_to_grant(plan: Plan, attempt: Attempt, caller: Caller, granted: Granted) -> Reserved:
    """Bound the upstream's output by what is paid for; a metered call may still draw on what is available."""
    price = attempt.offer.price
    if granted.amount >= price.ceiling(attempt.input_bound, attempt.output_ceiling):
        return Reserved(
            plan=plan,
            attempt=attempt,
            caller=caller,
            held=granted.amount,
            held_output=attempt.output_ceiling,
            adjusted=attempt.chat.adjusted,
            caps=granted.caps,
        )
    held_tokens = min(held_output(attempt), price.output_tokens_for(granted.amount, attempt.input_bound))
    spendable = granted.amount + (granted.available if is_metered(attempt) else 0)
    affordable = price.output_tokens_for(spendable, attempt.input_bound)
    adjusted = attempt.chat.adjusted
    if affordable < attempt.output_ceiling:
        lowered = max(1, affordable // attempt.chat.choices)
        upstream = attempt.offer.dialect.chat_request(attempt.chat, attempt.offer.target, lowered)
        attempt = replace(attempt, upstream=upstream, output_ceiling=lowered * attempt.chat.choices)
        adjusted += (
            {
                "param": "max_tokens",
                "action": "lowered",
                "from": attempt.chat.max_output_tokens,
                "to": lowered,
                "reason": "key_cap_reached" if granted.is_capped else "insufficient_balance",
            },
        )
    return Reserved(
        plan=plan,
        attempt=attempt,
        caller=caller,
        held=granted.amount,
        held_output=held_tokens,
        adjusted=adjusted,
        caps=granted.caps,
    )


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
        is_capped = isinstance(outcome, Refused) and outcome.cap is not None
        return "key_cap_reached" if is_capped else "insufficient_balance"
    reserved.held += outcome.amount
    reserved.caps = outcome.caps
    reserved.held_output = min(wanted, price.output_tokens_for(reserved.held, attempt.input_bound))
    return "granted"
