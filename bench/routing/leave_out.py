"""Leave one data set out: fit without it, in every file, and test on its rows; the rows of a file are then pooled.

Random splits flatter every router, because the test rows are of kinds that it has seen. In a file with one data set
(the tool file) the subjects take turns. Random mixing knows the means of the pooled test rows and is hard to beat here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.routing import baselines
from bench.routing.fit import LEAST_ROWS, Prediction, Recipe, Router, fit
from bench.routing.linear import logit, sigmoid
from bench.routing.outcomes import Outcomes
from bench.routing.report import Setup, calibration_error, curves_of, log_loss, summary

READ_LABELS = frozenset({"per_task", "label_table"})
FOLDS = 3
SHARES_TRIED = np.linspace(0, 1, 21)


@dataclass(frozen=True)
class _Part:
    """One data set that was left out: its rows' index, what was predicted for them, and the plain order of models."""

    at: np.ndarray
    prediction: Prediction
    qualities: dict[str, np.ndarray]
    plain: np.ndarray  # [n, M]: logits of the training means
    shared: np.ndarray  # [n]: minus the difficulty, about the training rows' mean


def leave_one_out(sets: dict[str, Outcomes], setup: Setup) -> dict[str, Any]:
    """The report by file: pooled AIQ of ours and of the methods that read no labels."""
    fitted: dict[tuple[str, str, bool], Router] = {}
    found = {}
    for name, outcomes in sets.items():
        parts = _parts(sets, name, setup, fitted)
        if parts:
            found[name] = _pooled(parts, outcomes)
    return found


def _parts(
    sets: dict[str, Outcomes], name: str, setup: Setup, fitted: dict[tuple[str, str, bool], Router]
) -> list[_Part]:
    outcomes = sets[name]
    column = "dataset" if len(set(outcomes.dataset)) > 1 else "subject"
    groups = getattr(outcomes, column)
    has_tools = _has_tools(outcomes)
    alike = {key: other for key, other in sets.items() if _has_tools(other) == has_tools}
    parts = []
    for group in sorted(set(groups)):
        rest = {key: other.take(getattr(other, column) != group) for key, other in alike.items()}
        rest = {key: other for key, other in rest.items() if len(other) >= LEAST_ROWS}
        if name in rest:
            key = (column, group, has_tools)
            if key not in fitted:
                fitted[key] = fit(rest, Recipe(folds=FOLDS))
            parts.append(_part(fitted[key], rest[name], outcomes, np.flatnonzero(groups == group), setup))
    return parts


def _part(router: Router, train: Outcomes, outcomes: Outcomes, at: np.ndarray, setup: Setup) -> _Part:
    test = outcomes.take(at)
    prediction = router.predict(test)
    others = baselines.predict_all(train, test, setup.minilm, setup.without | READ_LABELS)
    regime = next(regime for (file, regime) in router.heads if file == test.name)
    described = router.regimes[regime]
    shared = described.describe(test.rows, test.figures) @ described.shared - described.shared_mean
    plain = np.repeat(logit(np.clip(train.score.mean(0), 0.01, 0.99))[None], len(test), 0)
    return _Part(at, prediction, {"ours": prediction.quality, **others}, plain, shared)


def _pooled(parts: list[_Part], outcomes: Outcomes) -> dict[str, Any]:
    at = np.concatenate([part.at for part in parts])
    test = outcomes.take(at)
    best = int(outcomes.score.mean(0).argmax())
    qualities = {name: np.concatenate([part.qualities[name] for part in parts]) for name in parts[0].qualities}
    cost = np.concatenate([part.prediction.cost for part in parts])
    plain = np.concatenate([part.plain for part in parts])
    shared = np.concatenate([part.shared for part in parts])
    found = summary(curves_of(qualities, cost, test, best), test, best)
    found["groups"] = len(parts)
    found["calibration_error"] = calibration_error(qualities["ours"], test.score)
    found["log_loss"] = log_loss(qualities["ours"], test.score)
    # How much of the difficulty to keep for what was never seen: the share with the least loss.
    losses = [log_loss(sigmoid(plain + share * shared[:, None]), test.score) for share in SHARES_TRIED]
    found["difficulty_kept"] = float(SHARES_TRIED[int(np.argmin(losses))])
    return found


def _has_tools(outcomes: Outcomes) -> bool:
    return bool(outcomes.has_tools.mean() > 0.5)
