"""The three policies on recorded outcomes: what they choose, whether their promise was kept, whether noise moves them.

A policy compares lower bounds (80 %, one-sided) on the probability scale: frugal and balanced take the cheapest model
whose bound reaches 0.85 or 0.95 of the best one, premium the best, ties within 0.01 to the cheaper, never below
balanced's floor. A promise is kept where mean quality reaches that share of the best single model's (premium:
balanced's).
"""

import random
from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from bench.routing.fit import Prediction, Router
from bench.routing.linear import sigmoid
from bench.routing.outcomes import Outcomes, describe
from routing.selection.features import question_of
from routing.selection.words import POLICIES

Z = 0.8416
FLOORS = {"frugal": 0.85, "balanced": 0.95, "premium": 0.95}
TIE = 0.01
RESAMPLES = 1_000
INTERVAL = (5, 95)  # percentiles
ROWS_OF_NOISE = 500
TYPO_SHARE = 0.05  # of words longer than three letters: two neighbouring letters change places


def choose(prediction: Prediction, policy: str) -> np.ndarray:
    """Model index [n] that a policy takes."""
    bound = sigmoid(prediction.logit - Z * prediction.error)
    best = bound.max(1, keepdims=True)
    allowed = bound >= FLOORS[policy] * best
    if policy == "premium":
        allowed &= bound >= best - TIE
    return np.where(allowed, prediction.cost, np.inf).argmin(1)


def promises(prediction: Prediction, test: Outcomes, best: int, seed: int = 0) -> dict[str, dict[str, object]]:
    """By policy: quality and cost as shares of the best single model's, with a bootstrap interval of the former."""
    n = np.arange(len(test))
    generator = np.random.default_rng(seed)
    samples = generator.integers(0, len(test), (RESAMPLES, len(test)))
    found: dict[str, dict[str, object]] = {}
    for policy in POLICIES:
        chosen = choose(prediction, policy)
        got, reference = test.score[n, chosen], test.score[:, best]
        ratios = got[samples].mean(1) / np.maximum(reference[samples].mean(1), 1e-9)
        low, high = np.percentile(ratios, INTERVAL)
        share = float(got.mean() / max(reference.mean(), 1e-9))
        found[policy] = {
            "promise": FLOORS[policy],
            "quality": share,
            "interval": [float(low), float(high)],
            "kept": share >= FLOORS[policy],
            "cost": float(test.cost[n, chosen].mean() / test.cost[:, best].mean()),
            "models": len(set(chosen.tolist())),
        }
    return found


def noise_shares(router: Router, test: Outcomes, seed: int = 0) -> dict[str, float]:
    """Share of balanced choices that stay the same when the prompt is disturbed."""
    rows = np.random.default_rng(seed).permutation(len(test))[:ROWS_OF_NOISE]
    sample = test.take(rows)
    before = choose(router.predict(sample), "balanced")
    typist = random.Random(seed)
    noises: dict[str, Callable[[str], str]] = {
        "upper_case": str.upper,
        "lower_case": str.lower,
        "white_space": lambda text: "  ".join(text.split(" ")) + "\n",
        "typos": lambda text: _mistyped(text, typist),
    }
    return {
        name: float((choose(router.predict(_disturbed(sample, noise)), "balanced") == before).mean())
        for name, noise in noises.items()
    }


def _disturbed(sample: Outcomes, noise: Callable[[str], str]) -> Outcomes:
    questions = []
    for prompt, question in zip(sample.prompts, sample.questions, strict=True):
        read = question_of(noise(prompt))
        questions.append(replace(question, text=read.text, chars=read.chars))
    rows, figures = describe(questions)
    return Outcomes(**{**sample.__dict__, "questions": questions, "rows": rows, "figures": figures})


def _mistyped(text: str, typist: random.Random) -> str:
    words = text.split(" ")
    for i, word in enumerate(words):
        if len(word) > 3 and typist.random() < TYPO_SHARE:
            at = typist.randrange(1, len(word) - 1)
            words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)
