"""`python -m bench.routing.strengths`: places every model of the catalogue by public figures and writes strengths.json.

Abilities (`bench.routing.ability`) are turned into logits by those models of 2024 that have both recorded outcomes and
public figures: the slope of a task is the logits that a hundred rating points are worth in the outcomes of its domain.
A model's standard error is that of its ability, and of how far such models were off in spite of their figures.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np

from bench.routing.ability import Abilities, fit_abilities
from bench.routing.figures import ANCHORS, DOMAINS, Collected, collect
from bench.routing.outcomes import load_folder
from routing.selection.quality import STRENGTHS
from routing.selection.words import TASKS

# What of a task's ability comes from which domain; the rest is the general ability.
LOADINGS: Mapping[str, Mapping[str, float]] = {
    "writing": {"chat": 1.0},
    "rewriting": {"chat": 0.5},
    "code-generation": {"code": 1.0},
    "math": {"math": 1.0},
    "reasoning": {"math": 0.5, "knowledge": 0.5},
    "knowledge-qa": {"knowledge": 1.0},
    "tool-use": {"agentic": 1.0},
    "data-extraction": {"knowledge": 0.3},
    "summarization": {"chat": 0.5},
    "translation": {"multilingual": 1.0},
    "roleplay": {"chat": 1.0},
    "advice-planning": {"chat": 0.5, "knowledge": 0.3},
    "vision": {"vision": 1.0},
    "other": {},
}
LEVEL = 1.45  # logit of GPT-4 (November 2023), ability 0, on the average recorded request
# Chats are not examinations: GPT-4 got .94 of the points of MT-Bench and .81 of MMLU's, of which half is believed.
EASIER = dict.fromkeys(
    ("writing", "rewriting", "summarization", "translation", "roleplay", "advice-planning", "other"), 0.65
)
SLOPE_OF_CHAT = 0.62  # logits per 100 points between Mixtral and GPT-4 on MT-Bench
CHAT_TASKS = frozenset(EASIER) - {"translation"}
UNEXPLAINED = 0.25  # logits: how far a model is off in spite of its figures, by the outcomes of 2024
# What is good gets measured: hundred points off a model without a figure, less off one with a few.
UNFIGURED, ENOUGH_FIGURES = 0.3, 3
UNKNOWN_ABILITY, UNKNOWN_ERROR = -1.0, 1.2
BY_HAND = {
    # 135 million parameters; near 1 % on GSM8K and near chance on MMLU by its makers' report (arXiv 2502.02737).
    "local/smollm2-135m-instruct": (-7.0, 0.8),
}


def make(collected: Collected) -> dict[str, object]:
    """The content of strengths.json."""
    abilities = fit_abilities(collected)
    slopes = slopes_of(abilities)
    models = {}
    for i, model in enumerate(abilities.models):
        strength, error = _place(abilities, i, slopes)
        known = collected.models[model]
        models[model] = {
            "strength": strength,
            "error": error,
            "family": known.family,
            "released": known.released,
            "figures": int(abilities.evidence[i]),
        }
    for model, (ability, spread) in BY_HAND.items():
        models[model] = _by_hand(ability, spread, slopes)
    content: dict[str, object] = {
        "tasks": list(TASKS),
        "slopes": {task: round(slopes[task], 3) for task in TASKS},
        "unknown": _by_hand(UNKNOWN_ABILITY, UNKNOWN_ERROR, slopes),
        "models": dict(sorted(models.items())),
    }
    digest = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    return {"version": digest, **content}


def slopes_of(abilities: Abilities) -> dict[str, float]:
    """Logits per hundred points by task, from the outcome files' metrics of its domains."""
    by_domain = {
        domain: [
            slope for metric, slope in abilities.slopes.items() if metric.kind == "outcome" and metric.domain == domain
        ]
        for domain in DOMAINS
    }
    measured = {domain: float(np.mean(slopes)) for domain, slopes in by_domain.items() if slopes}
    usual = float(np.mean(list(measured.values()))) if measured else 0.7
    found = {}
    for task in TASKS:
        parts = [measured[domain] for domain in LOADINGS[task] if domain in measured]
        found[task] = SLOPE_OF_CHAT if task in CHAT_TASKS else float(np.mean(parts)) if parts else usual
    return found


def render(content: Mapping[str, object]) -> str:
    """JSON with one model a line, so that a change can be read."""
    head = {key: value for key, value in content.items() if key != "models"}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    models = content["models"]
    assert isinstance(models, dict)
    rows = [f"  {json.dumps(model)}: {json.dumps(place)}" for model, place in models.items()]
    return "{\n" + "\n".join(lines) + '\n "models": {\n' + ",\n".join(rows) + "\n }\n}\n"


def _place(abilities: Abilities, model: int, slopes: Mapping[str, float]) -> tuple[list[float], list[float]]:
    strength, error = [], []
    shift = -UNFIGURED * max(1 - abilities.evidence[model] / ENOUGH_FIGURES, 0)
    for task in TASKS:
        loads = np.zeros(1 + len(DOMAINS))
        for domain, load in LOADINGS[task].items():
            loads[1 + DOMAINS.index(domain)] = load
        loads[0] = 1 - loads.sum()
        ability = float(loads @ abilities.mean[model]) + shift
        variance = float(loads @ abilities.covariance[model] @ loads)
        slope = slopes[task]
        strength.append(round(LEVEL + EASIER.get(task, 0.0) + slope * ability, 3))
        error.append(round((slope**2 * variance + UNEXPLAINED**2) ** 0.5, 3))
    return strength, error


def _by_hand(ability: float, spread: float, slopes: Mapping[str, float]) -> dict[str, object]:
    strength = [round(LEVEL + EASIER.get(task, 0.0) + slopes[task] * ability, 3) for task in TASKS]
    return {"strength": strength, "error": [round(slopes[task] * spread, 3) for task in TASKS]}


def main() -> int:
    """Write the file, or say with --check whether it is what would be written."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing.strengths", description=__doc__)
    parser.add_argument("--facts", type=Path, required=True, help="folder with models.json and quality.json")
    parser.add_argument("--outcomes", type=Path, required=True, help="folder with outcome files and catalog_priors/")
    parser.add_argument("--out", type=Path, default=STRENGTHS)
    parser.add_argument("--check", action="store_true")
    chosen = parser.parse_args()
    sets = load_folder(chosen.outcomes).values()
    text = render(make(collect(chosen.facts, chosen.outcomes / "catalog_priors" / "models.json", sets)))
    if chosen.check:
        same = chosen.out.read_text() == text
        print(f"{chosen.out} is {'' if same else 'not '}what {ANCHORS.name} and the figures make")
        return 0 if same else 1
    chosen.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
