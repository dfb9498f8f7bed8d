"""limit: may it come in. Takes a request, its tokens and a parallel slot, and gives back what was not used."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from komilion.common.errors import KomilionError, RateLimited, TooManyParallel
from routing.gateway.exchange import Exchange
from routing.gateway.types import Admitted, Inbound, Session
from routing.limits.admission import Admission
from routing.limits.limiter import Limiter

WORDS = {
    "requests": "requests a minute",
    "tokens": "tokens a minute",
    "burst": "requests a second",
    "parallel": "requests at the same time",
}


@asynccontextmanager
async def limit(
    exchange: Exchange, session: Session, inbound: Inbound | KomilionError, limiter: Limiter
) -> AsyncIterator[Admitted]:
    """Admit the request or raise 429. One that could not be parsed counts too, and then raises its own error."""
    tokens = inbound.estimated_tokens if isinstance(inbound, Inbound) else 0
    admission = await limiter.admit(session.scopes, tokens)
    exchange.admission = admission
    if not admission.allowed:
        raise _refusal(admission)
    admitted: Admitted | None = None
    try:
        if isinstance(inbound, KomilionError):
            raise inbound
        admitted = Admitted(session, inbound, admission)
        yield admitted
    finally:
        limiter.release(session.scopes, admission, tokens, 0 if admitted is None else admitted.used_tokens)


def _refusal(admission: Admission) -> RateLimited:
    reason = admission.refused_by or "requests"
    wait_s = max(1, math.ceil(admission.retry_after_s))
    kind = TooManyParallel if reason == "parallel" else RateLimited
    if admission.never:
        return kind(
            f"This request alone is above the limit of {WORDS[reason]}; waiting does not help.",
            headers={"Retry-After": str(wait_s)},
        )
    return kind(f"Too many {WORDS[reason]}; try again in {wait_s} s.", headers={"Retry-After": str(wait_s)})
