"""The ledger as docs/money.md states it, in the plainest words: no SQL, no batches, one item after the other.

It keeps what happened (credit, debt, lots, holds) and derives the rest: what is held is the sum of the open holds, what
is available is credit minus that. It shares no code with the ledger, so what both say is right is probably right.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from billing.ledger.items import (
    AuthorizationChanged,
    CapEntry,
    CapReached,
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
    caps: list[CapEntry] = field(default_factory=list)


@dataclass
class Cap:
    wallet_id: int
    key_id: int
    period: str
    limit: int
    spent: dict[str, int] = field(default_factory=dict)  # by the start of a period


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
    lost: dict[str, int] = field(default_factory=dict)  # by request: what its failed attempts cost the house
    caps: dict[int, Cap] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    payments: set[str] = field(default_factory=set)
    taken_back: dict[int, int] = field(default_factory=dict)  # what charge-backs took beyond what was there
    overrun: dict[int, int] = field(default_factory=dict)  # what settlements charged beyond what was held for them

    def open_wallet(self, wallet_id: int) -> None:
        self.paid[wallet_id] = self.debt[wallet_id] = self.overrun[wallet_id] = self.taken_back[wallet_id] = 0
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

    # caps

    def start(self, period: str) -> str:
        """Of the running period."""
        today = datetime.now(UTC).date()  # noqa: TID251 - the database's clock is the machine's
        return {"day": today, "month": today.replace(day=1), "total": date(1970, 1, 1)}[period].isoformat()

    def reserved_of(self, cap_id: int, start: str) -> int:
        entries = [entry for hold in self.holds.values() if hold.state == "open" for entry in hold.caps]
        return sum(amount for cap, day, amount in entries if (cap, day) == (cap_id, start))

    def left(self, cap_id: int, start: str) -> int:
        cap = self.caps[cap_id]
        return max(0, cap.limit - cap.spent.get(start, 0) - self.reserved_of(cap_id, start))

    def tightest(self, entries: list[CapEntry]) -> tuple[int, CapReached] | None:
        """What the caps of these entries leave, and which leaves least; of equals the one that began first."""
        there = [(self.left(cap, start), start, cap) for cap, start, _ in entries if cap in self.caps]
        if not there:
            return None
        left, start, cap_id = min(there, key=lambda row: row[:2])
        cap = self.caps[cap_id]
        used = cap.spent.get(start, 0), self.reserved_of(cap_id, start)
        return left, CapReached(cap.key_id, cap.period, cap.limit, *used, start)

    def _granted(self, wallet: int, amount: int, entries: list[CapEntry]) -> Granted:
        available, tightest = self.available(wallet), self.tightest(entries)
        if tightest is None:
            return Granted(amount, available, entries)
        return Granted(amount, min(available, tightest[0]), entries, is_capped=tightest[0] < available)

    def _spend(self, entries: list[CapEntry], charge: int) -> None:
        for cap_id, start, _ in entries:
            if cap_id in self.caps:
                spent = self.caps[cap_id].spent
                spent[start] = spent.get(start, 0) + charge

    # calls

    def _place(self, item: Place) -> Outcome:
        available = self.available(item.wallet_id)
        if item.request_id in self.holds:
            known = self.holds[item.request_id]
            return self._granted(item.wallet_id, known.amount, known.caps)
        if self.epochs[item.wallet_id] != (item.key_epoch, item.organization_epoch):
            return AuthorizationChanged()
        credit = self.paid[item.wallet_id] + self.promo(item.wallet_id)
        is_covered, amount = available >= item.minimum, min(item.ceiling, available)
        caps = [(i, self.start(cap.period), 0) for i, cap in self.caps.items() if cap.key_id in item.capped_keys]
        tightest = self.tightest(caps)
        left = tightest[0] if tightest else max(item.ceiling, item.minimum)
        amount = min(amount, left)
        bounds = [credit, *(self.caps[cap].limit for cap, _, _ in caps)]
        if item.is_byte_bound and not (is_covered and left >= max(item.minimum, item.ceiling)):
            return NeedsCount()
        if item.is_byte_bound and amount * 10 > min(bounds):
            return NeedsCount()
        if not is_covered:
            return Refused(available, item.minimum, self.debt[item.wallet_id])
        if tightest and left < item.minimum:
            return Refused(left, item.minimum, cap=tightest[1])
        entries = [(cap, start, amount) for cap, start, _ in caps]
        is_due = item.lifetime_s <= 0
        self.holds[item.request_id] = Hold(item.wallet_id, amount, "open", is_due, item.process_id, entries)
        return self._granted(item.wallet_id, amount, entries)

    def _extend(self, item: Extend) -> Outcome:
        available, key = self.available(item.wallet_id), (item.request_id, "extend", item.ordinal)
        hold = self.holds.get(item.request_id)
        if key in self.happened:
            assert hold is not None
            return self._granted(item.wallet_id, self.happened[key], hold.caps)
        if hold is None or hold.state not in {"open", "expired"}:
            return NotOpen(hold.state if hold else "missing")
        tightest = self.tightest(item.caps)
        amount = min(item.amount, available, tightest[0] if tightest else available)
        if amount <= 0:
            if tightest and available > 0:
                return Refused(0, item.amount, cap=tightest[1])
            return Refused(available, item.amount)
        if hold.state == "expired":  # what was reserved before is gone
            hold.state, hold.amount, hold.is_due = "open", 0, False
            hold.caps = [(cap, start, 0) for cap, start, _ in hold.caps]
        hold.amount += amount
        hold.caps = [(cap, start, before + amount) for cap, start, before in hold.caps]
        self.happened[key] = amount
        return self._granted(item.wallet_id, amount, hold.caps)

    def _settle(self, item: Settle) -> Outcome:
        wallet = item.wallet_id
        if item.request_id in self.charged:
            return self._done(wallet, changed=False)
        hold = self.holds.setdefault(item.request_id, Hold(wallet, item.held, "missing", caps=item.caps))
        reserved = hold.amount if hold.state == "open" else 0
        hold.state = "settled"
        owed = self.charged[item.request_id] = item.cost + item.fee
        self.lost[item.request_id] = item.attempt_loss
        self.overrun[wallet] += max(0, owed - reserved)
        self._spend(hold.caps, owed)
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
        payment = item.payment["id"] if item.payment else ""
        if key in self.happened or payment in self.payments:
            self.events |= {item.event_id} - {""}
            return self._done(wallet, changed=False)
        if item.kind == "grant":
            self.lots[wallet].append(Lot(item.reference, item.expires_at or "9999", item.amount))
        elif item.kind in {"topup", "recredit", "chargeback_reversed"}:
            self.paid[wallet] += item.amount
        elif item.kind == "chargeback":
            there = min(item.amount, self.paid[wallet], self.available(wallet))
            self.paid[wallet] -= there
            self.debt[wallet] += item.amount - there
            self.taken_back[wallet] += item.amount - there
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
        self.events |= {item.event_id} - {""}
        self.payments |= {payment} - {""}
        return self._done(wallet, changed=True)

    def _done(self, wallet: int, *, changed: bool) -> Done:
        """Whatever changes a wallet ends by paying debt from paid credit that no hold has reserved."""
        if changed:
            pays = min(self.debt[wallet], self.paid[wallet], self.available(wallet))
            self.debt[wallet] -= pays
            self.paid[wallet] -= pays
        return Done(changed=changed, available=self.available(wallet), debt=self.debt[wallet])
