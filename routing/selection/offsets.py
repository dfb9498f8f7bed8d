"""What feedback says of a model beyond what was fitted: an offset of its logit, by revision, task and difficulty.

A vote with score s on an answer that was expected to be good with probability p (without any offset) moves the cell of
its (model revision, task, band of difficulty). With a normal prior of mean 0 and precision 16 on the offset, and one
Newton step from 0,

    offset = sum(s - p) / (sum(p (1 - p)) + 16), cut at +-0.5

A vote halves in 30 days. An organization's part of a cell is limited by itself: its weight to `ORGANIZATION_WEIGHT`,
beyond which older votes fade as new ones come, and its residual to `ORGANIZATION_RESIDUAL`. So nobody alone moves a
cell by more than 0.8 / 16 = 0.05 logit (1.25 points of 100, where the floor of the policy balanced is 5 % wide), and
0.5 takes more than ten who agree. A cell remembers 32 organizations.

State is small, losable and counted by `version`; nothing in it but numbers and the names it was given.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np

from routing.selection.market import Floats, Market
from routing.selection.parts import Cell, Limits, Part, say
from routing.selection.words import TASKS

BANDS = ("easy", "middling", "hard")
BAND_EDGES = (-0.5, 0.5)  # difficulty, logit
HALF_LIFE_S = 30 * 86_400.0
PRIOR_PRECISION = 16.0  # a standard deviation of 0.25 logit
LARGEST_OFFSET = 0.5
ORGANIZATION_WEIGHT = 1.0  # four votes at p = 0.5
ORGANIZATION_RESIDUAL = 0.8
CELLS_KEPT = 4_096
ORGANIZATIONS_KEPT = 32  # in a cell
CERTAIN = 0.02  # a probability counts as at least this far from 0 and 1


@dataclass(frozen=True, slots=True)
class Feedback:
    """One vote. `probability` is what was expected without an offset; `organization` any name for who votes."""

    revision: str
    task: str
    difficulty: float
    probability: float
    score: float  # 0 to 1; thumbs are 1 and 0
    organization: str


class _State(msgspec.Struct, array_like=True):
    version: int
    cells: list[tuple[str, str, int, Cell]]


def band(difficulty: float) -> int:
    """Which of `BANDS`."""
    return sum(difficulty > edge for edge in BAND_EDGES)


class Offsets:
    """All cells."""

    def __init__(self) -> None:
        self.version = 0
        self._cells: dict[tuple[str, str, int], Cell] = {}

    @classmethod
    def loads(cls, data: bytes) -> "Offsets":
        """What `dumps` gave. Raises `msgspec.DecodeError` for anything else."""
        state = msgspec.msgpack.decode(data, type=_State)
        offsets = cls()
        offsets.version = state.version
        offsets._cells = {(revision, task, number): cell for revision, task, number, cell in state.cells[:CELLS_KEPT]}
        return offsets

    @classmethod
    def merged(cls, parts: Iterable[bytes]) -> "Offsets":
        """Several states that do not hold the same vote; an organization is limited in the whole as in each."""
        whole = cls()
        for part in map(cls.loads, parts):
            whole.version += part.version
            for key, cell in part._cells.items():
                for organization, said in cell.items():
                    whole._say(key, organization, said)
        return whole

    def dumps(self) -> bytes:
        """For Redis: about 60 bytes for an organization in a cell."""
        return msgspec.msgpack.encode(_State(self.version, [(*key, cell) for key, cell in self._cells.items()]))

    def note(self, vote: Feedback, now_s: float) -> None:
        """Count one vote, at a time in Unix seconds. Raises `ValueError` for a score outside of 0 to 1."""
        if not 0 <= vote.score <= 1:
            raise ValueError("a score is from 0 to 1")
        p = min(max(vote.probability, CERTAIN), 1 - CERTAIN)
        key = (vote.revision, vote.task, band(vote.difficulty))
        self._say(key, vote.organization, Part(p * (1 - p), vote.score - p, now_s))
        self.version += 1

    def offset(self, revision: str, task: str, number: int, now_s: float) -> float:
        """The posterior mean of one cell, logit."""
        cell = self._cells.get((revision, task, number))
        return 0.0 if cell is None else _posterior(cell, now_s)

    def view(self, market: Market, now_s: float) -> "OffsetsView":
        """All offsets of a market, for the requests of the next seconds."""
        rows: dict[tuple[str, int], Floats] = {}
        candidates = {model.revision: i for i, model in enumerate(market.facts.models)}
        for (revision, task, number), cell in self._cells.items():
            if revision in candidates and task in TASKS:
                row = rows.setdefault((task, number), np.zeros(len(market.models), np.float32))
                row[candidates[revision]] = _posterior(cell, now_s)
        return OffsetsView(self.version, market, rows)

    def _say(self, key: tuple[str, str, int], organization: str, said: Part) -> None:
        cell = self._cells.get(key)
        if cell is None:
            if len(self._cells) >= CELLS_KEPT:
                del self._cells[min(self._cells, key=lambda k: max(part.at_s for part in self._cells[k].values()))]
            cell = self._cells[key] = {}
        limits = Limits(HALF_LIFE_S, ORGANIZATION_WEIGHT, ORGANIZATION_RESIDUAL, ORGANIZATIONS_KEPT)
        say(cell, organization, said, limits)


def _posterior(cell: Cell, now_s: float) -> float:
    parts = [part.aged(now_s, HALF_LIFE_S) for part in cell.values()]
    weight, residual = sum(part.weight for part in parts), sum(part.total for part in parts)
    return min(max(residual / (weight + PRIOR_PRECISION), -LARGEST_OFFSET), LARGEST_OFFSET)


@dataclass(frozen=True, slots=True)
class OffsetsView:
    """Offsets over one market, of the state with this version. `rows` are float32 [models], where any is there."""

    version: int
    market: Market
    rows: dict[tuple[str, int], Floats]

    def at(self, task: str, difficulty: float) -> Floats | None:
        """Offsets of all candidates, logit, float32 [models]; None where nobody has said anything."""
        return self.rows.get((task, band(difficulty))) if self.rows else None
