"""A packed receipt in words: what a person reads to know why this model, and what another policy would have cost.

Costs are whole nano-USD, fee included. `interval` is the central 80 % interval of p, `bound` the 80 % lower bound that
the policies compare.
"""

from decimal import Decimal
from typing import Any, Protocol

import msgspec
import numpy as np
from msgspec.structs import replace

from komilion.common.money import format_usd
from routing.selection.cost import LATENCY_STEPS_PER_S
from routing.selection.market import Facts, Floats
from routing.selection.policy import INTERVAL_80, LOGIT_STEPS, Decision, decide, low_of, threshold
from routing.selection.receipt import StoredReading, Unpacked, decide_again, reading_of, unpack, verdicts
from routing.selection.words import TASKS
from routing.selection.workflow import WORKED

GONE = "filtered: it cannot be called now"
LEAST_ROUNDED = 0.1  # a ratio that one decimal tells
SAME_LOGIT = 0.02  # what float16 may take from a stored reading

RULES = {
    "pinned": "The organization pinned this model for the task type.",
    "pin_filtered": "The pinned model could not serve the request; the policy chose.",
    "only_candidate": "No other model passed the filters.",
    "session_kept": "The conversation's cached prefix makes its model the cheapest that is good enough.",
    "best": "It has the highest bound.",
    "tie_to_faster": "It is as cheap as another that is good enough, and faster.",
    "tie_to_cheaper": "It is within 0.01 of the highest bound, and cheaper.",
    "cheapest_above_floor": "It is the cheapest whose bound reaches the policy's floor.",
    "selection_degraded": "The request could not be scored; it is the cheapest that can serve it.",
}
TRIED = "The organization pinned a model for the task type; this newer one of its line is on trial and answers a share."


class Scorer(Protocol):
    """What scores a reading again: routing.selection.quality for the candidates of the receipt's market, in order."""

    def score(self, reading: StoredReading) -> Floats:
        """Logits and standard errors: [2, models]."""


class Replayed(msgspec.Struct, frozen=True):
    """What came of doing it again."""

    same: bool
    chosen: str
    differences: tuple[str, ...]


def why(rule: str, chosen: str, answered: str, trial: str | None = None) -> str:
    """The rule in words, and what became of the choice where another model answered.

    `trial` is the model on trial that this call of a pin was to go to.
    """
    words = TRIED if trial == chosen else RULES.get(rule, rule)
    return words if chosen == answered else f"{words} That was {chosen}; it did not answer, and {answered} did."


def explain(value: Any, facts: Facts, answered: str | None = None) -> dict[str, Any]:
    """The whole receipt, JSON-able; `answered` is the model that did, by default the chosen one.

    Raises what `unpack` raises.
    """
    receipt = unpack(value, facts)
    packed, ids = receipt.packed, [model.id for model in facts.models]
    chosen = ids[packed.ranked[0]]
    told: dict[str, Any] = {
        "chosen": chosen,
        "answered": answered or chosen,
        "fallbacks": [ids[candidate] for candidate in packed.ranked[1:]],
        "policy": packed.policy,
        "policy_version": packed.policy_version,
        "rule": packed.rule,
        "why": why(packed.rule, chosen, answered or chosen, packed.trial),
        "counterfactual": counterfactual(receipt),
        **_bounds(receipt),
        "candidates": _candidates(receipt),
        "best": None if packed.best is None else ids[packed.best],
        "market": packed.market,
        "weights": packed.weights,
        "offsets_version": packed.offsets_version,
        "propensity": packed.propensity,
        "request": _request(receipt),
    }
    told.update(_reading(receipt))
    if packed.pin is not None:
        told["pin"] = _pin(receipt, told["candidates"])
    if packed.session is not None:
        candidate, plain = packed.session
        told["session"] = {"model": ids[candidate], "cost_without_cache_nano_usd": int(plain)}
    if packed.workflow is not None:
        wanted, reason = packed.workflow
        told["workflow"] = WORKED
        if wanted != WORKED:
            told["workflow_wanted"] = wanted
            told["workflow_reason"] = reason
    return told


