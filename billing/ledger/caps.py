"""The caps of keys within one batch: pure like `billing.ledger.decide`, every amount in nano-USD.

A cap belongs to one wallet and its use is only ever changed by a transaction that has locked that wallet's row, so
nothing here is locked by itself: whoever has the wallet has its caps. A hold stores what it reserved and where
(`CapEntry`), and every later step touches those (cap, period) pairs only, whatever period it is by then.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from billing.errors import StoreRefused
from billing.ledger.items import CapEntry, CapReached
from billing.ledger.store import Rows
from komilion.common.money import MAX_NANO

type Pair = tuple[int, str]  # id of the cap, start of the period


@dataclass(slots=True)
class CapState:
    """One cap in one period, as read under the wallet's lock, then as the batch leaves it."""

    id: int
    key_id: int
    period: str
    limit: int
    starts_on: str
    reserved: int
    spent: int
    is_used: bool  # there is a row of its use already

    @property
    def left(self) -> int:
        """What a call may still reserve; an overrun leaves nothing."""
        return max(0, self.limit - self.reserved - self.spent)

    def reached(self) -> CapReached:
        """What the caller is told."""
        return CapReached(self.key_id, self.period, self.limit, self.spent, self.reserved, self.starts_on)


class CapBook:
    """The caps that the items of a batch refer to, and how their use changes."""

    def __init__(self) -> None:
        self._by_key: dict[int, list[CapState]] = {}  # in the period that the database's clock says it is
        self._by_pair: dict[Pair, CapState] = {}
        self._changes: dict[Pair, tuple[int, int]] = {}  # reserved, spent

    # read

    def read_of_keys(self, rows: Rows) -> None:
        """What `Sql.caps_of_keys` found."""
        for state in self._states(rows):
            self._by_key.setdefault(state.key_id, []).append(state)

    def read_of_entries(self, rows: Rows) -> None:
        """What `Sql.caps_of_entries` found; a cap that was removed meanwhile is not among them."""
        for _ in self._states(rows):
            pass

    def _states(self, rows: Rows) -> Iterable[CapState]:
        for cap_id, key_id, period, limit, starts_on, reserved, spent in rows:
            is_used = reserved is not None
            state = CapState(cap_id, key_id, period, limit, starts_on, reserved or 0, spent or 0, is_used)
            yield self._by_pair.setdefault((cap_id, starts_on), state)

    # decide

    def of_keys(self, key_ids: Iterable[int]) -> list[CapState]:
        """Every cap of these keys, as it is now."""
        return [state for key_id in key_ids for state in self._by_key.get(key_id, ())]

    def of_entries(self, entries: Iterable[CapEntry]) -> list[CapState]:
        """The caps with which a hold reserved, in their periods; without those that were removed."""
        found = (self._by_pair.get((cap_id, starts_on)) for cap_id, starts_on, _ in entries)
        return [state for state in found if state is not None]

    def reserve(self, entries: Iterable[CapEntry], sign: int = 1) -> None:
        """Reserve what the entries say; with `sign` -1 give it back."""
        for cap_id, starts_on, amount in entries:
            self._change((cap_id, starts_on), sign * amount, 0)

    def spend(self, entries: Iterable[CapEntry], charge: int) -> None:
        """Book a charge in full, also beyond the limit."""
        for cap_id, starts_on, _ in entries:
            self._change((cap_id, starts_on), 0, charge)

    def _change(self, pair: Pair, reserved: int, spent: int) -> None:
        before = self._changes.get(pair, (0, 0))
        self._changes[pair] = before[0] + reserved, before[1] + spent
        state = self._by_pair.get(pair)
        if state is not None:
            state.reserved += reserved
            state.spent += spent

    # write

    def rows(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows to insert and changes of rows; a change of a cap that was removed finds no row and is nothing.

        Raises `StoreRefused` beyond 64 bits, where SQLite would silently go on with a float.
        """
        added: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        for (cap_id, starts_on), (reserved, spent) in self._changes.items():
            state = self._by_pair.get((cap_id, starts_on))
            if state is not None and max(state.reserved, state.spent) > MAX_NANO:
                raise StoreRefused(f"cap {cap_id} would count more than the ledger can hold")
            row = {"cap_id": cap_id, "starts_on": starts_on, "reserved": reserved, "spent": spent}
            (changed if state is None or state.is_used else added).append(row)
        return added, changed


def tightest(states: Sequence[CapState]) -> CapState | None:
    """The one that leaves least; of two equal ones the one whose period began first, since it ends last."""
    return min(states, key=lambda state: (state.left, state.starts_on)) if states else None


def entries_of(states: Iterable[CapState], amount: int) -> list[CapEntry]:
    """What a hold of `amount` stores."""
    return [(state.id, state.starts_on, amount) for state in states]
