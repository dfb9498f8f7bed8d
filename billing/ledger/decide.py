"""The arithmetic of one batch on locked wallets: pure, no SQL, every amount in nano-USD.

A `Books` holds the wallets and holds as read under the locks; each method applies one item to them and notes in
`changes` what has to be written. The rules are those of docs/money.md.
"""

from dataclasses import dataclass, field
from typing import Any

from billing.ledger.caps import CapBook, entries_of, tightest
from billing.ledger.claims import ClaimBook
from billing.ledger.items import (
    AuthorizationChanged,
    CapEntry,
    Done,
    Expire,
    Extend,
    Granted,
    HoldState,
    LotState,
    Movement,
    NeedsCount,
    NotOpen,
    Outcome,
    Place,
    Refused,
    Settle,
    Void,
    WalletState,
)
from billing.prices import BASIS_POINTS
from komilion.common.money import MAX_NANO
from komilion.common.numbers import numbers

TENTH = 10  # a hold of more than 1/TENTH of paid + promo, or of a cap, must rest on counted tokens
MOVES = {
    "topup": ("payment_clearing", "paid"),
    "recredit": ("platform_fee", "paid"),
    "refund": ("paid", "payment_clearing"),
    "adjust": ("paid", "platform_fee"),
    "grant": ("promo_expense", "promo"),
    "breakage": ("promo", "breakage"),
    "chargeback": ("paid", "payment_clearing"),
    "chargeback_reversed": ("payment_clearing", "paid"),
}
TAKEN_IF_THERE = ("refund", "adjust")