def counterfactual(receipt: Unpacked) -> str | None:
    """What another policy would have taken: premium, or balanced where this was premium. A pin is left out of it."""
    packed, table = receipt.packed, receipt.table
    if table.logits is None:
        return None
    other = "balanced" if packed.policy == "premium" else "premium"
    if packed.rule == "pinned":
        other = packed.policy
    taken = decide(other, replace(table, pin=None, trial=None, session=None)).ranked[0]
    chosen = packed.ranked[0]
    name = receipt.facts.models[taken].id
    if taken == chosen:
        return f"{other} would have taken the same model"
    cost, mine = float(table.costs[taken]), float(table.costs[chosen])
    times = f"at {_ratio(cost / mine)} x the cost" if mine else f"for ${format_usd(int(cost))} instead of nothing"
    p = _sigmoid(table.logits[[taken, chosen]] / LOGIT_STEPS)
    points = round(float(p[0] - p[1]) * 100)
    if not points:
        return f"{other} would have taken {name} {times} for no difference in points"
    return f"{other} would have taken {name} {times} for {points:+d} point{'' if abs(points) == 1 else 's'}"


def _ratio(ratio: float) -> str:
    """With a decimal; below 0.1 with two figures that say something."""
    return f"{ratio:.1f}" if ratio >= LEAST_ROUNDED else format(Decimal(f"{ratio:.1e}").normalize(), "f")


def replay(value: Any, facts: Facts, scorer: Scorer | None, weights: str) -> Replayed:
    """Do it again: decide by the stored numbers, and score the stored reading anew where there is a scorer.

    `weights` is the scorer's version. A logit counts as the same within 0.02, since readings are stored as float16.
    """
    receipt = unpack(value, facts)
    again = decide_again(receipt)
    differences = _decided_differently(receipt, again)
    reading = reading_of(receipt.packed)
    if scorer is not None and reading is not None and receipt.table.logits is not None:
        if weights != receipt.packed.weights:
            differences.append(f"weights: {receipt.packed.weights} then, {weights} now")
        differences += _scored_differently(receipt, *scorer.score(reading))
    return Replayed(not differences, facts.models[again.ranked[0]].id, tuple(differences))


def _decided_differently(receipt: Unpacked, again: Decision) -> list[str]:
    packed, models = receipt.packed, receipt.facts.models
    then = [models[i].id for i in packed.ranked]
    now = [models[i].id for i in again.ranked]
    pairs = (("models", then, now), ("rule", packed.rule, again.rule), ("best", packed.best, again.best))
    return [f"{name}: {before} then, {after} now" for name, before, after in pairs if before != after]


def _scored_differently(receipt: Unpacked, logits: Floats, errors: Floats) -> list[str]:
    table = receipt.table
    assert table.logits is not None
    assert table.errors is not None
    if logits.shape != table.logits.shape:
        return [f"candidates: {table.logits.size} then, {logits.size} now"]
    offsets = np.zeros(len(logits))
    for candidate, steps in receipt.packed.offsets:
        offsets[candidate] = steps / LOGIT_STEPS
    then = table.logits / LOGIT_STEPS - offsets
    off = np.maximum(np.abs(then - logits), np.abs(table.errors / LOGIT_STEPS - errors))
    return [
        f"{receipt.facts.models[i].id}: logit {then[i]:.3f} then, {logits[i]:.3f} now"
        for i in np.flatnonzero(off > SAME_LOGIT).tolist()
    ]


def _best_and_floor(receipt: Unpacked) -> tuple[float, float] | None:
    """The highest bound of a feasible model, and the lowest that the policy admits; None where nothing was scored."""
    table = receipt.table
    if table.logits is None:
        return None
    best = float(low_of(table)[np.isfinite(table.costs)].max())
    return best, threshold(receipt.packed.policy, best)


