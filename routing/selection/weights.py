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
from operator import mul
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
TAKEN = -1.0  # no size
_NAMES = (*FIGURES, "wording")

type RegimeName = Literal["plain", "tools"]
type Arrays = Mapping[str, np.ndarray]


class Reading(msgspec.Struct, frozen=True):
    """What was read of a question; arrays are float32 and belong to the reader.

    `known` is all of it in one row: `tasks` [len(TASKS)], which sums to 1 and of which `task` is the most likely,
    `vector` [1 + figures + axes], and `mix` [kinds], which sums to 1 too. `difficulty` is a logit, 0 where a request is
    as hard as the average one; `reasons` are what moved it most, each with its share of the logit.
    """

    regime: RegimeName
    known: np.ndarray
    task: str
    difficulty: float
    reasons: tuple[tuple[str, float], ...]
    kinds: int

    @property
    def tasks(self) -> np.ndarray:
        """The posterior of the kinds of work."""
        return self.known[: len(TASKS)]

    @property
    def vector(self) -> np.ndarray:
        """A constant 1, readable figures, axes."""
        return self.known[len(TASKS) : -self.kinds]

    @property
    def mix(self) -> np.ndarray:
        """How much the question is like each kind of data."""
        return self.known[-self.kinds :]


@dataclass(frozen=True, slots=True)
class Regime:
    """One regime's part of the weights, float32; d = 1 + figures + axes.

    `no_mix` are as many zeros as there are `kinds`; `scales` are mean and inverse deviation of each figure; `table`
    [rows, axes + 1] holds the axes and, last, the squared word weight; `harder` [d] and `harder_mix` [kinds] are what
    adds to the difficulty, on top of `usual`; `models` are those with outcomes in this regime, `own`
    [d + kinds, models] what each has beyond the average of them.
    """

    name: RegimeName
    kinds: tuple[str, ...]
    no_mix: tuple[float, ...]
    scales: tuple[tuple[float, float], ...]
    table: np.ndarray
    to_kinds: np.ndarray
    harder: tuple[float, ...]
    harder_mix: np.ndarray
    usual: float
    models: tuple[str, ...]
    own: np.ndarray

    @classmethod
    def of(cls, name: RegimeName, arrays: Arrays) -> Self:
        """From the arrays of the file whose names begin with this regime's."""

        def take(key: str) -> np.ndarray:
            return np.ascontiguousarray(arrays[f"{name}/{key}"], np.float32)

        axes = take("axes") * take("axes_scale")
        shared, width = take("shared"), len(FIGURES) + 1 + axes.shape[1]
        trust = float(arrays[f"{name}/trust"])
        kinds = tuple(map(str, arrays[f"{name}/kinds"]))
        return cls(
            name=name,
            kinds=kinds,
            no_mix=(0.0,) * len(kinds),
            scales=tuple(zip(take("mean").tolist(), (1 / take("deviation")).tolist(), strict=True)),
            table=np.ascontiguousarray(np.column_stack([axes, take("squared_weights")])),
            to_kinds=take("to_kinds"),
            harder=tuple((shared[:width] * -trust).tolist()),
            harder_mix=shared[width:] * np.float32(-trust),
            usual=trust * float(arrays[f"{name}/shared_mean"]),
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
        """What this question is; about 50 us of CPU, 250 where it is long."""
        words = words_of(question.text)
        figures = figures_of(question, words)
        name: RegimeName = "tools" if question.tools and "tools" in self.regimes else "plain"
        regime = self.regimes.get(name) or next(iter(self.regimes.values()))
        tasks = task_posterior(question, words)
        vector = [1.0, *_standardised(figures, regime), *_axes(table_rows(words.hashes), regime)]
        known = np.array([*tasks, *vector, *regime.no_mix], np.float32)
        mix = _fill_mix(known, regime)
        shares = list(map(mul, vector, regime.harder))
        of_mix = float(mix.dot(regime.harder_mix))
        return Reading(
            regime=name,
            known=known,
            task=TASKS[tasks.index(max(tasks))],
            difficulty=regime.usual + sum(shares) + of_mix,
            reasons=_reasons(figures, shares, of_mix, mix, regime),
            kinds=len(mix),
        )


def version_of(arrays: Arrays) -> str:
    """Hash of names, shapes and values, so the same for every file that says the same."""
    digest = sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]


def _standardised(figures: tuple[float, ...], regime: Regime) -> list[float]:
    """Readable figures in standard deviations from their mean, cut at `FIGURE_LIMIT` of them."""
    return [
        min(max((figure - mean) * scale, -FIGURE_LIMIT), FIGURE_LIMIT)
        for figure, (mean, scale) in zip(figures, regime.scales, strict=True)
    ]


def _axes(rows: np.ndarray, regime: Regime) -> list[float]:
    """The learnt axes of a text with these rows of the table."""
    *total, squared = np.add.reduce(regime.table.take(rows, 0)).tolist()
    size = max(squared, 1e-12) ** -0.5
    return [value * size for value in total]


def _fill_mix(known: np.ndarray, regime: Regime) -> np.ndarray:
    """Fill the end of `known` with how much such a question is like each kind of data, and return that part."""
    kinds = len(regime.no_mix)
    mix: np.ndarray = known[len(TASKS) : -kinds].dot(regime.to_kinds, out=known[-kinds:])
    mix -= np.maximum.reduce(mix)
    np.exp(mix, out=mix)
    mix /= np.add.reduce(mix)
    return mix


def _reasons(
    figures: tuple[float, ...], shares: list[float], of_mix: float, mix: np.ndarray, regime: Regime
) -> tuple[tuple[str, float], ...]:
    """What moved the difficulty most: a figure that is there at all, the wording, or what the request looks like."""
    count = len(FIGURES)
    moved = [share if figure else 0.0 for share, figure in zip(shares[1:], figures, strict=False)]
    moved += (sum(shares[1 + count :]), of_mix)
    sizes = list(map(abs, moved))
    reasons = []
    for _ in range(REASONS):
        most = sizes.index(max(sizes))
        name = _NAMES[most] if most <= count else f"like {regime.kinds[int(mix.argmax())]}"
        reasons.append((name, round(moved[most], 3)))
        sizes[most] = TAKEN
    return tuple(reasons)
