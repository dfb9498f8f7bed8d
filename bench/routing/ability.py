"""Abilities of models from figures of many metrics: a small factor model, solved exactly.

    value of model m in metric k = origin_k + slope_k x (ability of m in the metric's domain) + noise
    ability in a domain = general_m + own_(m, domain)
    general_m = what release date, price and reasoning make likely + family + the model's own

in hundreds of rating points above a GPT-4 of November 2023. Given the slopes everything is linear with normal priors,
so one system of equations gives every ability with its posterior covariance; slopes are then fitted with the
expectation of squares, and both are repeated. A figure far off the others loses weight (Student's t).
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from bench.routing.figures import DOMAINS, Collected, Metric

ROUNDS = 25
REFERENCE = 12.5  # rating / 100 at ability 0
GENERAL_SD, DOMAIN_SD, FAMILY_SD = 0.4, 0.35, 0.45
ORIGIN_SD = 20.0
FREEDOM = 4.0  # of Student's t
# Prior mean and deviation of a slope by kind of metric; an arena's plain text rating is the unit.
SLOPES = {"rating": (1.0, 0.3), "share": (1.3, 0.5), "outcome": (0.8, 0.25)}
UNITS = ("chatbot arena elo", "arena text, september 2024, chat")
# Intercept, a year later, ten times the price, reasoning, ten times smaller: prior means and deviations.
TREND = ((-0.3, 1.0), (0.6, 0.3), (0.5, 0.3), (0.3, 0.3), (-0.6, 0.3))


@dataclass(frozen=True)
class Abilities:
    """For M models: `mean` [M, 1 + domains] (general, then by domain) and `covariance` [M, 1 + domains, 1 + domains].

    `slopes` by metric; `trend` as `TREND`; `evidence` counts the figures of each model.
    """

    models: list[str]
    mean: np.ndarray
    covariance: np.ndarray
    slopes: dict[Metric, float]
    trend: np.ndarray
    evidence: np.ndarray


def fit_abilities(collected: Collected) -> Abilities:
    """The fit; a second or two."""
    return _Fit(collected).run()


class _Fit:
    """The unknowns in one vector: per model (general, own by domain), per family, trend, per metric (origin)."""

    def __init__(self, collected: Collected) -> None:
        self.models = sorted(collected.models)
        known = [collected.models[model] for model in self.models]
        self.figures = collected.figures
        self.metrics = sorted({figure.metric for figure in self.figures}, key=lambda metric: metric.name)
        families = sorted({model.family for model in known} - {""})
        self.width = 1 + len(DOMAINS)
        self.first_family = len(self.models) * self.width
        self.first_trend = self.first_family + len(families)
        self.first_origin = self.first_trend + len(TREND)
        self.size = self.first_origin + len(self.metrics)
        self.family = [self.first_family + families.index(m.family) if m.family else None for m in known]
        years = [m.years if m.years is not None else 1.0 for m in known]
        prices = [m.log_price if m.log_price is not None else 0.3 for m in known]
        reasoning = [float(m.is_reasoning) for m in known]
        self.traits = np.column_stack([np.ones(len(known)), years, prices, reasoning, [m.smallness for m in known]])
        index = {model: i for i, model in enumerate(self.models)}
        self.model_at = np.array([index[figure.model] for figure in self.figures])
        self.metric_at = np.array([self.metrics.index(figure.metric) for figure in self.figures])
        self.domain_at = np.array([1 + DOMAINS.index(figure.metric.domain) for figure in self.figures])
        self.value = np.array([figure.value for figure in self.figures])
        self.noise = np.array([figure.noise for figure in self.figures])
        self.slope = np.array([SLOPES[metric.kind][0] for metric in self.metrics])
        self.is_unit = np.array([metric.name.lower() in UNITS for metric in self.metrics])
        self.trust = np.ones(len(self.figures))

    def run(self) -> Abilities:
        for _ in range(ROUNDS):
            mean, covariance = self._solve()
            self._fit_slopes(mean, covariance)
        mean, covariance = self._solve()
        count = len(self.models)
        general = mean[: self.first_family].reshape(count, self.width)
        to_domains = np.column_stack([np.ones(self.width), np.vstack([np.zeros(len(DOMAINS)), np.eye(len(DOMAINS))])])
        to_domains[1:, 0], to_domains[0, :] = 0, 1  # general alone, then general and what is the domain's own
        blocks = np.array([self._block(covariance, i) for i in range(count)])
        evidence = np.bincount(self.model_at, minlength=count)
        slopes = dict(zip(self.metrics, self.slope.tolist(), strict=True))
        trend = mean[self.first_trend : self.first_origin]
        turned = np.einsum("ij,mik,kl->mjl", to_domains, blocks, to_domains)
        return Abilities(self.models, general @ to_domains, turned, slopes, trend, evidence)

    def _block(self, covariance: np.ndarray, model: int) -> np.ndarray:
        at = slice(model * self.width, (model + 1) * self.width)
        return covariance[at, at]

    def _solve(self) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean [size] and covariance [size, size] for the present slopes and trusts."""
        count = len(self.figures)
        slope = self.slope[self.metric_at]
        rows = np.zeros((count, self.size))
        n = np.arange(count)
        rows[n, self.model_at * self.width] = slope
        rows[n, self.model_at * self.width + self.domain_at] = slope
        rows[n, self.first_origin + self.metric_at] = 1
        weight = self.trust / (self.noise * slope) ** 2
        precision = (rows * weight[:, None]).T @ rows
        pull = rows.T @ (weight * self.value)
        self._add_priors(precision, pull)
        covariance = np.linalg.inv(precision)
        mean = covariance @ pull
        residual = (self.value - rows @ mean) / (self.noise * slope)
        self.trust = (FREEDOM + 1) / (FREEDOM + residual**2)
        return mean, covariance

    def _add_priors(self, precision: np.ndarray, pull: np.ndarray) -> None:
        # general - trend - family is about 0
        n = np.arange(len(self.models))
        rows = np.zeros((len(n), self.size))
        rows[n, n * self.width] = 1
        rows[:, self.first_trend : self.first_origin] = -self.traits
        for i, family in enumerate(self.family):
            if family is not None:
                rows[i, family] = -1
        precision += rows.T @ rows / GENERAL_SD**2
        own = [i * self.width + 1 + domain for i in n.tolist() for domain in range(len(DOMAINS))]
        precision[own, own] += 1 / DOMAIN_SD**2
        for at in range(self.first_family, self.first_trend):
            precision[at, at] += 1 / FAMILY_SD**2
        for at, (mean, deviation) in enumerate(TREND, self.first_trend):
            precision[at, at] += 1 / deviation**2
            pull[at] += mean / deviation**2
        for at, is_unit in enumerate(self.is_unit, self.first_origin):
            deviation = 0.05 if is_unit else ORIGIN_SD
            precision[at, at] += 1 / deviation**2
            pull[at] += (REFERENCE if is_unit else 0.0) / deviation**2

    def _fit_slopes(self, mean: np.ndarray, covariance: np.ndarray) -> None:
        general = self.model_at * self.width
        own = general + self.domain_at
        ability = mean[general] + mean[own]
        spread = covariance[general, general] + covariance[own, own] + 2 * covariance[general, own]
        by_metric: dict[int, list[int]] = defaultdict(list)
        for i, metric in enumerate(self.metric_at.tolist()):
            by_metric[metric].append(i)
        for metric, at in by_metric.items():
            if self.is_unit[metric]:
                continue
            prior, deviation = SLOPES[self.metrics[metric].kind]
            value = self.value[at] - mean[self.first_origin + metric]
            weight = self.trust[at] / (self.noise[at] * self.slope[metric]) ** 2
            squares = (weight * (ability[at] ** 2 + spread[at])).sum() + 1 / deviation**2
            self.slope[metric] = max(((weight * value * ability[at]).sum() + prior / deviation**2) / squares, 0.2)