def _bounds(receipt: Unpacked) -> dict[str, float | None]:
    """What the bounds of the candidates are compared with, rounded as they are."""
    best, floor = _best_and_floor(receipt) or (None, None)
    return {
        "best_bound": None if best is None else round(best, 4),
        "floor": None if floor is None else round(floor, 4),
    }


def _candidates(receipt: Unpacked) -> list[dict[str, Any]]:
    """The chosen one first, then the fallbacks, the rest by cost, and last what was filtered."""
    packed, table = receipt.packed, receipt.table
    low = None if table.logits is None else low_of(table)
    _, at_least = _best_and_floor(receipt) or (0.0, 0.0)
    words = verdicts(receipt, low, at_least)
    places = {candidate: place for place, candidate in enumerate(packed.ranked)}
    order = sorted(range(len(words)), key=lambda i: (places.get(i, len(places)), float(table.costs[i]), i))
    return [_candidate(receipt, i, words[i], low) for i in order]


def _candidate(receipt: Unpacked, i: int, words: str, low: Floats | None) -> dict[str, Any]:
    table = receipt.table
    told: dict[str, Any] = {"model": receipt.facts.models[i].id, "verdict": words}
    if low is not None and table.logits is not None and table.errors is not None:
        logit, error = int(table.logits[i]) / LOGIT_STEPS, int(table.errors[i]) / LOGIT_STEPS
        ends = np.array([logit, logit - INTERVAL_80 * error, logit + INTERVAL_80 * error])
        p, bottom, top = (round(float(value), 4) for value in _sigmoid(ends))
        told |= {"p": p, "interval": [bottom, top], "bound": round(float(low[i]), 4)}
        offset = dict(receipt.packed.offsets).get(i)
        if offset:
            told["offset"] = round(offset / LOGIT_STEPS, 4)
    if np.isfinite(table.costs[i]):
        told["provider"] = table.providers[i]
        told["expected_cost_nano_usd"] = int(table.costs[i])
        told["expected_latency_s"] = int(table.latencies[i]) / LATENCY_STEPS_PER_S
    return told


def _reading(receipt: Unpacked) -> dict[str, Any]:
    reading = reading_of(receipt.packed)
    if reading is None:
        return {"task": None, "difficulty": None}
    posterior = {task: round(float(share), 4) for task, share in zip(TASKS, reading.tasks, strict=True)}
    likely = dict(sorted(posterior.items(), key=lambda item: -item[1]))
    return {
        "task": {"likely": reading.task, "hint": receipt.packed.hint, "posterior": likely},
        "difficulty": {
            "logit": reading.difficulty,
            "reasons": [{"feature": name, "weight": weight} for name, weight in reading.reasons],
        },
    }


def _request(receipt: Unpacked) -> dict[str, Any]:
    tokens, limit, choices, effort, capabilities = receipt.packed.needs
    return {
        "input_tokens": tokens,
        "max_output_tokens": limit,
        "choices": choices,
        "effort": effort,
        "capabilities": capabilities,
    }


def _pin(receipt: Unpacked, candidates: list[dict[str, Any]]) -> dict[str, Any]:
    """What became of the pin, and of what is on trial for it where this call is the trial's."""
    pin, trial = receipt.packed.pin, receipt.packed.trial
    verdicts = {told["model"]: told["verdict"] for told in candidates}
    words = verdicts.get(pin, GONE)
    if receipt.packed.rule == "pinned":
        words = "pinned"
        if candidates[0]["model"] == trial:
            words += f"; trial of {trial}"
    told = {"model": pin, "verdict": words}
    return told if trial is None else {**told, "trial": {"model": trial, "verdict": verdicts.get(trial, GONE)}}


def _sigmoid(logits: Floats) -> Floats:
    p: Floats = 1 / (1 + np.exp(-logits))
    return p
