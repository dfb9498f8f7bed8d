"""Penalised regression of all models at once: quality as logits with shared and own weights, cost as a logarithm."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import minimize

from bench.routing.linear import logit, sigmoid
from bench.routing.outcomes import Outcomes

ITERATIONS = 150
CONSTANT_PENALTY = 1.0
LEAST_CERTAINTY = 0.02  # of a model's mean p (1 - p), in the scale of its standard error
COST_FLOOR = 0.02  # of the mean; else the cheapest calls would rule a regression of logarithms
COST_HEADROOM = 0.2  # of the logarithm, above the dearest call seen


@dataclass(frozen=True)
class Penalties:
    """Of squared weights: shared by all models (of F, of mix), a model's own (of F times models, of mix), cost."""

    shared: float
    shared_kind: float
    own_per_model: float
    own_kind: float
    cost: float


@dataclass(frozen=True)
class Head:
    """Models of one file in one regime, M of them.

    `base` [M], `weights` [d + K, M] give logits. The standard error of a logit is the root of x' `covariance` x times
    `spread` [M]. `cost_weights` [d + K, M], `cost_low`, `cost_high`, `cost_factor` [M] give dollars.
    """

    models: list[str]
    base: np.ndarray
    weights: np.ndarray
    covariance: np.ndarray
    spread: np.ndarray
    cost_weights: np.ndarray
    cost_low: np.ndarray
    cost_high: np.ndarray
    cost_factor: np.ndarray


@dataclass(frozen=True)
class _Part:
    """One file: its inputs [n, d + K], the logits of its means [M], penalties of own weights [d + K, 1]."""

    outcomes: Outcomes
    x: np.ndarray
    base: np.ndarray
    penalties: np.ndarray

    @property
    def models(self) -> int:
        return len(self.outcomes.models)


def fit_heads(parts: list[Outcomes], x: np.ndarray, kinds: int, penalties: Penalties) -> tuple[np.ndarray, list[Head]]:
    """Weights that all models share [d + K], and a head for every file; the last `kinds` columns of x are the mix."""
    size = x.shape[1]
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    files = [
        _part(outcomes, x[first:last], kinds, penalties)
        for outcomes, (first, last) in zip(parts, pairwise(starts), strict=True)
    ]
    shared_penalties = _penalties(size, kinds, penalties.shared, penalties.shared_kind)
    cuts = (size + size * np.cumsum([0, *(file.models for file in files)])).tolist()

    def owns_of(flat: np.ndarray) -> list[np.ndarray]:
        return [flat[first:last].reshape(size, -1) for first, last in pairwise(cuts)]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        shared = flat[:size]
        total = 0.5 * (shared_penalties * shared * shared).sum()
        slopes = [shared_penalties * shared]
        for file, own in zip(files, owns_of(flat), strict=True):
            score = file.outcomes.score
            logits = file.base + file.x @ (own + shared[:, None])
            slope = file.x.T @ (sigmoid(logits) - score)
            total += (np.logaddexp(0, logits) - score * logits).sum()
            total += 0.5 * (file.penalties * own * own).sum()
            slopes[0] = slopes[0] + slope.sum(1)
            slopes.append((slope + file.penalties * own).ravel())
        return float(total), np.concatenate(slopes)

    start = np.zeros(cuts[-1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x
    shared = found[:size]
    heads = [_head(file, own + shared[:, None], penalties) for file, own in zip(files, owns_of(found), strict=True)]
    return shared, heads


def _part(outcomes: Outcomes, x: np.ndarray, kinds: int, penalties: Penalties) -> _Part:
    # The more models, the more penalty: the best of many is more often the luckiest.
    own = _penalties(x.shape[1], kinds, penalties.own_per_model * len(outcomes.models), penalties.own_kind)
    return _Part(outcomes, x, logit(np.clip(outcomes.score.mean(0), 0.01, 0.99)), own[:, None])


def _penalties(size: int, kinds: int, of_features: float, of_kinds: float) -> np.ndarray:
    found = np.full(size, of_features)
    found[size - kinds :] = of_kinds
    found[0] = CONSTANT_PENALTY
    return found


def _head(file: _Part, weights: np.ndarray, penalties: Penalties) -> Head:
    x, cost = file.x, file.outcomes.cost
    expected = sigmoid(file.base + x @ weights)
    certainty = expected * (1 - expected)
    # Laplace: one covariance for the file, at the mean model, scaled for each.
    precision = x.T @ (x * certainty.mean(1)[:, None]) + np.diag(file.penalties[:, 0])
    floor = cost.mean(0) * COST_FLOOR
    log_cost = np.log(cost + floor)
    cost_weights = np.linalg.solve(x.T @ x + penalties.cost * np.eye(x.shape[1]), x.T @ log_cost)
    return Head(
        models=file.outcomes.models,
        base=file.base,
        weights=weights,
        covariance=np.linalg.inv(precision),
        spread=certainty.mean() / np.maximum(certainty.mean(0), LEAST_CERTAINTY),
        cost_weights=cost_weights,
        cost_low=np.log(floor),
        cost_high=log_cost.max(0) + COST_HEADROOM,
        cost_factor=cost.mean(0) / np.exp(x @ cost_weights).mean(0),
    )
