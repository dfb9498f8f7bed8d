"""Which attempts come first when offers are out of order."""

from itertools import takewhile

from msgspec.structs import replace

from routing.gateway.types import Attempt, Plan
from routing.selection.health import Breakers, key_of


async def order_by_health(plan: Plan, breakers: Breakers) -> Plan:
    """The plan with offers whose breaker is open at its end: each is a last resort.

    One that would have come first may be due for a probe; then it comes first, for this caller alone.
    """
    is_open = {id(attempt): breakers.is_open(*key_of(attempt.offer)) for attempt in plan.attempts}
    if not any(is_open.values()) or len(is_open) == 1:
        return plan
    preferred = list(takewhile(lambda attempt: is_open[id(attempt)], plan.attempts))
    probe = await breakers.borrow(key_of(attempt.offer) for attempt in preferred)

    def rank(attempt: Attempt) -> int:
        if probe is not None and key_of(attempt.offer) == probe:
            return 0
        return 2 if is_open[id(attempt)] else 1

    return replace(plan, attempts=tuple(sorted(plan.attempts, key=rank)), probe=probe)