@dataclass(slots=True)
class Changes:
    """Rows that the batch writes at its end, shaped as `billing.ledger.sql` unpacks them."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    postings: list[dict[str, Any]] = field(default_factory=list)
    usage: list[dict[str, Any]] = field(default_factory=list)
    holds_added: list[dict[str, Any]] = field(default_factory=list)
    holds: dict[str, dict[str, Any]] = field(default_factory=dict)
    lots_added: list[dict[str, Any]] = field(default_factory=list)
    lots_spent: dict[int, int] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    payments: list[dict[str, Any]] = field(default_factory=list)


class Books:
    """Wallets and holds while a batch runs."""

    def __init__(self) -> None:
        self.wallets: dict[int, WalletState] = {}
        self.holds: dict[str, HoldState] = {}
        self.key_auth: dict[int, tuple[int, int, bool]] = {}
        self.organization_epoch: dict[int, int] = {}
        self.known_events: set[str] = set()  # of those that movements name, the ones that are recorded
        self.known_payments: set[str] = set()
        self.caps = CapBook()
        self.claims = ClaimBook()
        self.changes = Changes()

    # checks, before anything is written

    def check(self, item: Void | Expire | Movement) -> Outcome | None:
        """The state check: why the item may not happen, or None."""
        if isinstance(item, Movement):
            wallet = self.wallets[item.wallet_id]
            takeable = min(wallet.paid, wallet.available)
            if item.kind in TAKEN_IF_THERE and item.amount > takeable:
                return Refused(takeable, item.amount)
            if item.kind == "breakage" and not self.breakable(item):
                return Refused(0, item.amount)
            return None
        hold = self.holds.get(item.request_id)
        if hold is None or hold.state != "open":
            return NotOpen(hold.state if hold else "missing")
        if isinstance(item, Expire) and item.only_if_due and not (hold.is_due or item.process_gone):
            return NotOpen("not due")
        return None

    def breakable(self, item: Movement) -> int:
        """What the lot of a breakage still has, but never what running holds may need."""
        wallet = self.wallets[item.wallet_id]
        return sum(min(lot.remaining, wallet.available) for lot in wallet.lots if lot.id == item.lot_id)

    # holds

    def place(self, item: Place) -> Outcome:
        """Grant the hold, refuse it, or ask for counted tokens."""
        wallet = self.wallets[item.wallet_id]
        known = self.holds.get(item.request_id)
        if known is not None:  # the batch runs again after a commit whose outcome was unknown
            return self.granted(wallet, known.amount, known.caps)
        if not self._is_authorized(item):
            return AuthorizationChanged()
        if item.claim is not None:
            holder = self.claims.holder(item.claim)
            if holder is not None and holder.request_id != item.request_id:
                return holder
        caps = self.caps.of_keys(item.capped_keys) if item.capped_keys else []
        cap = tightest(caps)
        is_covered = wallet.available >= item.minimum
        amount, credit = min(item.ceiling, wallet.available), wallet.paid + wallet.promo
        is_within = is_whole = True
        if cap is not None:
            amount, credit = min(amount, cap.left), min(credit, *(state.limit for state in caps))
            is_within, is_whole = cap.left >= item.minimum, cap.left >= item.ceiling
        if item.is_byte_bound and not (is_covered and is_within and is_whole and amount * TENTH <= credit):
            return NeedsCount()
        if not is_covered:
            return Refused(wallet.available, item.minimum, wallet.debt)
        if cap is not None and not is_within:
            return Refused(cap.left, item.minimum, cap=cap.reached())
        self.reserve(wallet, amount)
        entries = entries_of(caps, amount) if caps else []
        self.caps.reserve(entries)
        if item.claim is not None:
            self.claims.take(item.claim, item.request_id)
        self.changes.holds_added.append(_hold_row(item, amount, "open", item.lifetime_s, entries))
        return self.granted(wallet, amount, entries)

    def granted(self, wallet: WalletState, amount: int, entries: list[CapEntry]) -> Granted:
        """What the wallet and the caps leave beside the hold."""
        cap = tightest(self.caps.of_entries(entries)) if entries else None
        if cap is None:
            return Granted(amount, wallet.available, entries)
        return Granted(amount, min(wallet.available, cap.left), entries, is_capped=cap.left < wallet.available)

    def _is_authorized(self, item: Place) -> bool:
        if item.key_id is None:
            return self.organization_epoch.get(item.wallet_id) == item.organization_epoch
        return self.key_auth.get(item.key_id) == (item.key_epoch, item.organization_epoch, True)

    def extend(self, item: Extend, entry_id: int) -> Outcome:
        """Grant what is available of the asked amount. After an expiry this re-opens the hold with that amount."""
        wallet = self.wallets[item.wallet_id]
        hold = self.holds.get(item.request_id)
        if hold is None or hold.state not in {"open", "expired"}:
            return NotOpen(hold.state if hold else "missing")
        cap = tightest(self.caps.of_entries(item.caps)) if item.caps else None
        amount = min(item.amount, wallet.available) if cap is None else min(item.amount, wallet.available, cap.left)
        if amount <= 0:
            reached = None if cap is None or wallet.available <= 0 else cap.reached()
            return Refused(wallet.available if reached is None else 0, item.amount, cap=reached)
        self.reserve(wallet, amount)
        reopened = hold.state == "expired"
        if reopened:
            self._book_crash_loss(item.wallet_id, hold, entry_id, back=True)
        added = amount - hold.amount if reopened else amount
        hold.amount += added
        hold.generation += reopened
        hold.state = "open"
        change = self._hold_change(item.request_id, "open")
        change["added"] += added
        change["reopened"] += int(reopened)
        if hold.caps:
            self.caps.reserve([(cap_id, starts_on, amount) for cap_id, starts_on, _ in hold.caps])
            hold.caps = [(cap_id, starts_on, before + added) for cap_id, starts_on, before in hold.caps]
            change["caps"] = hold.caps
        return self.granted(wallet, amount, hold.caps)

    @staticmethod
    def reserve(wallet: WalletState, amount: int) -> None:
        """Move `amount` from available to held; a negative one moves it back."""
        wallet.available -= amount
        wallet.held += amount

    def release(self, item: Void | Expire, entry_id: int) -> Outcome:
        """Give the reserved credit back; an expiry also books what the provider may bill us for the lost call."""
        wallet = self.wallets[item.wallet_id]
        hold = self.holds[item.request_id]
        self.reserve(wallet, -hold.amount)
        self.caps.reserve(hold.caps, -1)
        hold.state = "voided" if isinstance(item, Void) else "expired"
        self._hold_change(item.request_id, hold.state)
        if isinstance(item, Expire) or item.is_claimed:
            self.claims.free(item.request_id)
        if isinstance(item, Expire):
            self._book_crash_loss(item.wallet_id, hold, entry_id, back=False)
        self._pay_debt(wallet, entry_id)
        return Done(changed=True, available=wallet.available, debt=wallet.debt)

    # money

    def settle(self, item: Settle, entry_id: int) -> Outcome:
        """Release the hold and charge in full, whatever became of the hold meanwhile."""
        wallet = self.wallets[item.wallet_id]
        hold = self.holds.get(item.request_id)
        if hold is None:
            self.holds[item.request_id] = HoldState(item.held, "settled", is_due=False, generation=0)
            self.changes.holds_added.append(_hold_row(item, min(item.held, MAX_NANO), "settled", 0, item.caps))
            self.caps.spend(item.caps, item.cost + item.fee)
        else:
            if hold.state == "open":
                self.reserve(wallet, -hold.amount)
                self.caps.reserve(hold.caps, -1)
            elif hold.state == "expired":
                self._book_crash_loss(wallet.id, hold, entry_id, back=True)
            hold.state = "settled"
            self._hold_change(item.request_id, "settled")
            self.caps.spend(hold.caps, item.cost + item.fee)
        if item.claim is not None:
            self.claims.end(item.claim, item.request_id, item.answer)
        self._charge(item, wallet, entry_id)
        self._pay_debt(wallet, entry_id)
        self._post(entry_id, wallet.id, "attempt_loss", "provider_cost", item.attempt_loss)
        self.changes.usage.append({**item.usage_row, "attempt_loss_nano": item.attempt_loss})
        return Done(changed=True, available=wallet.available, debt=wallet.debt)

    def move(self, item: Movement, entry_id: int) -> Outcome:
        """Money in or out other than by a request."""
        wallet = self.wallets[item.wallet_id]
        amount = item.amount
        source, target = MOVES[item.kind]
        if item.kind == "breakage":
            amount = self._break_lot(item, wallet)
        elif source == "paid":
            if item.kind == "chargeback":
                amount = self._take_back(wallet, amount, entry_id)
            wallet.paid -= amount
            wallet.available -= amount
        elif target == "promo":
            wallet.promo += amount
            wallet.available += amount
            self.changes.lots_added.append(
                {
                    "wallet_id": wallet.id,
                    "reference": item.reference,
                    "granted_nano": amount,
                    "expires_at": item.expires_at,
                }
            )
        else:
            wallet.paid += amount
            wallet.available += amount
        self._post(entry_id, wallet.id, source, target, amount)
        self._pay_debt(wallet, entry_id)
        return Done(changed=True, available=wallet.available, debt=wallet.debt)

    def record(self, item: Movement, *, with_payment: bool) -> None:
        """Note the event that brought the movement, once, and the payment that the movement credits."""
        if item.event_id and item.event_id not in self.known_events:
            self.known_events.add(item.event_id)
            self.changes.events.append({"id": item.event_id, "type": item.event_type})
        if with_payment and item.payment is not None:
            self.changes.payments.append(item.payment)

    def _take_back(self, wallet: WalletState, amount: int, entry_id: int) -> int:
        """Money that the payer's bank took is gone, whatever was done with it: what is not there becomes debt."""
        there = min(amount, wallet.paid, wallet.available)
        wallet.debt += amount - there
        self._post(entry_id, wallet.id, "debt", "payment_clearing", amount - there)
        return there

    def _break_lot(self, item: Movement, wallet: WalletState) -> int:
        """Take it out of the ended lot; returns how much."""
        amount = self.breakable(item)
        self._spend_lot(next(lot for lot in wallet.lots if lot.id == item.lot_id), amount)
        wallet.promo -= amount
        wallet.available -= amount
        return amount

    def _charge(self, item: Settle, wallet: WalletState, entry_id: int) -> None:
        """Promo first, by lot, then paid, then debt; the provider's cost is covered before the fee."""
        owed = item.cost + item.fee
        payable = min(owed, wallet.available)
        promo = min(payable, wallet.promo)
        wallet.promo -= promo
        wallet.paid -= payable - promo
        wallet.available -= payable
        wallet.debt += owed - payable
        unspent = promo
        for lot in wallet.lots:
            spent = min(unspent, lot.remaining)
            self._spend_lot(lot, spent)
            unspent -= spent
        cost_left = item.cost
        for source, amount in (("promo", promo), ("paid", payable - promo), ("debt", owed - payable)):
            to_cost = min(amount, cost_left)
            cost_left -= to_cost
            self._post(entry_id, wallet.id, source, "provider_cost", to_cost)
            self._post(entry_id, wallet.id, source, "platform_fee", amount - to_cost)

    def _spend_lot(self, lot: LotState, amount: int) -> None:
        if amount:
            lot.remaining -= amount
            self.changes.lots_spent[lot.id] = self.changes.lots_spent.get(lot.id, 0) + amount

    def _pay_debt(self, wallet: WalletState, entry_id: int) -> None:
        """Every entry ends by paying debt from paid credit that no hold has reserved."""
        amount = min(wallet.debt, wallet.available, wallet.paid)
        if amount > 0:
            wallet.debt -= amount
            wallet.paid -= amount
            wallet.available -= amount
            self._post(entry_id, wallet.id, "paid", "debt", amount)

    def _book_crash_loss(self, wallet_id: int, hold: HoldState, entry_id: int, *, back: bool) -> None:
        """A call lost with its process costs the caller nothing; it may cost us what the hold paid for."""
        amount = hold.amount * BASIS_POINTS // (BASIS_POINTS + numbers.FEE_BASIS_POINTS)
        accounts = ("provider_cost", "crash_loss") if back else ("crash_loss", "provider_cost")
        self._post(entry_id, wallet_id, *accounts, amount)

    def _post(self, entry_id: int, wallet_id: int, source: str, target: str, amount: int) -> None:
        if amount:
            self.changes.postings.append(
                {
                    "entry_id": entry_id,
                    "wallet_id": wallet_id,
                    "source": source,
                    "target": target,
                    "amount_nano": amount,
                }
            )

    def _hold_change(self, request_id: str, state: str) -> dict[str, Any]:
        change = self.changes.holds.setdefault(
            request_id,
            {"request_id": request_id, "added": 0, "reopened": 0, "lifetime_s": numbers.HOLD_LIFETIME_S},
        )
        change["state"] = state
        return change


def _hold_row(item: Place | Settle, amount: int, state: str, lifetime_s: int, caps: list[CapEntry]) -> dict[str, Any]:
    return {
        "request_id": item.request_id,
        "wallet_id": item.wallet_id,
        "amount_nano": amount,
        "state": state,
        "price_ids": item.price_ids,
        "caps": caps,
        "process_id": item.process_id,
        "lifetime_s": lifetime_s,
    }
