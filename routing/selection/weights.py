"""The shipped weights: what a question is, read by learnt axes, kinds and a difficulty.

The file `data/weights.npz` is made by `python -m bench.routing.ship`; its version is a hash of its content. For a
question with table rows t and readable figures R, standardised:

    z = sum of axes[t] / root of the sum of squared word weights[t]
    F = [1, R, z]        mix = softmax(F U)        difficulty = trust x (mean - shared . [F, mix])

Requests with tools and without are two regimes with axes and kinds of their own. `trust` is how much of the difficulty
holds for data sets that no fit has seen (docs/routing.md). No I/O but `Weights.load`, no state, safe in every thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self, cast

import msgspec
import numpy as np

from routing.selection.features import FIGURES, Question, figures_of, table_rows, words_of
from routing.selection.tasks import task_posterior
from routing.selection.words import TASKS

WEIGHTS = Path(__file__).parent / "data" / "weights.npz"
FIGURE_LIMIT = 4.0  # standard deviations
REASONS = 3

type RegimeName = Literal["plain", "tools"]
type Arrays = Mapping[str, np.ndarray]


class Reading(msgspec.Struct, frozen=True):
    """What was read of a question; arrays are float32 and belong to the reader.

    `vector` [1 + figures + axes]; `mix` [kinds] and `tasks` [len(TASKS)] sum to 1; `difficulty` is a logit, 0 where a
    request is as hard as the average one; `reasons` are what moved it most, each with its share of the logit.
    """

    regime: RegimeName
    vector: np.ndarray
    mix: np.ndarray
    tasks: np.ndarray
    difficulty: float
    reasons: tuple[tuple[str, float], ...]

    @property
    def task(self) -> str:
        """The most likely kind of work."""
        return TASKS[int(self.tasks.argmax())]


@dataclass(frozen=True, slots=True)
class Regime:
    """One regime's part of the weights, float32; d = 1 + figures + axes.

    `table` [rows, axes + 1] holds the axes and, last, the squared word weight; `shared_*` are minus the difficulty;
    `models` are those with outcomes in this regime, `own` [d + kinds, models] what each has beyond the average of them.
    """

    name: RegimeName
    kinds: tuple[str, ...]
    mean: np.ndarray
    inverse_deviation: np.ndarray
    table: np.ndarray
    to_kinds: np.ndarray
    shared_vector: np.ndarray
    shared_mix: np.ndarray
    shared_mean: float
    trust: float
    models: tuple[str, ...]
    own: np.ndarray

    @classmethod
    def of(cls, name: RegimeName, arrays: Arrays) -> Self:
        """From the arrays of the file whose names begin with this regime's."""

        def take(key: str) -> np.ndarray:
            return np.ascontiguousarray(arrays[f"{name}/{key}"], np.float32)

        axes = take("axes") * take("axes_scale")
        shared, width = take("shared"), len(FIGURES) + 1 + axes.shape[1]
        return cls(
            name=name,
            kinds=tuple(map(str, arrays[f"{name}/kinds"])),
            mean=take("mean"),
            inverse_deviation=1 / take("deviation"),
            table=np.ascontiguousarray(np.column_stack([axes, take("squared_weights")])),
            to_kinds=take("to_kinds"),
            shared_vector=shared[:width],
            shared_mix=shared[width:],
            shared_mean=float(arrays[f"{name}/shared_mean"]),
            trust=float(arrays[f"{name}/trust"]),
            models=tuple(map(str, arrays[f"{name}/models"])),
            own=take("own"),
        )


@dataclass(frozen=True, slots=True)
class Weights:
    """All that reading a question needs, and the version that a receipt names."""

    version: str
    regimes: Mapping[RegimeName, Regime]

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Self:
        """Read a file of weights; about 30 ms. Raises `OSError` and `ValueError` for none and a broken one."""
        with np.load(path, allow_pickle=False) as archive:
            return cls.of({name: archive[name] for name in archive.files})

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """From arrays as they are in the file."""
        names = {name.partition("/")[0] for name in arrays}
        regimes = {name: Regime.of(name, arrays) for name in cast("list[RegimeName]", sorted(names))}
        return cls(version_of(arrays), regimes)

    def read(self, question: Question) -> Reading:
        """What this question is; about 100 us of CPU, 300 where it is long."""
        words = words_of(question.text)
        figures = figures_of(question, words)
        name: RegimeName = "tools" if question.tools and "tools" in self.regimes else "plain"
        regime = self.regimes.get(name) or next(iter(self.regimes.values()))
        vector = _vector(regime, table_rows(words.hashes), figures)
        mix = vector @ regime.to_kinds
        mix -= mix.max()
        np.exp(mix, out=mix)
        mix /= mix.sum()
        shared = vector @ regime.shared_vector + mix @ regime.shared_mix
        return Reading(
            regime=name,
            vector=vector,
            mix=mix,
            tasks=task_posterior(question, words),
            difficulty=regime.trust * (regime.shared_mean - float(shared)),
            reasons=_reasons(regime, figures, vector, mix),
        )


def version_of(arrays: Arrays) -> str:
    """Hash of names, shapes and values, so the same for every file that says the same."""
    digest = sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]


def _vector(regime: Regime, rows: np.ndarray, figures: tuple[float, ...]) -> np.ndarray:
    count = len(figures)
    vector = np.empty(1 + count + regime.table.shape[1] - 1, np.float32)
    vector[0] = 1
    readable = vector[1 : 1 + count]
    readable[:] = figures
    readable -= regime.mean
    readable *= regime.inverse_deviation
    np.minimum(readable, FIGURE_LIMIT, out=readable)
    np.maximum(readable, -FIGURE_LIMIT, out=readable)
    total = regime.table[rows].sum(0)
    vector[1 + count :] = total[:-1] / max(float(total[-1]), 1e-12) ** 0.5
    return vector


def _reasons(
    regime: Regime, figures: tuple[float, ...], vector: np.ndarray, mix: np.ndarray
) -> tuple[tuple[str, float], ...]:
    """What moved the difficulty most: a figure that is there at all, the wording, or what the request looks like."""
    count = len(FIGURES)
    shares = vector * regime.shared_vector * -regime.trust
    of_figures = zip(FIGURES, shares[1 : 1 + count].tolist(), figures, strict=True)
    moved = [(name, share) for name, share, figure in of_figures if figure]
    moved.append(("wording", float(shares[1 + count :].sum())))
    moved.append((f"like {regime.kinds[int(mix.argmax())]}", -regime.trust * float(mix @ regime.shared_mix)))
    moved.sort(key=lambda reason: -abs(reason[1]))
    return tuple((name, round(share, 3)) for name, share in moved[:REASONS])
