"""Public figures about models, one row a figure, with what each is worth.

Sources: a folder of catalogue facts (`models.json`, `quality.json`), the priors of a starter catalogue
(`catalog_priors`), and `anchors.json` beside this file. No figure of whatmodel.sh is used: its licence is unknown.
Figures of different metrics are never compared as numbers; ratings count in hundreds of points, shares as logits, and
each metric gets an origin and a slope of its own (`bench.routing.strengths`).
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from math import log, log10
from pathlib import Path
from typing import Any

import numpy as np

from bench.routing.outcomes import Outcomes

ANCHORS = Path(__file__).parent / "anchors.json"
DOMAINS = ("chat", "code", "math", "knowledge", "agentic", "vision", "multilingual")
REFUSED_SOURCE = "whatmodel"
LEAST_MODELS = 4  # of one metric; fewer say nothing beside its unknown origin
AS_OF = date(2026, 11, 21)

# Noise of a figure as an error of the ability, in hundreds of rating points.
NOISE_OF_RATING, NOISE_OF_SHARE, NOISE_OF_OUTCOMES = 0.25, 0.45, 0.4
SELF_REPORTED, THIN, OLD = 1.5, 2.0, 1.25  # times the noise
OLD_AFTER_DAYS = 365

PRIOR_DOMAINS = {
    "AIME-2024": "math",
    "AIME-2025": "math",
    "Chatbot Arena Elo": "chat",
    "Chatbot Arena Elo (Code)": "code",
    "Chatbot Arena Elo (Vision)": "vision",
    "GPQA": "knowledge",
    "HLE": "knowledge",
    "IFBench": "chat",
    "LegalBench": "knowledge",
    "LiveCodeBench": "code",
    "MMLU-Pro": "knowledge",
    "MMMU": "vision",
    "SWE-bench-Pro": "code",
    "SciCode": "code",
    "Tau2-bench": "agentic",
}
TASK_DOMAINS = {
    "coding": "code",
    "writing": "chat",
    "vision": "vision",
    "agentic": "agentic",
    "multilingual": "multilingual",
}
OUTCOME_DOMAINS = {
    "code-generation": "code",
    "math": "math",
    "knowledge-qa": "knowledge",
    "reasoning": "knowledge",
    "tool-use": "agentic",
}
LEAST_OUTCOMES = 100
TOP_ONLY = frozenset({"arena code board, overall, 2026-07"})  # only the ten best are known, so the lucky ones
LARGE_BILLIONS = 70.0

_billions = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)b\b").search


@dataclass(frozen=True)
class Metric:
    """One way of measuring: in which domain, and whether its numbers are ratings, shares or outcomes of our files."""

    name: str
    domain: str
    kind: str  # rating | share | outcome


@dataclass(frozen=True)
class Figure:
    """One value of a model, transformed (hundreds of points, or a logit); `noise` in hundreds of rating points."""

    model: str
    metric: Metric
    value: float
    noise: float


@dataclass
class Known:
    """What is known of a model besides its figures; `price`: dollars per million tokens, one part output, three
    input."""

    id: str
    family: str = ""
    released: str = ""
    price: float | None = None
    is_reasoning: bool = False

    @property
    def years(self) -> float | None:
        """Years from 2025 to its release."""
        return (date.fromisoformat(self.released) - date(2025, 1, 1)).days / 365.25 if self.released else None

    @property
    def log_price(self) -> float | None:
        """Decimal logarithm of the price."""
        return log10(self.price) if self.price else None

    @property
    def smallness(self) -> float:
        """Decimal logarithm of how many times it is smaller than 70 billion parameters, where its id says so."""
        stated = _billions(self.id)
        return max(log10(LARGE_BILLIONS / float(stated[1])), 0.0) if stated else 0.0


@dataclass
class Collected:
    """All models by id, and all figures of metrics that enough of them have."""

    models: dict[str, Known] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)


def collect(facts: Path, priors: Path, sets: Iterable[Outcomes]) -> Collected:
    """Everything; `facts` is the folder of catalogue facts, `priors` the starter catalogue's file."""
    found = Collected()
    for row in json.loads((facts / "models.json").read_text())["models"]:
        found.models[row["id"]] = _known(row)
    figures = [*_published(json.loads((facts / "quality.json").read_text())["figures"])]
    for row in json.loads(priors.read_text())["models"]:
        price = row["pricing"]
        blended = (3 * price["input_per_1k"] + price["output_per_1k"]) / 4 * 1_000
        found.models.setdefault(row["model_id"], Known(row["model_id"], price=blended))
        figures += _of_prior(row)
    anchors = json.loads(ANCHORS.read_text())["models"]
    for row in anchors:
        found.models.setdefault(row["id"], Known(row["id"], released=row["released"]))
        for domain, rating in row["arena"].items():
            metric = Metric("Arena text, September 2024, " + domain, domain, "rating")
            figures.append(Figure(row["id"], metric, rating / 100, NOISE_OF_RATING))
    figures += _outcomes(sets, {row["name"]: row["id"] for row in anchors})
    counts: dict[Metric, set[str]] = defaultdict(set)
    for figure in figures:
        counts[figure.metric].add(figure.model)
    kept = [
        figure for figure in figures if len(counts[figure.metric]) >= LEAST_MODELS or figure.metric.kind == "outcome"
    ]
    found.figures = _averaged(kept)
    return found


