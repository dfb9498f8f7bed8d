"""What Komilion adds to an answer: the `x_komilion` object and the headers, as bytes and without a float.

Amounts are written as exact decimal literals with an integer of nano-USD beside each.
"""

from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from functools import lru_cache
from typing import Any

import orjson

from komilion.common.money import format_usd
from komilion.common.numbers import numbers
from routing.catalog.resolve import Resolved
from routing.gateway.exchange import Headers
from routing.gateway.types import Reserved, Settled


def usd(nano: int) -> orjson.Fragment:
    """An amount as a JSON number that no float ever touched."""
    return orjson.Fragment(format_usd(nano).encode())


def annotate(
    payload: dict[str, Any], reserved: Reserved, settled: Settled, *, is_v1: bool, stopped: str | None = None
) -> dict[str, Any]:
    """Add `x_komilion`, and the charge to `usage`, in place."""
    offer = reserved.attempt.offer
    cost, savings = usd(settled.charge), None if settled.savings is None else usd(settled.savings)
    choice = reserved.plan.choice
    note: dict[str, Any] = {
        "provider": offer.provider,
        "model": offer.model_id,
        "requested_model": reserved.plan.requested_model,
        "cost_usd": cost,
        "cost_nano_usd": settled.charge,
        "savings_usd": savings,
        "savings_nano_usd": settled.savings,
        "routed_from": _routed_from(reserved),
        "adjusted": list(reserved.adjusted),
        "settlement": "pending" if settled.is_pending else "settled",
    }
    if choice is not None:
        note |= choice.notes(offer.model_id)
    position = _position(reserved)
    if position:
        note["fallback"] = position
    if reserved.joins:
        note["joined"] = reserved.joins
    if stopped is not None:
        note["stopped"] = stopped
    if reserved.recording is not None and reserved.recording.is_dropped:
        note["idempotency_kept"] = False
    payload["x_komilion"] = note
    if is_v1 and numbers.COMPAT_NAMES:
        payload["x_kairosroute"] = {
            "provider": offer.provider,
            "model": offer.model_id,
            "cost_usd": cost,
            "savings_usd": savings,
        }
    usage = payload.get("usage")
    if not isinstance(usage, dict):
        usage = payload["usage"] = usage_object(settled)
    usage["cost"] = cost
    usage["cost_nano_usd"] = settled.charge
    return payload


def usage_object(settled: Settled) -> dict[str, Any]:
    """OpenAI's `usage` for a call whose provider sent none: what it was charged for."""
    output = settled.usage.get("output", 0) + settled.usage.get("output_audio", 0)
    total_input = sum(
        units for name, units in settled.usage.items() if name not in {"output", "output_audio", "reasoning"}
    )
    return {
        "prompt_tokens": total_input,
        "completion_tokens": output,
        "total_tokens": total_input + output,
    }


def _routed_from(reserved: Reserved) -> str | None:
    """What should have answered where another model does: one that could not, a policy's name, or a retired model."""
    plan, named = reserved.plan, reserved.plan.named
    if named is not None and named.moved_from is not None:
        return named.moved_from.id
    if reserved.attempt.offer.model_id != plan.model:
        return plan.model
    return None if plan.choice is None else plan.requested_model


def _position(reserved: Reserved) -> int:
    """Which of the plan's models after the first one answers; 0 where that does."""
    plan, model = reserved.plan, reserved.attempt.offer.model_id
    if model == plan.model:
        return 0
    return list(dict.fromkeys([plan.model, *(attempt.offer.model_id for attempt in plan.attempts)])).index(model)


def origin_headers(reserved: Reserved, *, is_v1: bool) -> Headers:
    """Who answers; on every answer, streamed or not. A model that was asked for and ends says so."""
    offer = reserved.attempt.offer
    provider = offer.provider.encode()
    headers = [(b"x-komilion-model", offer.model_id.encode()), (b"x-komilion-provider", provider)]
    if is_v1 and numbers.COMPAT_NAMES:
        headers.append((b"x-kairosroute-provider", provider))
    named = reserved.plan.named
    return headers if named is None else headers + end_headers(named)


def end_headers(named: Resolved) -> Headers:
    """Of the model that a name means, where it ends or has ended."""
    ending = named.moved_from or named.model
    return [] if ending.sunset_on is None else _end_headers(ending.deprecated_on, ending.sunset_on)


@lru_cache(maxsize=1_024)
def _end_headers(deprecated_on: date | None, sunset_on: date) -> Headers:
    """`Deprecation` (RFC 9745) and `Sunset` (RFC 8594), both at midnight UTC."""
    known, end = (datetime.combine(day, time(), UTC) for day in (deprecated_on or sunset_on, sunset_on))
    return [
        (b"deprecation", b"@%d" % int(known.timestamp())),
        (b"sunset", format_datetime(end, usegmt=True).encode()),
    ]


def cost_headers(settled: Settled, *, is_v1: bool) -> Headers:
    """What it cost; only where the head of the response waits for the bill."""
    cost = format_usd(settled.charge).encode()
    headers = [(b"x-komilion-cost", cost)]
    saved = [] if settled.savings is None else [format_usd(settled.savings).encode()]
    headers += [(b"x-komilion-savings", amount) for amount in saved]
    if is_v1 and numbers.COMPAT_NAMES:
        headers += [(b"x-kairosroute-cost", cost), *((b"x-kairosroute-savings", amount) for amount in saved)]
    return headers
