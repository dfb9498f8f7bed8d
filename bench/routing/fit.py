"""Fits the router: learnt axes, kinds of requests, and an additive item-response model for every outcome file.

For a request x with hashed words and pairs and readable figures R, standardised:

    z     = learnt axes: one vector per table row, summed, over the norm of their weights
    F     = [1, R, z]
    mix   = softmax(F U): how much x looks like each kind (data set or subject) of the training rows
    logit p_m = b_m + mix . (d + D_m) + F . (w + w_m)       w and d, shared by all models, are minus the difficulty
    log cost_m = [F, mix] . C_m                             with one factor a model, so that the mean is right

Lessons that the figures of docs/routing.md rest on. z and mix of training rows are always those of a fit without them
(cross-fitting): in-sample ones make every head overconfident. Requests with tools and without are fitted apart (two
regimes): what a word says about one says little about the other. A data set with a single subject in its file goes by
its own name, so that the same data set in two files is one kind. The penalty of a model's own weights grows with the
number of models, because the best of many is more often the luckiest.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from bench.routing.heads import Head, Penalties, fit_heads
from bench.routing.linear import inverse_document_frequency, multinomial, ridge, sigmoid, softmax, weigh
from bench.routing.outcomes import Outcomes

REGIMES = ("plain", "tools")
LEAST_ROWS = 30  # of one file in one regime
LEAST_ROWS_OF_KIND = 15
FIGURE_LIMIT = 4.0  # standard deviations
LEAST_DEVIATION = 0.02
TARGETS_KEPT = 64


@dataclass(frozen=True)
class Recipe:
    """What cross-validation on the training folder chose."""

    folds: int = 5
    axes: Mapping[str, int] = field(default_factory=lambda: {"plain": 16, "tools": 4})
    outcome_scale: Mapping[str, float] = field(default_factory=lambda: {"plain": 1.5, "tools": 0.5})
    axes_penalty: float = 1.0
    kinds_penalty: Mapping[str, float] = field(default_factory=lambda: {"plain": 1.0, "tools": 0.3})
    shared_penalty: float = 10.0
    shared_kind_penalty: float = 0.5
    own_penalty_per_model: float = 150.0
    own_kind_penalty: Mapping[str, float] = field(default_factory=lambda: {"plain": 1.0, "tools": 0.3})
    cost_penalty: float = 3.0
    seed: int = 0

    def penalties(self, regime: str) -> Penalties:
        """Of the heads of one regime."""
        return Penalties(
            shared=self.shared_penalty,
            shared_kind=self.shared_kind_penalty,
            own_per_model=self.own_penalty_per_model,
            own_kind=self.own_kind_penalty[regime],
            cost=self.cost_penalty,
        )


@dataclass(frozen=True)
class Regime:
    """How requests of one regime are described; d = 1 + figures + axes.

    `mean`, `deviation` [figures]; `weights` [rows] (inverse document frequency); `axes` [rows, k]; `to_kinds` [d, K];
    `shared` [d + K]: weights of F and mix in every model's logit, so minus the difficulty, over all files;
    `shared_mean` is their mean value on the training rows.
    """

    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    axes: np.ndarray
    to_kinds: np.ndarray
    kinds: list[str]
    shared: np.ndarray
    shared_mean: float

    def describe(self, rows: sp.csr_matrix, figures: np.ndarray) -> np.ndarray:
        """[n, d + K]: F and mix side by side."""
        axes = weigh(rows, self.weights) @ self.axes
        features = np.column_stack([standardise(figures, self.mean, self.deviation), axes])
        return np.column_stack([features, softmax(features @ self.to_kinds)])


@dataclass(frozen=True)
class Prediction:
    """For n prompts and M models: `logit`, its standard error `error`, and `cost` in dollars, each [n, M]."""

    logit: np.ndarray
    error: np.ndarray
    cost: np.ndarray

    @property
    def quality(self) -> np.ndarray:
        """Expected scores, 0 to 1."""
        return sigmoid(self.logit)


@dataclass(frozen=True)
class Router:
    """What a fit leaves: regimes by name, heads by (file, regime)."""

    regimes: dict[str, Regime]
    heads: dict[tuple[str, str], Head]

    def predict(self, outcomes: Outcomes) -> Prediction:
        """For the models of this file, as it was in the fit; labels and scores are not looked at.

        A request of a regime that the file did not have is read as one of the other.
        """
        logits, errors, costs = (np.zeros(outcomes.score.shape) for _ in range(3))
        own = [regime for regime in REGIMES if (outcomes.name, regime) in self.heads]
        for regime in own:
            at = np.flatnonzero(outcomes.has_tools == (regime == "tools")) if len(own) > 1 else np.arange(len(outcomes))
            head = self.heads[outcomes.name, regime]
            x = self.regimes[regime].describe(outcomes.rows[at], outcomes.figures[at])
            logits[at] = head.base + x @ head.weights
            errors[at] = np.sqrt(((x @ head.covariance) * x).sum(1)[:, None] * head.spread)
            exponent = np.clip(x @ head.cost_weights, head.cost_low, head.cost_high)
            costs[at] = np.exp(exponent) * head.cost_factor
        return Prediction(logits, errors, costs)


def fit(sets: Mapping[str, Outcomes], recipe: Recipe | None = None) -> Router:
    """Fit all files together. Raises `ValueError` where there are too few rows."""
    recipe = recipe or Recipe()
    random = np.random.default_rng(recipe.seed)
    kinds = {name: kinds_of(outcomes) for name, outcomes in sets.items()}
    regimes: dict[str, Regime] = {}
    heads: dict[tuple[str, str], Head] = {}
    for name in REGIMES:
        index = {key: np.flatnonzero(outcomes.has_tools == (name == "tools")) for key, outcomes in sets.items()}
        parts = {key: sets[key].take(rows) for key, rows in index.items() if len(rows) >= LEAST_ROWS}
        if parts:
            labels = np.concatenate([kinds[key][index[key]] for key in parts])
            regimes[name], found = _fit_regime(name, list(parts.values()), labels, recipe, random)
            heads |= {(key, name): head for key, head in zip(parts, found, strict=True)}
    if not heads:
        raise ValueError(f"no file with {LEAST_ROWS} rows of one regime")
    return Router(regimes, heads)


def kinds_of(outcomes: Outcomes) -> np.ndarray:
    """The kind of every row: its subject where that has enough rows, else its data set."""
    subjects: dict[str, Counter[str]] = defaultdict(Counter)
    for dataset, subject in zip(outcomes.dataset, outcomes.subject, strict=True):
        subjects[dataset][subject] += 1

    def kind(dataset: str, subject: str) -> str:
        seen = subjects[dataset]
        return dataset if len(seen) == 1 or seen[subject] < LEAST_ROWS_OF_KIND else f"{dataset}:{subject}"

    return np.array([kind(*labels) for labels in zip(outcomes.dataset, outcomes.subject, strict=True)])


def standardise(figures: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """[n, 1 + figures]: the constant, then the clipped figures."""
    return np.column_stack([np.ones(len(figures)), np.clip((figures - mean) / deviation, -FIGURE_LIMIT, FIGURE_LIMIT)])


def _fit_regime(
    name: str, parts: list[Outcomes], labels: np.ndarray, recipe: Recipe, random: np.random.Generator
) -> tuple[Regime, list[Head]]:
    rows = sp.csr_matrix(sp.vstack([part.rows for part in parts]))
    figures = np.concatenate([part.figures for part in parts])
    mean, deviation = figures.mean(0), np.maximum(figures.std(0), LEAST_DEVIATION)
    readable = standardise(figures, mean, deviation)
    kinds, label = np.unique(labels, return_inverse=True)
    weights = inverse_document_frequency(rows)
    weighted = weigh(rows, weights)
    fold = random.integers(0, recipe.folds, len(labels))
    targets = _axis_targets(name, parts, (readable, label, len(kinds)), weighted, recipe)
    axes = ridge(weighted, targets, recipe.axes_penalty)
    honest = np.zeros_like(targets)
    for held in range(recipe.folds):
        rest = ridge(weighted[fold != held], targets[fold != held], recipe.axes_penalty, iterations=25)
        honest[fold == held] = weighted[fold == held] @ rest
    size = honest.std(0) + 1e-9
    features = np.column_stack([readable, honest / size])
    to_kinds = multinomial(features, label, len(kinds), recipe.kinds_penalty[name])
    mix = np.zeros((len(labels), len(kinds)))
    for held in range(recipe.folds):
        out = fold != held
        part_of = multinomial(features[out], label[out], len(kinds), recipe.kinds_penalty[name], start=0.7 * to_kinds)
        mix[~out] = softmax(features[~out] @ part_of)
    x = np.column_stack([features, mix])
    shared, heads = fit_heads(parts, x, len(kinds), recipe.penalties(name))
    names = list(map(str, kinds))
    return Regime(mean, deviation, weights, axes / size, to_kinds, names, shared, float((x @ shared).mean())), heads


def _axis_targets(
    name: str, parts: list[Outcomes], known: tuple[np.ndarray, np.ndarray, int], words: sp.csr_matrix, recipe: Recipe
) -> np.ndarray:
    """[n, k]: what the axes are to say, the directions of kinds and outcomes that words predict best.

    What the readable figures explain already is taken out. One rough ridge fit finds the directions (reduced rank).
    """
    readable, label, kinds = known
    n = len(label)
    targets = np.zeros((n, kinds + sum(len(part.models) for part in parts)))
    targets[np.arange(n), label] = 1
    targets[:, :kinds] -= targets[:, :kinds].mean(0)
    row, column = 0, kinds
    for part in parts:
        models = len(part.models)
        about_mean = (part.score - part.score.mean(0)) / np.sqrt(models) * recipe.outcome_scale[name]
        targets[row : row + len(part), column : column + models] = about_mean
        row, column = row + len(part), column + models
    gram = readable.T @ readable + np.eye(readable.shape[1])
    targets -= readable @ np.linalg.solve(gram, readable.T @ targets)
    main = np.linalg.eigh(targets.T @ targets)[1][:, ::-1][:, :TARGETS_KEPT]
    rough = words @ ridge(words, targets @ main, 2 * recipe.axes_penalty, iterations=10)
    best = np.linalg.eigh(rough.T @ rough)[1][:, ::-1][:, : min(recipe.axes[name], kinds + 1)]
    return targets @ (main @ best)
