"""What failed attempts of each organization cost the house of late, so that nobody can make it pay without end.

A level for each organization, in this process' memory: what is lost raises it, and it drains by the budget an hour.
"""

from collections import OrderedDict

from komilion.common.clock import monotonic_s
from komilion.common.numbers import numbers

ORGANIZATIONS_MOST = 10_000  # those who lost last; a level that is forgotten was drained long since, or nearly
S_PER_HOUR = 3_600


class Losses:
    """The levels, in nano-USD."""

    def __init__(self) -> None:
        self._levels: OrderedDict[int, tuple[int, float]] = OrderedDict()  # and when they stood so high

    def add(self, organization_id: int, nano: int) -> None:
        """So much was lost for a call of this organization; nothing is, for nearly all calls."""
        if not nano:
            return
        self._levels[organization_id] = (self._level(organization_id) + nano, monotonic_s())
        self._levels.move_to_end(organization_id)
        if len(self._levels) > ORGANIZATIONS_MOST:
            self._levels.popitem(last=False)

    def is_over(self, organization_id: int) -> bool:
        """Whether it has used up its budget for now."""
        return self._level(organization_id) >= numbers.LOSS_BUDGET_NANO_PER_HOUR

    def _level(self, organization_id: int) -> int:
        if organization_id not in self._levels:
            return 0
        level, since_s = self._levels[organization_id]
        drained = int((monotonic_s() - since_s) * numbers.LOSS_BUDGET_NANO_PER_HOUR / S_PER_HOUR)
        return max(0, level - drained)
