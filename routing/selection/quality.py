"""How likely each model is to answer a question well: an additive item-response model that can be read.

    logit p(model, x) = strength(model, task) . tasks(x) + own(model) . [F, mix](x) - difficulty(x)

`strength` is placed by public figures (data/strengths.json, made by `python -m bench.routing.strengths`); `own` is what
a model's recorded outcomes say beyond the average model, known for few, and halved here because traffic is unlike the
examinations that the outcomes come from. The standard error is that of a model's place among the others: how hard the
question is moves all of them alike, and is left out of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from routing.selection.market import ModelFacts
from routing.selection.weights import Reading, Regime, RegimeName, Weights
from routing.selection.words import TASKS

STRENGTHS = Path(__file__).parent / "data" / "strengths.json"
OWN_EFFECT_KEPT = 0.5
SAME_FAMILY_ERROR = 0.5  # logits, added to what is known of the newest model of the family
REASONING = 0.3  # logits that an unknown model which thinks first is ahead of one that does not
BLIND = 1.0  # logits off for what cannot see, where work without an image is called vision (with one it is filtered)
_VISION = TASKS.index("vision")


class Placed(msgspec.Struct, frozen=True):
    """A model's strength by task, on the logit scale, and its standard error."""

    strength: list[float]
    error: list[float]
    family: str = ""
    released: str = ""


class Strengths(msgspec.Struct, frozen=True):
    """The whole of strengths.json; lists are in the order of `tasks`. `unknown` is for a model that nobody measured."""

    version: str
    tasks: list[str]
    unknown: Placed
    models: dict[str, Placed]

    @classmethod
    def load(cls, path: Path = STRENGTHS) -> Self:
        """Read the file. Raises `ValueError` where its tasks are not ours."""
        loaded = msgspec.convert(json.loads(path.read_text()), cls)
        if tuple(loaded.tasks) != TASKS:
            raise ValueError(f"{path} is about other tasks")
        return loaded

    def place(self, facts: ModelFacts) -> Placed:
        """This model's place: its own, else a wider one beside the newest of its family, else the unknown's."""
        known = self.models.get(facts.id)
        if known is not None:
            return known
        names = {facts.family, facts.line} - {""}
        family = [place for id_, place in self.models.items() if place.family in names or id_ in names]
        if not family:
            ahead = REASONING if facts.is_reasoning else 0.0
            return Placed([strength + ahead for strength in self.unknown.strength], self.unknown.error)
        newest = max(family, key=lambda place: place.released)
        return Placed(newest.strength, [(e * e + SAME_FAMILY_ERROR**2) ** 0.5 for e in newest.error], newest.family)


@dataclass(frozen=True, slots=True)
class Quality:
    """For one list of models, in its order; n models. Built once per catalogue, read by every request."""

    ids: tuple[str, ...]
    version: str
    _variance: np.ndarray  # [n, tasks]
    _effects: Mapping[RegimeName, np.ndarray]  # strength, then what is a model's own: [n, tasks + d + kinds]

    @classmethod
    def build(cls, weights: Weights, models: Sequence[ModelFacts], strengths: Strengths | None = None) -> Self:
        """Place every model; a few milliseconds, and a file is read where no `strengths` are given.

        Raises `ValueError` where a number is missing, so that no request meets one.
        """
        strengths = strengths or Strengths.load()
        strength, errors = placed(models, strengths)
        ids = tuple(model.id for model in models)
        effects = {name: np.hstack([strength, _own(regime, ids)]) for name, regime in weights.regimes.items()}
        if not all(np.isfinite(array).all() for array in (errors, *effects.values())):
            raise ValueError("the strength of a model is no number")
        return cls(ids, f"{weights.version}-{strengths.version}", errors**2, effects)

    def score(self, reading: Reading) -> np.ndarray:
        """Logits of a good answer and their standard errors, float32 [2, n]; some 10 us for 100 models."""
        found = np.empty((2, len(self.ids)), np.float32)
        logit, error = found
        self._effects[reading.regime].dot(reading.known, out=logit)
        logit -= reading.difficulty
        self._variance.dot(reading.tasks, out=error)
        np.sqrt(error, out=error)
        return found


def placed(models: Sequence[ModelFacts], strengths: Strengths) -> tuple[np.ndarray, np.ndarray]:
    """Strengths by task and their standard errors, in logits: float32 [n, tasks] each, in the order of `models`."""
    places = [strengths.place(model) for model in models]
    shape = (len(models), len(TASKS))
    strength = np.array([place.strength for place in places], np.float32).reshape(shape)
    strength[:, _VISION] -= [0.0 if model.has_vision else BLIND for model in models]
    return strength, np.array([place.error for place in places], np.float32).reshape(shape)


def _own(regime: Regime, ids: tuple[str, ...]) -> np.ndarray:
    """What recorded outcomes say of each model beyond the average one: [n, d + kinds], zeros where there are none."""
    effects = np.zeros((len(ids), len(regime.own)), np.float32)
    for column, model in enumerate(regime.models):
        if model in ids:
            effects[ids.index(model)] = regime.own[:, column] * np.float32(OWN_EFFECT_KEPT)
    return effects
