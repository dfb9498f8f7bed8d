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

from collections.abc import Hashable, Sequence
from math import exp, isfinite, log
from typing import Literal

import msgspec
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
ONE_STEP = 1 / LOGIT_STEPS
TAKEN = float("-inf")  # no bound


class Table(msgspec.Struct, frozen=True):
    """What is compared, by candidate, at the precision of a receipt."""

    logits: Integers | None  # int16 [models], 1/1024; None where nothing could be scored
    errors: Integers | None  # uint16 [models], 1/1024
    costs: Floats  # float32 [models], whole nano-USD; infinite for what is filtered
    latencies: Integers  # uint16 [models], 0.01 s
    providers: Sequence[Hashable]  # [models], of the offer that costs this
    pin: int | None = None  # a candidate, feasible or not; -1 for one that cannot be called at all
    session: tuple[int, float] | None = None  # the session's model, and what it costs without its cached prefix
    trial: int | None = None  # what answers this call of the pin's, likewise; the pin comes next


class Decision(msgspec.Struct, frozen=True):
    """The outcome, as candidates."""

    ranked: tuple[int, ...]  # the chosen, then the fallbacks
    rule: Rule
    best: int | None  # with the highest bound; the cheapest of equals


def bounds(logits: Floats, errors: Floats) -> Floats:
    """The 80 % lower bounds as probabilities, from logits and their standard errors."""
    low: Floats = errors * LOWER_80
    low -= logits
    np.exp(low, out=low)
    low += 1
    return np.reciprocal(low, out=low)


def threshold(policy: str, best: float) -> float:
    """The lowest bound that the policy admits where `best` is the highest."""
    floor = FLOORS[policy] * best
    return max(floor, best - PREMIUM_TIE) if policy == "premium" else floor


def decide(policy: str, table: Table) -> Decision:
    """Choose among the feasible candidates, of which there must be one."""
    order = np.lexsort((table.latencies, table.costs))
    if not isfinite(table.costs[order[-1]]):  # what is filtered stands last
        order = order[: np.count_nonzero(np.isfinite(table.costs))]
    candidates = order.tolist()
    low = [0.0] * len(candidates) if table.logits is None else _low_logits(table)[order].tolist()
    firsts = () if table.pin is None else [candidates.index(i) for i in (table.trial, table.pin) if i in candidates]
    positions = rank(policy, low, [table.providers[candidate] for candidate in candidates], ATTEMPTS, firsts)
    if firsts:
        rule: Rule = "pinned"
    elif table.logits is None:
        rule = "selection_degraded"
    elif table.pin is not None:
        rule = "pin_filtered"
    else:
        rule = _rule(policy, table, candidates, low, positions[0])
    best = None if table.logits is None else candidates[low.index(max(low))]
    return Decision(tuple(candidates[position] for position in positions), rule, best)


def low_of(table: Table) -> Floats:
    """The 80 % lower bounds of a table that has scores."""
    assert table.logits is not None
    assert table.errors is not None
    return bounds(table.logits * ONE_STEP, table.errors * ONE_STEP)


def _low_logits(table: Table) -> Floats:
    """The same bounds as logits: comparing those costs no exponential for each model."""
    assert table.logits is not None
    assert table.errors is not None
    low: Floats = table.errors * -LOWER_80
    low += table.logits
    low *= ONE_STEP
    return low


def _least_logit(policy: str, best: float) -> float:
    """`threshold` for bounds that are logits."""
    at_least = threshold(policy, 1 / (1 + exp(-best)))
    return log(at_least / (1 - at_least))


def rank(
    policy: str, low: Sequence[float], providers: Sequence[Hashable], count: int, firsts: Sequence[int] = ()
) -> list[int]:
    """The choice and its fallbacks: at most `count` positions in rows that are in order of expected cost.

    `low` are the bounds as logits.

    Each fallback is what the policy takes of those that are left, as it would if the ones before were failing; of what
    the policy admits then, the cheapest at a provider that was not asked yet, else the cheapest. `firsts` come before
    them: a pin, or what is on trial for it and the pin.
    """
    left = list(low)
    taken: list[int] = []
    asked: set[Hashable] = set()
    in_all = len(set(providers))
    best = max(left)
    for _ in range(min(count, len(low))):
        if len(taken) < len(firsts):
            position = firsts[len(taken)]
        else:
            avoided = asked if len(asked) < in_all else set()  # nobody is left who was not asked
            position = _cheapest_admitted(left, _least_logit(policy, best), providers, avoided)
        taken.append(position)
        asked.add(providers[position])
        was_best, left[position] = left[position] == best, TAKEN
        best = max(left) if was_best else best
    return taken


def _cheapest_admitted(
    left: Sequence[float], at_least: float, providers: Sequence[Hashable], asked: set[Hashable]
) -> int:
    """The first position that reaches the threshold, and if possible at a provider that was not asked."""
    known = None
    for position, low in enumerate(left):
        if low >= at_least:
            if providers[position] not in asked:
                return position
            known = position if known is None else known
    assert known is not None, "the highest bound reaches every threshold"
    return known


def _rule(policy: str, table: Table, candidates: list[int], low: list[float], chosen: int) -> Rule:
    """Why the policy took this one; rows of `candidates` and `low` are in order of expected cost, then latency."""
    if len(candidates) == 1:
        return "only_candidate"
    best, costs, latencies = max(low), table.costs.tolist(), table.latencies.tolist()
    at_least = _least_logit(policy, best)
    candidate = candidates[chosen]
    if table.session is not None:
        of_session, plain_cost = table.session
        second = next((candidates[i] for i in range(chosen + 1, len(low)) if low[i] >= at_least), None)
        if second is not None and of_session == candidate and plain_cost > costs[second]:
            return "session_kept"
    if policy == "premium" and low[chosen] == best:
        return "best"
    cost, latency = costs[candidate], latencies[candidate]
    for row in range(chosen + 1, len(low)):
        if costs[candidates[row]] > cost:
            break
        if latencies[candidates[row]] > latency and low[row] >= at_least:
            return "tie_to_faster"
    return "tie_to_cheaper" if policy == "premium" else "cheapest_above_floor"
