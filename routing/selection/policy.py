"""The three policies as promises, on the 80 % lower bound of the probability that an answer is good.

    L = sigmoid(logit - 0.8416 standard errors)      B = the highest L of the feasible models

    frugal     the cheapest with L >= 0.85 B
    balanced   the cheapest with L >= 0.95 B
    premium    the cheapest with L >= B - 0.01 and L >= 0.95 B

Each is a threshold on L, and the threshold never falls from frugal to balanced to premium. So what one policy admits
is a part of what the cheaper one admits, and expected cost cannot rise from premium to balanced to frugal. A model
that is neither better nor cheaper than another moves no threshold and is nowhere the cheapest: adding it changes
nothing.

`decide` is the whole of a choice once everything has become numbers. It is what a request goes through, and what a
receipt goes through again when it is replayed.
"""

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from routing.selection.market import Floats, Integers

type Rule = Literal[
    "pinned",  # the organization's pin for this task type
    "pin_filtered",  # there is a pin, a hard filter excluded it, and the policy chose
    "only_candidate",  # nothing else passed the filters
    "session_kept",  # only the cached prefix of the session makes its model the cheapest that is good enough
    "best",  # premium: the highest bound
    "tie_to_faster",  # as cheap as another that is good enough, and faster
    "tie_to_cheaper",  # premium: within 0.01 of the highest bound, and cheaper
    "cheapest_above_floor",  # frugal, balanced
    "selection_degraded",  # the request could not be read or scored: the cheapest that can serve it
]

POLICY_VERSION = 1  # of the formulae above; a receipt names it
LOWER_80 = 0.8416  # the 80 % quantile of the standard normal distribution
INTERVAL_80 = 1.2816  # half the width of its central 80 %
FLOORS = {"frugal": 0.85, "balanced": 0.95, "premium": 0.95}
PREMIUM_TIE = 0.01
ATTEMPTS = 4  # the choice and up to three fallbacks
LOGIT_STEPS = 1_024  # in 1 logit
TAKEN = -1  # no bound and no position


@dataclass(frozen=True, slots=True)
class Table:
    """What is compared, by candidate, at the precision of a receipt."""

    logits: Integers | None  # int16 [models], 1/1024; None where nothing could be scored
    errors: Integers | None  # uint16 [models], 1/1024
    costs: Floats  # float32 [models], whole nano-USD; infinite for what is filtered
    latencies: Integers  # uint16 [models], 0.01 s
    providers: Sequence[Hashable]  # [models], of the offer that costs this
    pin: int | None = None  # a candidate, feasible or not; -1 for one that cannot be called at all
    session: tuple[int, float] | None = None  # the session's model, and what it costs without its cached prefix


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome, as candidates."""

    ranked: tuple[int, ...]  # the chosen, then the fallbacks
    rule: Rule
    best: int | None  # with the highest bound; the cheapest of equals


@dataclass(frozen=True, slots=True)
class _Rows:
    """The feasible candidates in order of expected cost, then latency, then id."""

    candidates: list[int]
    low: list[float]
    costs: list[float]
    latencies: list[int]


def bounds(logits: Floats, errors: Floats) -> Floats:
    """The 80 % lower bounds as probabilities, from logits and their standard errors."""
    low: Floats = 1 / (1 + np.exp(LOWER_80 * errors - logits))
    return low


def cost_then_latency(costs: Floats, latencies: Integers) -> Floats:
    """One number to sort by: float32 costs, uint16 latencies among equals; a float64 has 53 bits for the 40 of both."""
    keys: Floats = costs.astype(np.float64) * 65_536.0 + latencies
    return keys


def threshold(policy: str, best: float) -> float:
    """The lowest bound that the policy admits where `best` is the highest."""
    floor = FLOORS[policy] * best
    return max(floor, best - PREMIUM_TIE) if policy == "premium" else floor


def decide(policy: str, table: Table) -> Decision:
    """Choose among the feasible candidates, of which there must be one."""
    order = cost_then_latency(table.costs, table.latencies).argsort(kind="stable")
    order = order[: np.count_nonzero(np.isfinite(table.costs))]
    candidates = order.tolist()
    low = [0.0] * len(candidates) if table.logits is None else low_of(table)[order].tolist()
    rows = _Rows(candidates, low, table.costs[order].tolist(), table.latencies[order].tolist())
    first = None if table.pin is None or table.pin not in candidates else candidates.index(table.pin)
    positions = rank(policy, low, [table.providers[candidate] for candidate in candidates], ATTEMPTS, first)
    if first is not None:
        rule: Rule = "pinned"
    elif table.logits is None:
        rule = "selection_degraded"
    elif table.pin is not None:
        rule = "pin_filtered"
    else:
        rule = _rule(policy, rows, positions[0], table.session)
    best = None if table.logits is None else candidates[low.index(max(low))]
    return Decision(tuple(candidates[position] for position in positions), rule, best)


def low_of(table: Table) -> Floats:
    """The 80 % lower bounds of a table that has scores."""
    assert table.logits is not None
    assert table.errors is not None
    return bounds(table.logits / LOGIT_STEPS, table.errors / LOGIT_STEPS)


def rank(
    policy: str, low: Sequence[float], providers: Sequence[Hashable], count: int, first: int | None = None
) -> list[int]:
    """The choice and its fallbacks: at most `count` positions in rows that are in order of expected cost.

    Each fallback is what the policy takes of those that are left, as it would if the ones before were failing; of what
    the policy admits then, the cheapest at a provider that was not asked yet, else the cheapest. `first` is a pin.
    """
    left = list(low)
    taken: list[int] = []
    asked: set[Hashable] = set()
    in_all = len(set(providers))
    while len(taken) < min(count, len(low)):
        if first is not None and not taken:
            position = first
        else:
            avoided = asked if len(asked) < in_all else set()  # nobody is left who was not asked
            position = _cheapest_admitted(left, threshold(policy, max(left)), providers, avoided)
        taken.append(position)
        asked.add(providers[position])
        left[position] = TAKEN
    return taken


def _cheapest_admitted(
    left: Sequence[float], at_least: float, providers: Sequence[Hashable], asked: set[Hashable]
) -> int:
    """The first position that reaches the threshold, and if possible at a provider that was not asked."""
    known = TAKEN
    for position, low in enumerate(left):
        if low >= at_least:
            if providers[position] not in asked:
                return position
            known = position if known == TAKEN else known
    return known  # the highest bound reaches every threshold


def _rule(policy: str, rows: _Rows, chosen: int, session: tuple[int, float] | None) -> Rule:
    """Why the policy took this one."""
    if len(rows.candidates) == 1:
        return "only_candidate"
    best = max(rows.low)
    at_least = threshold(policy, best)
    if session is not None:
        candidate, plain_cost = session
        second = next((i for i in range(chosen + 1, len(rows.low)) if rows.low[i] >= at_least), None)
        if second is not None and candidate == rows.candidates[chosen] and plain_cost > rows.costs[second]:
            return "session_kept"
    if policy == "premium" and rows.low[chosen] == best:
        return "best"
    as_cheap = bisect_right(rows.costs, rows.costs[chosen])  # rows up to there cost the same
    slowest = next((i for i in range(as_cheap - 1, chosen, -1) if rows.low[i] >= at_least), chosen)
    if rows.latencies[slowest] > rows.latencies[chosen]:
        return "tie_to_faster"
    return "tie_to_cheaper" if policy == "premium" else "cheapest_above_floor"
