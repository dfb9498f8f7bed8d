"""Cost against quality: the curve of a method, its area (AIQ), and the cost at which it equals the best model.

AIQ = area under the non-decreasing concave hull of (mean cost, mean quality) over a sweep of the trade-off, between the
cheapest and the dearest single model's mean cost, divided by that range. The cheapest single model is a point of
every curve. Source of the measure: RouterBench (Hu et al. 2024), "average improvement in quality".
"""

from dataclasses import dataclass

import numpy as np

STEPS = 240
EQUAL_TO = (1.0, 0.99, 0.95)  # of the best single model's quality


@dataclass(frozen=True)
class Curve:
    """Corners of a hull, from the cheapest model's cost upward: mean cost in dollars, mean quality."""

    cost: np.ndarray
    quality: np.ndarray

    def area(self, low: float, high: float) -> float:
        """Mean height between two costs."""
        if high <= low:
            return float(self.quality[-1])
        inside = self.cost[(self.cost > low) & (self.cost < high)]
        at = np.unique(np.concatenate([[low, high], inside]))
        heights = np.interp(at, self.cost, self.quality)
        return float(np.sum((heights[1:] + heights[:-1]) / 2 * np.diff(at)) / (high - low))

    def cost_of(self, quality: float) -> float | None:
        """The least cost that reaches this quality, None where nothing does."""
        if self.quality[-1] < quality:
            return None
        return float(np.interp(quality, self.quality, self.cost))


def hull(cost: np.ndarray, quality: np.ndarray) -> Curve:
    """The upper concave non-decreasing envelope of points."""
    corners: list[tuple[float, float]] = []
    for x, y in sorted(zip(cost.tolist(), quality.tolist(), strict=True)):
        if corners and x == corners[-1][0]:
            corners.pop()  # sorted, so this one is higher
        while len(corners) >= 2 and _is_below(corners[-2], corners[-1], (x, y)):
            corners.pop()
        corners.append((x, y))
    top = max(range(len(corners)), key=lambda i: corners[i][1])
    xs, ys = zip(*corners[: top + 1], strict=True)
    return Curve(np.array(xs), np.array(ys))


def choices(quality: np.ndarray, cost: np.ndarray) -> list[np.ndarray]:
    """Chosen models [n] along the sweep: the highest quality minus lambda times cost, lambda from 0 upward."""
    scale = np.median(cost.max(1) - cost.min(1)) or 1.0
    steps = np.concatenate([[0.0], np.logspace(-4, 5, STEPS) / scale])
    return [(quality - step * cost).argmax(1) for step in steps]


def curve_of(quality: np.ndarray, cost: np.ndarray, score: np.ndarray, paid: np.ndarray) -> Curve:
    """What a method reaches whose predictions are `quality` and `cost`, where `score` and `paid` came true ([n, M])."""
    n = np.arange(len(score))
    points = [(paid[n, chosen].mean(), score[n, chosen].mean()) for chosen in choices(quality, cost)]
    cheapest = paid.mean(0).argmin()
    points.append((paid[:, cheapest].mean(), score[:, cheapest].mean()))
    xs, ys = map(np.array, zip(*points, strict=True))
    return hull(xs, ys)


def single_models(score: np.ndarray, paid: np.ndarray) -> Curve:
    """Random mixing: the hull of always taking one model."""
    return hull(paid.mean(0), score.mean(0))


def _is_below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    rise = (middle[1] - left[1]) * (right[0] - left[0])
    return rise <= (right[1] - left[1]) * (middle[0] - left[0])
