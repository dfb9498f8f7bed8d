"""limit: may it come in. Takes a request, its tokens and a parallel slot, and gives back what was not used."""

import math

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


class Limit:
    """`async with Limit(...) as admitted:` admits the request or raises 429; the slot is free again behind the block.

    A request that could not be parsed counts too, and then raises its own error.
    """

    __slots__ = ("_admitted", "_exchange", "_inbound", "_limiter", "_session", "_tokens")

    def __init__(
        self, exchange: Exchange, session: Session, inbound: Inbound | KomilionError, limiter: Limiter
    ) -> None:
        self._exchange = exchange
        self._session = session
        self._inbound = inbound
        self._limiter = limiter
        self._tokens = inbound.estimated_tokens if isinstance(inbound, Inbound) else 0
        self._admitted: Admitted | None = None

    async def __aenter__(self) -> Admitted:
        slots = 0 if self._exchange.has_slot else 1
        admission = await self._limiter.admit(self._session.scopes, self._tokens, slots=slots)
        self._exchange.admission = admission
        if not admission.allowed:
            raise refusal(admission)
        if isinstance(self._inbound, KomilionError):
            self._limiter.release(self._session.scopes, admission, 0, 0)
            raise self._inbound
        self._admitted = Admitted(self._session, self._inbound, admission)
        return self._admitted

    async def __aexit__(self, *_: object) -> None:
        assert self._admitted is not None
        self._limiter.release(self._session.scopes, self._admitted.admission, self._tokens, self._admitted.used_tokens)


async def count(exchange: Exchange, session: Session, limiter: Limiter) -> None:
    """Count a request that is answered at once and uses no tokens. Raises 429 like `Limit`."""
    admission = await limiter.admit(session.scopes, 0)
    exchange.admission = admission
    limiter.release(session.scopes, admission, 0, 0)
    if not admission.allowed:
        raise refusal(admission)


def refusal(admission: Admission) -> RateLimited:
    """What a caller is told who was not let in."""
    reason = admission.refused_by or "requests"
    wait_s = max(1, math.ceil(admission.retry_after_s))
    kind = TooManyParallel if reason == "parallel" else RateLimited
    if admission.never:
        return kind(
            f"This request alone is above the limit of {WORDS[reason]}; waiting does not help.",
            headers={"Retry-After": str(wait_s)},
        )
    return kind(f"Too many {WORDS[reason]}; try again in {wait_s} s.", headers={"Retry-After": str(wait_s)})