def _known(row: dict[str, Any]) -> Known:
    pricing = row["pricing"]
    price = (3 * float(pricing.get("input", 0)) + float(pricing.get("output", 0))) / 4 * 1e6
    is_reasoning = bool(row["supports"].get("reasoning"))
    return Known(row["id"], row["family"], row.get("release_date") or "", price or None, is_reasoning)


def _published(rows: list[dict[str, Any]]) -> Iterable[Figure]:
    for row in rows:
        if REFUSED_SOURCE in row["source"] or row["unit"] == "rank":
            continue
        domain = TASK_DOMAINS.get(row["task"])
        name = row["metric"].lower()
        if row["task"] == "reasoning_math":
            domain = "knowledge" if name.startswith("gpqa") else "math"
        if domain is None:
            continue
        is_rating = "rating" in row["unit"]
        noise = NOISE_OF_RATING if is_rating else NOISE_OF_SHARE
        noise *= SELF_REPORTED if row.get("self_reported") else 1
        noise *= THIN if row.get("thin_evidence") else 1
        noise *= OLD if (AS_OF - _day(row["as_of"])).days > OLD_AFTER_DAYS else 1
        if name.startswith("arena text, mean over"):
            name = "arena text, mean over languages"
        elif is_rating:
            name += ", " + row["as_of"][:7]  # ratings of two days have two origins
        noise *= THIN if name in TOP_ONLY else 1
        value = row["value"] / 100 if is_rating else _logit(row["value"])
        yield Figure(row["model"], Metric(name, domain, "rating" if is_rating else "share"), value, noise)


def _of_prior(row: dict[str, Any]) -> Iterable[Figure]:
    for name, value in row["benchmark_scores"].items():
        is_rating = "Elo" in name
        metric = Metric(name.lower().replace("-2025", " 2025"), PRIOR_DOMAINS[name], "rating" if is_rating else "share")
        noise = NOISE_OF_RATING if is_rating else NOISE_OF_SHARE
        yield Figure(row["model_id"], metric, value / 100 if is_rating else _logit(value), noise)


def _outcomes(sets: Iterable[Outcomes], ids: dict[str, str]) -> Iterable[Figure]:
    """Mean outcomes of each file by domain, as logits: what ties abilities to chances of a good answer."""
    for outcomes in sets:
        domains = np.array([OUTCOME_DOMAINS.get(task, "") for task in outcomes.task])
        for domain in sorted(set(domains) - {""}):
            at = domains == domain
            if at.sum() < LEAST_OUTCOMES:
                continue
            for model, mean in zip(outcomes.models, outcomes.score[at].mean(0), strict=True):
                if model in ids:
                    metric = Metric(f"{outcomes.name}, {domain}", domain, "outcome")
                    yield Figure(ids[model], metric, _logit(100 * mean), NOISE_OF_OUTCOMES)


def _averaged(figures: list[Figure]) -> list[Figure]:
    """One figure per model and metric: the mean over variants, efforts and sources."""
    groups: dict[tuple[str, Metric], list[Figure]] = defaultdict(list)
    for figure in figures:
        groups[figure.model, figure.metric].append(figure)
    return [
        Figure(model, metric, float(np.mean([f.value for f in group])), min(f.noise for f in group))
        for (model, metric), group in groups.items()
    ]


def _logit(percent: float) -> float:
    share = min(max(percent / 100, 0.01), 0.99)
    return log(share / (1 - share))


def _day(text: str) -> date:
    """A date, of which the day may be missing."""
    return date.fromisoformat(text if len(text) > 7 else text + "-15")
