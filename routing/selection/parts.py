"""What each organization says in one cell of figures that all of them share, so that nobody can say more than his part.

A cell keeps a part for each organization: a weight and a total, which halve with time. The weight of a part is limited,
beyond which what is older fades as new comes, and so may its total be. A cell remembers so many organizations; those
with the least to say are forgotten first, with what they said: there is no sum into which one could pour twice.
"""

from typing import Self

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Of the parts of one kind of cell."""

    half_life_s: float
    weight: float  # of one organization
    total: float  # of one organization, up and down
    organizations: int  # in a cell


class Part(msgspec.Struct, array_like=True):
    """What one organization says in one cell, as of `at_s`, a Unix time."""

    weight: float = 0.0
    total: float = 0.0
    at_s: float = 0.0

    def aged(self, now_s: float, half_life_s: float) -> Self:
        """The same, at a later moment; time that goes back changes nothing."""
        factor = 0.5 ** (max(0.0, now_s - self.at_s) / half_life_s)
        return type(self)(self.weight * factor, self.total * factor, max(self.at_s, now_s))


type Cell = dict[str, Part]


def say(cell: Cell, organization: str, said: Part, limits: Limits) -> None:
    """Add to the part of one organization, within its limits."""
    before = cell.get(organization)
    weight, total, now_s = said.weight, said.total, said.at_s
    if before is not None:
        now_s = max(now_s, before.at_s)
        fresh, kept = (0.5 ** ((now_s - part.at_s) / limits.half_life_s) for part in (said, before))
        weight, total = weight * fresh + before.weight * kept, total * fresh + before.total * kept
    if weight > limits.weight:
        weight, total = limits.weight, total * limits.weight / weight
    cell[organization] = Part(weight, min(max(total, -limits.total), limits.total), now_s)
    if len(cell) > limits.organizations:
        others = (name for name in cell if name != organization)
        del cell[min(others, key=lambda name: cell[name].aged(now_s, limits.half_life_s).weight)]
