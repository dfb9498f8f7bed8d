"""The limiter's question and answer, in the one form that the shared and the local window both use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from routing.limits.tiers import Limits

type Refusal = Literal["requests", "tokens", "parallel", "burst"]

# Verdicts travel as numbers; window.lua uses the same ones.
REFUSALS: tuple[Refusal | None, ...] = (None, "requests", "tokens", "parallel", "burst")
VERDICT_LENGTH = 8

WINDOW_S = 61  # 60 whole seconds and the running one: never more than the limit in any 60 s
PARALLEL_WAIT_MS = 1_000  # nobody knows when a running call ends
NEVER_MS = -1


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose calls are counted together, such as `org:12`, or `key:77` where the key has its own limits."""

    id: str
    limits: Limits


class Admission(msgspec.Struct, frozen=True):
    """The answer to one request. Limits, remaining and resets are those of the scope with least left.

    `remaining_*` is what is left after this request. `reset_*_s` is OpenAI's meaning: seconds until the limit
    is back at its full value if no other request comes. `retry_after_s` is when this very request would be
    admitted if no other came first; while a parallel slot is what is missing it is a guess of one second.
    """

    allowed: bool
    refused_by: Refusal | None
    retry_after_s: float
    never: bool
    """Refused, and no waiting helps: the request alone is above the limit (or the limit is 0)."""
    limit_requests: int
    remaining_requests: int
    reset_requests_s: float
    limit_tokens: int
    remaining_tokens: int
    reset_tokens_s: float
    degraded: bool
    """Decided by this process alone because Redis was gone."""
    catalog_version: int
    second: int
    """The second in which the tokens were reserved, by the clock that decided; `Limiter.release` needs it."""
    slots: int = 1
    """Parallel slots that it holds in each scope: none where it runs in one that was taken before."""


def read_verdict(
    verdict: Sequence[int], *, second: int, catalog_version: int, degraded: bool, slots: int = 1
) -> Admission:
    """A verdict of window.lua or the local window (`VERDICT_LENGTH` integers, times in ms), made readable."""
    reason, wait_ms, limit_r, left_r, reset_r_ms, limit_t, left_t, reset_t_ms = verdict
    return Admission(
        allowed=reason == 0,
        refused_by=REFUSALS[reason],
        # A caller that ignores `never` and tells its client to wait shall at least say a whole window.
        retry_after_s=WINDOW_S if wait_ms == NEVER_MS else wait_ms / 1000,
        never=wait_ms == NEVER_MS,
        limit_requests=limit_r,
        remaining_requests=left_r,
        reset_requests_s=reset_r_ms / 1000,
        limit_tokens=limit_t,
        remaining_tokens=left_t,
        reset_tokens_s=reset_t_ms / 1000,
        degraded=degraded,
        catalog_version=catalog_version,
        second=second,
        slots=slots,
    )
