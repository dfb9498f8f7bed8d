"""How much a model writes for a task type: what is measured, and what its other work and other models say where not.

    logarithm of output = guess of the task type + what that guess is off by + the model's habit + error

The guesses are the choice's own (routing/selection/data/guesses.json), with thinking for models that think. Habits and
what guesses are off by are plain means over what was measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import log
from typing import Self

from advisor.evidence import Landscape
from advisor.statistics import Normal
from routing.selection.guesses import median_tokens

UNKNOWN_ERROR = 0.45  # of a model whose output is measured nowhere
HABIT_ERROR = 0.3  # of one task type against a model's habit


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of one landscape."""

    landscape: Landscape
    off: Mapping[str, float]  # by task type
    habits: Mapping[str, tuple[float, int]]  # by model: its mean, and over how many task types
    found: dict[tuple[str, str], Normal] = field(default_factory=dict)  # what was asked for before

    @classmethod
    def of(cls, landscape: Landscape) -> Self:
        """From everything that was measured."""
        by_task: dict[str, list[float]] = {}
        by_model: dict[str, list[float]] = {}
        rests = {
            key: output.log_mean - _guess(landscape, *key)
            for key, output in sorted(landscape.outputs.items())
            if key[0] in landscape.models
        }
        for (_, task), rest in rests.items():
            by_task.setdefault(task, []).append(rest)
        off = {task: sum(found) / len(found) for task, found in by_task.items()}
        for (model, task), rest in rests.items():
            by_model.setdefault(model, []).append(rest - off[task])
        return cls(landscape, off, {model: (sum(found) / len(found), len(found)) for model, found in by_model.items()})

    def of_model(self, model: str, task: str) -> Normal:
        """The mean of the logarithm of its output tokens."""
        key = (model, task)
        if key not in self.found:
            self.found[key] = self._of_model(model, task)
        return self.found[key]

    def _of_model(self, model: str, task: str) -> Normal:
        mean, count = self.habits.get(model, (0.0, 0))
        error = HABIT_ERROR * (1 + 1 / count) ** 0.5 if count else UNKNOWN_ERROR
        expected = Normal(_guess(self.landscape, model, task) + self.off.get(task, 0.0) + mean, error)
        measured = self.landscape.outputs.get((model, task))
        return expected if measured is None else expected.and_also(Normal(measured.log_mean, measured.error))

    def ratio(self, old: str, new: str, task: str, own_error: float) -> Normal:
        """The logarithm of how much more the second writes than the first; `own_error` is one organization's."""
        if old == new:
            return Normal(0.0, 0.0)
        one, two = self.of_model(old, task), self.of_model(new, task)
        return Normal(two.mean - one.mean, (one.error**2 + two.error**2 + own_error**2) ** 0.5)


@lru_cache(maxsize=2)
def lengths_of(landscape: Landscape) -> Lengths:
    """What `Lengths.of` says; made once for all organizations that are looked at with this landscape."""
    return Lengths.of(landscape)


def _guess(landscape: Landscape, model: str, task: str) -> float:
    known = landscape.models.get(model)
    return log(median_tokens(task, None, thinks=known is not None and known.is_reasoning))
