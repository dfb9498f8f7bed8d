"""Everything that is said of one outcome file: all methods' curves, and ours in detail."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.routing import baselines, speed
from bench.routing.curves import EQUAL_TO, Curve, curve_of, hull, single_models
from bench.routing.fit import Router
from bench.routing.minilm import MiniLM
from bench.routing.outcomes import Outcomes
from bench.routing.promises import noise_shares, promises

METHODS = (
    *("ours", "always_best", "always_cheapest", "random_mixing", "length", "per_task"),
    *("tfidf_ridge", "tfidf_knn", "minilm_knn", "kmeans", "oracle"),
)
EXTRA = "label_table"
CALIBRATION_BINS = 10
TEXTS_TIMED = 40


@dataclass(frozen=True)
class Setup:
    """What an evaluation leaves out, and what it embeds with."""

    without: frozenset[str] = field(default_factory=frozenset)
    minilm: MiniLM | None = None
    seed: int = 0


def judge(router: Router, train: Outcomes, test: Outcomes, setup: Setup) -> dict[str, Any]:
    """The report of one file, as `--json` prints it."""
    prediction = router.predict(test)
    best = int(train.score.mean(0).argmax())
    qualities = {"ours": prediction.quality, **baselines.predict_all(train, test, setup.minilm, setup.without)}
    curves = curves_of(qualities, prediction.cost, test, best)
    found = summary(curves, test, best)
    found["promises"] = promises(prediction, test, best, setup.seed)
    found["unchanged_choices"] = noise_shares(router, test, setup.seed)
    found["calibration_error"] = calibration_error(prediction.quality, test.score)
    found["log_loss"] = log_loss(prediction.quality, test.score)
    order = np.random.default_rng(setup.seed).permutation(len(test))
    questions = [test.questions[i] for i in order[: speed.PROMPTS]]
    spent = speed.microseconds(speed.chooser(router, test.name), questions)
    found["us_p50"], found["us_p99"] = (float(value) for value in np.percentile(spent, (50, 99)))
    if setup.minilm is not None:
        embedding = setup.minilm.microseconds([test.prompts[i] for i in order[:TEXTS_TIMED]])
        found["minilm_us_p50"] = float(np.percentile(embedding, 50))
    return found


def curves_of(qualities: dict[str, np.ndarray], cost: np.ndarray, test: Outcomes, best: int) -> dict[str, Curve]:
    """The curve of every method from its predicted quality [n, M].

    All but the oracle choose by the same predicted cost [n, M].
    """
    score, paid = test.score, test.cost
    mean_cost, mean_score = paid.mean(0), score.mean(0)
    cheapest = int(mean_cost.argmin())
    singles = [cheapest, best]
    found = {
        "always_best": hull(mean_cost[singles], mean_score[singles]),
        "always_cheapest": hull(mean_cost[[cheapest]], mean_score[[cheapest]]),
        "random_mixing": single_models(score, paid),
    }
    for name, quality in qualities.items():
        found[name] = curve_of(quality, paid if name == "oracle" else cost, score, paid)
    return found


def summary(curves: dict[str, Curve], test: Outcomes, best: int) -> dict[str, Any]:
    """AIQ, and the costs at which a method equals the best single model, as shares of that model's cost."""
    costs = test.cost.mean(0)
    quality = float(test.score[:, best].mean())

    def share(curve: Curve, part: float) -> float | None:
        cost = curve.cost_of(quality * part)
        return None if cost is None else float(cost / costs[best])

    aiq = {name: curve.area(costs.min(), costs.max()) for name, curve in curves.items()}
    found: dict[str, Any] = {
        "rows": len(test),
        "best_single": {"model": test.models[best], "quality": quality, "cost": float(costs[best])},
        "aiq": {name: aiq[name] for name in METHODS if name in aiq},
        "cost_for_equal": {name: share(curves[name], 1.0) for name in METHODS if name in curves},
        "cost_saved": {
            name: {f"{part:.0%}": _saved(share(curves[name], part)) for part in EQUAL_TO}
            for name in METHODS
            if name in curves
        },
        "oracle_gap_share": _gap(aiq),
    }
    if EXTRA in aiq:
        found[EXTRA] = {"aiq": aiq[EXTRA], "cost_for_equal": share(curves[EXTRA], 1.0)}
    return found


def calibration_error(quality: np.ndarray, score: np.ndarray) -> float:
    """Mean distance of expected and real quality over ten bins of equal size, averaged over models."""
    errors = []
    for expected, real in zip(quality.T, score.T, strict=True):
        cuts = np.quantile(expected, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1])
        bins = np.searchsorted(cuts, expected)
        parts = [bins == i for i in range(CALIBRATION_BINS) if (bins == i).any()]
        errors.append(sum(at.mean() * abs(expected[at].mean() - real[at].mean()) for at in parts))
    return float(np.mean(errors))


def log_loss(quality: np.ndarray, score: np.ndarray) -> float:
    """Mean negative log likelihood of the scores."""
    safe = np.clip(quality, 0.003, 0.997)
    return float(-np.mean(score * np.log(safe) + (1 - score) * np.log(1 - safe)))


def _saved(share: float | None) -> float | None:
    return None if share is None else 1 - share


def _gap(aiq: dict[str, float]) -> float | None:
    """How much of the way from random mixing to the oracle."""
    if "oracle" not in aiq or aiq["oracle"] <= aiq["random_mixing"]:
        return None
    return (aiq["ours"] - aiq["random_mixing"]) / (aiq["oracle"] - aiq["random_mixing"])
