"""What everybody's votes say of the models, beyond what was published of them.

Published strengths are off by about their standard errors, and a model that is off by three is the cheapest one that
seems good enough to everyone at once. Votes on it are the one thing that shows it. For organization o and model m,

    x = sum(score - p) / sum(p (1 - p))        one Newton step from p, what was expected of each vote; cut at +-1
    x = kindness + offset of m + normal error of variance 1 / sum(p (1 - p)) + VOTER_ERROR^2

`kindness` is what voters are kinder, or sterner, than outcomes would be; the mean over all models is taken for it, so
only what is between models counts. The prior of an offset is that half of a model's published variance is common to all
task types. One organization weighs at most 1 / VOTER_ERROR^2, and is one of five at least.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import fsum

from advisor.evidence import Candidate
from advisor.statistics import sigmoid

VOTER_ERROR = 0.8  # logits, by which one organization's voters differ from another's
LARGEST_STEP = 1.0  # logits, of one organization
LEAST_ORGANIZATIONS = 5  # that voted on a model
COMMON = 0.5  # of the variance of a published strength: what is wrong for all task types alike


@dataclass(frozen=True, slots=True)
class Voted:
    """One organization's votes on one model for one task type. Only organizations that have paid belong here."""

    organization_id: int
    model: str
    task: str
    votes: float
    score: float  # the sum of the scores between 0 and 1
    difficulty: float  # mean of the questions, in logits


@dataclass(slots=True)
class _Sum:
    evidence: float = 0.0
    information: float = 0.0

    @property
    def step(self) -> float:
        return min(max(self.evidence / self.information, -LARGEST_STEP), LARGEST_STEP)

    @property
    def weight(self) -> float:
        return 1 / (1 / self.information + VOTER_ERROR**2)


def with_votes(models: Mapping[str, Candidate], voted: Iterable[Voted]) -> dict[str, Candidate]:
    """The models with their strengths moved and their errors narrowed by the votes."""
    by_model = _by_model(models, voted)
    sums = [one for found in by_model.values() for one in found]
    weight = fsum(one.weight for one in sums)
    kindness = fsum(one.weight * one.step for one in sums) / weight if weight else 0.0
    return {
        id_: _moved(model, by_model[id_], kindness) if len(by_model.get(id_, ())) >= LEAST_ORGANIZATIONS else model
        for id_, model in models.items()
    }


def _by_model(models: Mapping[str, Candidate], voted: Iterable[Voted]) -> dict[str, list[_Sum]]:
    """For each model, one sum for each organization that voted on it, whatever the task type."""
    sums: dict[tuple[str, int], _Sum] = {}
    for one in sorted(voted, key=lambda one: (one.model, one.organization_id, one.task, one.votes, one.score)):
        model = models.get(one.model)
        if model is None or one.task not in model.strength or one.votes <= 0:
            continue
        expected = sigmoid(model.strength[one.task] - one.difficulty)
        found = sums.setdefault((one.model, one.organization_id), _Sum())
        found.evidence += one.score - one.votes * expected
        found.information += one.votes * expected * (1 - expected)
    by_model: dict[str, list[_Sum]] = {}
    for (model_id, _), found in sums.items():
        by_model.setdefault(model_id, []).append(found)
    return by_model


def _moved(model: Candidate, sums: list[_Sum], kindness: float) -> Candidate:
    weight = fsum(one.weight for one in sums)
    evidence = fsum(one.weight * (one.step - kindness) for one in sums)
    strength, error = {}, {}
    for task, published in model.strength.items():
        common = COMMON * model.error[task] ** 2
        precision = weight + 1 / common
        strength[task] = published + evidence / precision
        error[task] = (model.error[task] ** 2 - common + 1 / precision) ** 0.5
    return replace(model, strength=strength, error=error)
