"""One transaction of the ledger: a list of items in, one outcome per item out.

    lock      the wallets, in ascending id; read what the items refer to under that lock
    decide    walk the items in arrival order over the locked wallets; pure
    write     holds, entries, postings, usage rows, hold states, promo lots, wallet deltas, and the commit

Two round trips. Every insert is strict: a row that is there already breaks the whole transaction, so a wallet never
changes by a sum that holds anything but rows really inserted. A batch that is run again after a commit whose outcome
nobody knows (`is_retry`) reads first what it may have done then, and leaves that out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from billing.errors import StoreRefused
from billing.ledger.decide import Books
from billing.ledger.items import (
    Done,
    Expire,
    Extend,
    Failure,
    Granted,
    HoldState,
    Item,
    LotState,
    Movement,
    Outcome,
    Place,
    Settle,
    Void,
    WalletState,
)
from billing.ledger.reads import Reads, payment_id
from billing.ledger.sql import ids_json, rows_json
from billing.ledger.store import Rows, Store
from komilion.common.money import MAX_NANO

# Tuples, because `A | B` would make a new type for each item that is looked at.
HOLD_STATES_ALONE = (Place, Void)  # a batch of these need not wait for the disk
RELEASES = (Void, Expire)
ENTERED = (Granted, Done)

type EntryKey = tuple[str, str, int]  # reference, kind, ordinal


class Deferred:
    """Another transaction has the wallet locked, or an earlier item of this batch must come first: the next batch."""


DEFERRED = Deferred()


class Batch:
    """Runs `items` in one transaction of `store`; `run` answers in the items' order."""

    def __init__(
        self, store: Store, items: Sequence[Item], *, wait_for_locks: bool = False, is_retry: bool = False
    ) -> None:
        self.store = store
        self.items = items
        self.wait_for_locks = wait_for_locks  # else wallets that another transaction has locked are left out
        self.is_retry = is_retry  # these items may have been committed before
        self.books = Books()
        self.before: dict[int, tuple[int, int, int, int, int]] = {}
        self.entry_ids: list[int] = []  # reserved for this batch
        self.happened: dict[EntryKey, int] = {}  # entries of earlier transactions: their amounts
        self.outcomes: list[Outcome | Deferred] = [DEFERRED] * len(items)
        self._readers: dict[str, Callable[[Rows], None]] = {
            "authorizations": self._read_authorizations,
            "epochs": self._read_epochs,
            "caps_of_keys": self.books.caps.read_of_keys,
            "caps_of_entries": self.books.caps.read_of_entries,
            "claims": self.books.claims.read,
            "holds": self._read_holds,
            "entries": self._read_entries,
            "events": self._read_events,
            "payments": self._read_payments,
            "entry_ids": self._read_entry_ids,
            "lots": self._read_lots,
        }

    async def run(self) -> list[Outcome | Deferred]:
        """One transaction. Raises what the store raises, after rolling back; then nothing has happened.

        `StoreConflict`: something of it was there already. Run as a retry it will not be raised again.
        """
        self.store.begin(durable=any(not isinstance(item, HOLD_STATES_ALONE) for item in self.items))
        try:
            await self._lock()
            self._decide(self._live())
            await self._write()
        except BaseException:
            await self.store.rollback()
            raise
        return self.outcomes

    # lock

    async def _lock(self) -> None:
        """Lock the wallets and read, under the locks, everything that the decisions need."""
        sql = self.store.sql
        wallets = ids_json(sorted({item.wallet_id for item in self.items}))
        lock = (sql.lock_wallets_waiting if self.wait_for_locks else sql.lock_wallets, (wallets,))
        reads = Reads(self.items, is_retry=self.is_retry).statements(sql, wallets)
        locked, *results = await self.store.lock_and_read(lock, [statement for _, statement in reads])
        self._read_wallets(locked)
        for (name, _), rows in zip(reads, results, strict=True):
            self._readers[name](rows)

    def _read_wallets(self, rows: Rows) -> None:
        for wallet_id, *amounts in rows:
            self.books.wallets[wallet_id] = WalletState(wallet_id, *amounts)
            self.before[wallet_id] = tuple(amounts)

    def _read_authorizations(self, rows: Rows) -> None:
        for key_id, key_epoch, organization_epoch, is_valid in rows:
            self.books.key_auth[key_id] = (key_epoch, organization_epoch, bool(is_valid))

    def _read_epochs(self, rows: Rows) -> None:
        self.books.organization_epoch = {row[0]: row[1] for row in rows}

    def _read_holds(self, rows: Rows) -> None:
        for request_id, amount, state, is_due, generation, caps in rows:
            entries = [tuple(entry) for entry in (orjson.loads(caps) if isinstance(caps, str) else caps)]
            self.books.holds[request_id] = HoldState(amount, state, bool(is_due), generation, entries)

    def _read_entries(self, rows: Rows) -> None:
        self.happened = {(reference, kind, ordinal): amount for reference, kind, ordinal, amount in rows}

    def _read_events(self, rows: Rows) -> None:
        self.books.known_events = {row[0] for row in rows}

    def _read_payments(self, rows: Rows) -> None:
        self.books.known_payments = {row[0] for row in rows}

    def _read_entry_ids(self, rows: Rows) -> None:
        ids = rows[0][0]
        self.entry_ids = sorted(orjson.loads(ids) if isinstance(ids, str) else ids, reverse=True)

    def _read_lots(self, rows: Rows) -> None:
        for wallet_id, lot_id, remaining in rows:
            if wallet_id in self.books.wallets:
                self.books.wallets[wallet_id].lots.append(LotState(lot_id, remaining))

    def _live(self) -> list[int]:
        """Indexes of the items whose wallet is ours now and that no earlier item of this batch keeps waiting.

        Of the items about one request, movement, payment or event only the first: the unique keys know no order.
        Nothing after a new lot, which is spendable only once it has an id.
        """
        live = []
        subjects: set[str] = set()
        granted: set[int] = set()
        for index, item in enumerate(self.items):
            if item.wallet_id not in self.books.wallets:
                if self.wait_for_locks:
                    self.outcomes[index] = Failure(f"there is no wallet {item.wallet_id}")
                continue
            names = _names(item)
            must_wait = item.wallet_id in granted or not subjects.isdisjoint(names)
            subjects.update(names)
            if must_wait:
                continue
            live.append(index)
            if isinstance(item, Movement) and item.kind == "grant":
                granted.add(item.wallet_id)
        return live

    # decide

    def _decide(self, live: Sequence[int]) -> None:
        """Walk in arrival order over the locked wallets."""
        for index in live:
            item = self.items[index]
            self.outcomes[index] = self.books.place(item) if isinstance(item, Place) else self._enter(item)

    def _enter(self, item: Settle | Extend | Void | Expire | Movement) -> Outcome:
        """What happens once and leaves an entry; where it happened before it changes nothing."""
        wallet = self.books.wallets[item.wallet_id]
        if isinstance(item, RELEASES):
            refusal = self.books.check(item)
            if refusal is not None:
                return refusal
        key = self._key(item)
        happened = self.happened.get(key)
        if happened is not None or self._is_done_already(item):
            if isinstance(item, Extend) and happened is not None:
                return self.books.granted(wallet, happened, self.books.holds[item.request_id].caps)
            if isinstance(item, Movement):
                self.books.record(item, with_payment=False)
            return Done(changed=False, available=wallet.available, debt=wallet.debt)
        if isinstance(item, Movement):
            refusal = self.books.check(item)
            if refusal is not None:
                return refusal
            self.books.record(item, with_payment=True)
        entry_id = self.entry_ids.pop()
        amount = self._amount(item)
        outcome = self._apply(item, entry_id)
        if isinstance(outcome, Granted):
            amount = outcome.amount
        if isinstance(outcome, ENTERED):
            self.books.changes.entries.append(_entry_row(entry_id, key, item, amount))
        return outcome

    def _is_done_already(self, item: Item) -> bool:
        """The hold says it: state and entry are written together. A hold that is not there says nothing.

        Nor is a payment credited twice, by whatever reference.
        """
        if isinstance(item, Movement):
            return item.payment is not None and payment_id(item) in self.books.known_payments
        hold = self.books.holds.get(item.request_id) if isinstance(item, Settle) else None
        return hold is not None and hold.state == "settled"

    def _key(self, item: Settle | Extend | Void | Expire | Movement) -> EntryKey:
        """What makes the item unique; an expiry is unique for as long as nothing re-opens the hold."""
        if isinstance(item, Movement):
            return item.reference, item.kind, 0
        if isinstance(item, Extend):
            return item.request_id, "extend", item.ordinal
        if isinstance(item, Expire):
            return item.request_id, "expire", self.books.holds[item.request_id].generation
        return item.request_id, "settle" if isinstance(item, Settle) else "void", 0

    def _amount(self, item: Settle | Extend | Void | Expire | Movement) -> int:
        if isinstance(item, Movement):
            return self.books.breakable(item) if item.kind == "breakage" else item.amount
        return item.cost + item.fee if isinstance(item, Settle) else 0

    def _apply(self, item: Settle | Extend | Void | Expire | Movement, entry_id: int) -> Outcome:
        if isinstance(item, Settle):
            return self.books.settle(item, entry_id)
        if isinstance(item, Extend):
            return self.books.extend(item, entry_id)
        if isinstance(item, Movement):
            return self.books.move(item, entry_id)
        return self.books.release(item, entry_id)

    # write

    async def _write(self) -> None:
        sql, changes, claims = self.store.sql, self.books.changes, self.books.claims
        deltas = [self._delta(wallet) for wallet in self.books.wallets.values()]
        cap_uses_added, cap_uses = self.books.caps.rows()
        steps: list[tuple[str, list[Any]]] = [
            (sql.insert_holds, changes.holds_added),
            (sql.insert_entries, changes.entries),
            (sql.update_holds, list(changes.holds.values())),
            (sql.insert_usage, changes.usage),
            (sql.insert_postings, changes.postings),
            (sql.insert_events, changes.events),
            (sql.insert_payments, changes.payments),
            (sql.insert_lots, changes.lots_added),
            (sql.update_lots, [{"id": lot, "spent": spent} for lot, spent in changes.lots_spent.items()]),
            (sql.insert_calls, claims.added),
            (sql.finish_calls, claims.finished),
            (sql.free_calls, claims.freed),
            (sql.insert_cap_uses, cap_uses_added),
            (sql.update_cap_uses, cap_uses),
            (sql.update_wallets, [delta for delta in deltas if any(list(delta.values())[1:])]),
        ]
        await self.store.commit_with([(query, (rows_json(rows),)) for query, rows in steps if rows])

    def _delta(self, wallet: WalletState) -> dict[str, int]:
        """Raises `StoreRefused` beyond 64 bits, where SQLite would silently go on with a float."""
        if max(wallet.held, wallet.paid + wallet.promo, wallet.debt) > MAX_NANO:
            raise StoreRefused(f"wallet {wallet.id} would hold more than the ledger can count")
        available, held, paid, promo, debt = self.before[wallet.id]
        return {
            "id": wallet.id,
            "available": wallet.available - available,
            "held": wallet.held - held,
            "paid": wallet.paid - paid,
            "promo": wallet.promo - promo,
            "debt": wallet.debt - debt,
        }


def _names(item: Item) -> tuple[str, ...]:
    """What no other item of the batch may be about."""
    if not isinstance(item, Movement):
        return (item.request_id,)
    names = [item.reference]
    if item.event_id:
        names.append(f"event {item.event_id}")
    if item.payment is not None:
        names.append(f"payment {payment_id(item)}")
    return tuple(names)


def _entry_row(entry_id: int, key: EntryKey, item: Item, amount: int) -> dict[str, Any]:
    reference, kind, ordinal = key
    return {
        "id": entry_id,
        "reference": reference,
        "kind": kind,
        "ordinal": ordinal,
        "wallet_id": item.wallet_id,
        "amount_nano": amount,
        "memo": item.memo if isinstance(item, Movement) else "",
    }
