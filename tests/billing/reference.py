"""The ledger as docs/money.md states it, in the plainest words: no SQL, no batches, one item after the other.

It keeps what happened (credit, debt, lots, holds) and derives the rest: what is held is the sum of the open holds, what
is available is credit minus that. It shares no code with the ledger, so what both say is right is probably right.
"""

from dataclasses import dataclass, field

from billing.ledger.items import (
    AuthorizationChanged,
    Done,
    Expire,
    Extend,
    Granted,
    Item,
    Movement,
    NeedsCount,
    NotOpen,
    Outcome,
    Place,
    Refused,
    Settle,
    Void,
)


@dataclass
class Lot:
    reference: str
    ends: str  # later lots are spent later; those without an end last
    left: int


@dataclass
class Hold:
    wallet_id: int
    amount: int
    state: str = "open"
    is_due: bool = False
    process_id: str = ""


@dataclass
class Reference:
    """Apply items with `apply`; it answers what the ledger must answer."""

    paid: dict[int, int] = field(default_factory=dict)
    debt: dict[int, int] = field(default_factory=dict)
    lots: dict[int, list[Lot]] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    epochs: dict[int, tuple[int, int]] = field(default_factory=dict)  # wallet -> epoch of key, of organization
    happened: dict[tuple[str, str, int], int] = field(default_factory=dict)
    lot_names: dict[int, str] = field(default_factory=dict)  # the database's id of a lot -> its reference
    charged: dict[str, int] = field(default_factory=dict)
    overrun: dict[int, int] = field(default_factory=dict)  # what settlements charged beyond what was held for them

    def open_wallet(self, wallet_id: int) -> None:
        self.paid[wallet_id] = self.debt[wallet_id] = self.overrun[wallet_id] = 0
        self.lots[wallet_id] = []
        self.epochs[wallet_id] = (0, 0)

    def promo(self, wallet_id: int) -> int:
        return sum(lot.left for lot in self.lots[wallet_id])

    def held(self, wallet_id: int) -> int:
        return sum(h.amount for h in self.holds.values() if h.wallet_id == wallet_id and h.state == "open")

    def available(self, wallet_id: int) -> int:
        return self.paid[wallet_id] + self.promo(wallet_id) - self.held(wallet_id)

    def lost_in_crashes(self) -> int:
        """What providers may bill for calls that nobody finished: the part of the hold that is not our fee."""
        return sum(hold.amount * 10_000 // 12_500 for hold in self.holds.values() if hold.state == "expired")

    def apply(self, item: Item) -> Outcome:
        if isinstance(item, Place):
            return self._place(item)
        if isinstance(item, Extend):
            return self._extend(item)
        if isinstance(item, Settle):
            return self._settle(item)
        return self._move(item) if isinstance(item, Movement) else self._end(item)

    def _place(self, item: Place) -> Outcome:
        available = self.available(item.wallet_id)
        if item.request_id in self.holds:
            return Granted(self.holds[item.request_id].amount, available)
        if self.epochs[item.wallet_id] != (item.key_epoch, item.organization_epoch):
            return AuthorizationChanged()
        credit = self.paid[item.wallet_id] + self.promo(item.wallet_id)
        is_covered, amount = available >= item.minimum, min(item.ceiling, available)
        if item.is_byte_bound and not (is_covered and amount * 10 <= credit):
            return NeedsCount()
        if not is_covered:
            return Refused(available, item.minimum, self.debt[item.wallet_id])
        self.holds[item.request_id] = Hold(item.wallet_id, amount, "open", item.lifetime_s <= 0, item.process_id)
        return Granted(amount, available - amount)

    def _extend(self, item: Extend) -> Outcome:
        available, key = self.available(item.wallet_id), (item.request_id, "extend", item.ordinal)
        if key in self.happened:
            return Granted(self.happened[key], available)
        hold = self.holds.get(item.request_id)
        if hold is None or hold.state not in {"open", "expired"}:
            return NotOpen(hold.state if hold else "missing")
        amount = min(item.amount, available)
        if amount <= 0:
            return Refused(available, item.amount)
        if hold.state == "expired":  # what was reserved before is gone
            hold.state, hold.amount, hold.is_due = "open", 0, False
        hold.amount += amount
        self.happened[key] = amount
        return Granted(amount, available - amount)

    def _settle(self, item: Settle) -> Outcome:
        wallet = item.wallet_id
        if item.request_id in self.charged:
            return self._done(wallet, changed=False)
        hold = self.holds.setdefault(item.request_id, Hold(wallet, item.held, "missing"))
        reserved = hold.amount if hold.state == "open" else 0
        hold.state = "settled"
        owed = self.charged[item.request_id] = item.cost + item.fee
        self.overrun[wallet] += max(0, owed - reserved)
        owed -= (payable := min(owed, self.available(wallet)))
        for lot in sorted(self.lots[wallet], key=lambda lot: lot.ends):
            payable -= (spent := min(lot.left, payable))
            lot.left -= spent
        self.paid[wallet] -= payable
        self.debt[wallet] += owed
        return self._done(wallet, changed=True)

    def _end(self, item: Void | Expire) -> Outcome:
        hold = self.holds.get(item.request_id)
        if hold is None or hold.state != "open":
            return NotOpen(hold.state if hold else "missing")
        if isinstance(item, Expire) and item.only_if_due and not (hold.is_due or item.process_gone):
            return NotOpen("not due")
        hold.state = "voided" if isinstance(item, Void) else "expired"
        return self._done(item.wallet_id, changed=True)

    def _move(self, item: Movement) -> Outcome:
        wallet, key = item.wallet_id, (item.reference, item.kind, 0)
        if key in self.happened:
            return self._done(wallet, changed=False)
        if item.kind == "grant":
            self.lots[wallet].append(Lot(item.reference, item.expires_at or "9999", item.amount))
        elif item.kind in {"topup", "recredit"}:
            self.paid[wallet] += item.amount
        elif item.kind == "breakage":
            named = [lot for lot in self.lots[wallet] if lot.reference == self.lot_names.get(item.lot_id or 0)]
            left = min(sum(lot.left for lot in named), self.available(wallet))
            if left == 0:
                return Refused(0, item.amount)
            named[0].left -= left
        else:
            takeable = min(self.paid[wallet], self.available(wallet))
            if item.amount > takeable:
                return Refused(takeable, item.amount)
            self.paid[wallet] -= item.amount
        self.happened[key] = item.amount
        return self._done(wallet, changed=True)

    def _done(self, wallet: int, *, changed: bool) -> Done:
        """Whatever changes a wallet ends by paying debt from paid credit that no hold has reserved."""
        if changed:
            pays = min(self.debt[wallet], self.paid[wallet], self.available(wallet))
            self.debt[wallet] -= pays
            self.paid[wallet] -= pays
        return Done(changed=changed, available=self.available(wallet), debt=self.debt[wallet])
