"""One transaction of the ledger: a list of items in, one outcome per item out.

    lock      the wallets, in ascending id; read what the items refer to under that lock
    guard     insert the entries that may happen once; the unique key says which are new (RETURNING)
    decide    walk the items in arrival order over the locked wallets; accept or refuse holds
    reserve   insert the accepted holds and extensions; again only rows really inserted count
    write     postings, usage rows, hold states, promo lots, wallet deltas, and the commit

Every wallet delta is summed from rows that this transaction really inserted. So a batch that is run again after a
commit whose outcome nobody knows changes nothing the second time.
"""

from collections.abc import Callable, Sequence
from typing import Any

from billing.errors import StoreRefused
from billing.ledger.decide import MOVES, Books
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
from billing.ledger.sql import ids_json, rows_json
from billing.ledger.store import Rows, Statement, Store
from komilion.common.money import MAX_NANO

type EntryKey = tuple[str, str, int]  # reference, kind, ordinal
type Reservation = tuple[Place | Extend, int]  # what was granted, in nano-USD


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
        self.entry_ids: dict[EntryKey, int] = {}
        self.happened: dict[EntryKey, int] = {}  # extensions and movements of earlier transactions: their amounts
        self.outcomes: list[Outcome | Deferred] = [DEFERRED] * len(items)

    def run(self) -> list[Outcome | Deferred]:
        """One transaction. Raises what the store raises, after rolling back; then nothing has happened."""
        self.store.begin(durable=any(not isinstance(item, Place | Void) for item in self.items))
        try:
            self._lock()
            live = self._live()
            self._guard(live)
            reservations = self._decide(live)
            self._reserve(reservations)
            self._write()
        except BaseException:
            self.store.rollback()
            raise
        return self.outcomes

    # lock

    def _lock(self) -> None:
        """Lock the wallets and read, under the locks, everything that the decisions need."""
        sql = self.store.sql
        wallets = ids_json(sorted({item.wallet_id for item in self.items}))
        places = [item for item in self.items if isinstance(item, Place)]
        keys = sorted({item.key_id for item in places if item.key_id is not None})
        keyless = sorted({item.wallet_id for item in places if item.key_id is None})
        named = [
            item.request_id
            for item in self.items
            if not isinstance(item, Movement) and (self.is_retry or not isinstance(item, Place))
        ]  # a first placing cannot be there yet
        numbered = [_subject(item) for item in self.items if isinstance(item, Extend | Movement)]
        reads: list[tuple[Callable[[Rows], None], Statement]] = [
            (
                self._read_wallets,
                (sql.lock_wallets_waiting if self.wait_for_locks else sql.lock_wallets, (wallets,)),
            )
        ]
        if keys:
            reads.append((self._read_authorizations, (sql.authorizations, (ids_json(keys),))))
        if keyless:
            reads.append((self._read_epochs, (sql.organization_epochs, (ids_json(keyless),))))
        if named:
            reads.append((self._read_holds, (sql.holds, (ids_json(named),))))
        if numbered:
            reads.append((self._read_entries, (sql.entries, (ids_json(numbered),))))
        if any(isinstance(item, Settle | Movement) for item in self.items):
            reads.append((self._read_lots, (sql.lots, (wallets,))))
        results = self.store.run([statement for _, statement in reads])
        for (read, _), rows in zip(reads, results, strict=True):
            read(rows)

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
        for request_id, amount, state, is_due, generation in rows:
            self.books.holds[request_id] = HoldState(amount, state, bool(is_due), generation)

    def _read_entries(self, rows: Rows) -> None:
        self.happened = {(reference, kind, ordinal): amount for reference, kind, ordinal, amount in rows}

    def _read_lots(self, rows: Rows) -> None:
        for wallet_id, lot_id, remaining in rows:
            if wallet_id in self.books.wallets:
                self.books.wallets[wallet_id].lots.append(LotState(lot_id, remaining))

    def _live(self) -> list[int]:
        """Indexes of the items whose wallet is ours now and that no earlier item of this batch keeps waiting.

        Of the items about one request only the first: each is checked against the hold as it was read. What takes
        credit out only as the first on its wallet, for the same reason. Nothing after a new lot, which is spendable
        only once it has an id.
        """
        live = []
        subjects: set[str] = set()
        touched: set[int] = set()
        granted: set[int] = set()
        for index, item in enumerate(self.items):
            if item.wallet_id not in self.books.wallets:
                if self.wait_for_locks:
                    self.outcomes[index] = Failure(f"there is no wallet {item.wallet_id}")
                continue
            must_wait = _subject(item) in subjects or item.wallet_id in granted
            must_wait = must_wait or (_takes_credit(item) and item.wallet_id in touched)
            subjects.add(_subject(item))
            if must_wait:
                continue
            live.append(index)
            touched.add(item.wallet_id)
            if isinstance(item, Movement) and item.kind == "grant":
                granted.add(item.wallet_id)
        return live

    # guard

    def _guard(self, live: Sequence[int]) -> None:
        """Insert what may happen once; what the unique key refuses has happened before and has no effect now."""
        entries = []
        for index in live:
            item = self.items[index]
            if isinstance(item, Movement) and self._key(item) in self.happened:
                continue
            if isinstance(item, Void | Expire | Movement):
                refusal = self.books.check(item)
                if refusal is not None:
                    self.outcomes[index] = refusal
                    continue
            if not isinstance(item, Place | Extend):
                entries.append(self._entry(item))
        self._insert_entries(entries)

    def _insert_entries(self, entries: list[dict[str, Any]]) -> None:
        if entries:
            (rows,) = self.store.run([(self.store.sql.insert_entries, (rows_json(entries),))])
            for reference, kind, ordinal, entry_id in rows:
                self.entry_ids[reference, kind, ordinal] = entry_id

    def _key(self, item: Item) -> EntryKey:
        """What makes the item unique; an expiry is unique for as long as nothing re-opens the hold."""
        if isinstance(item, Movement):
            return item.reference, item.kind, 0
        if isinstance(item, Extend):
            return item.request_id, "extend", item.ordinal
        if isinstance(item, Expire):
            return item.request_id, "expire", self.books.holds[item.request_id].generation
        return item.request_id, "settle" if isinstance(item, Settle) else "void", 0

    def _entry(self, item: Item, amount: int = 0) -> dict[str, Any]:
        reference, kind, ordinal = self._key(item)
        if isinstance(item, Movement):
            amount = self.books.breakable(item) if item.kind == "breakage" else item.amount
        elif isinstance(item, Settle):
            amount = item.cost + item.fee
        return {
            "reference": reference,
            "kind": kind,
            "ordinal": ordinal,
            "wallet_id": item.wallet_id,
            "amount_nano": amount,
            "memo": item.memo if isinstance(item, Movement) else "",
        }

    # decide

    def _decide(self, live: Sequence[int]) -> list[Reservation]:
        """Walk in arrival order; returns what was granted and must now be inserted."""
        reservations: list[Reservation] = []
        for index in live:
            item = self.items[index]
            if self.outcomes[index] is not DEFERRED:
                continue
            if isinstance(item, Extend) and self._key(item) in self.happened:
                amount = self.happened[self._key(item)]
                outcome: Outcome = Granted(amount, self.books.wallets[item.wallet_id].available)
            elif isinstance(item, Place | Extend):
                is_known = isinstance(item, Place) and item.request_id in self.books.holds
                outcome = self.books.place(item) if isinstance(item, Place) else self.books.extend(item)
                if isinstance(outcome, Granted) and not is_known:
                    reservations.append((item, outcome.amount))
            else:
                outcome = self._happen(item)
            self.outcomes[index] = outcome
        return reservations

    def _happen(self, item: Settle | Void | Expire | Movement) -> Outcome:
        """Apply an item whose entry is new; one that happened before changes nothing."""
        entry_id = self.entry_ids.get(self._key(item))
        if entry_id is None:
            wallet = self.books.wallets[item.wallet_id]
            return Done(changed=False, available=wallet.available, debt=wallet.debt)
        if isinstance(item, Settle):
            return self.books.settle(item, entry_id)
        if isinstance(item, Movement):
            return self.books.move(item, entry_id)
        return self.books.release(item, entry_id)

    # reserve

    def _reserve(self, reservations: Sequence[Reservation]) -> None:
        """Insert holds and extensions that were granted; one that exists already is taken out of the sums."""
        places = [(item, amount) for item, amount in reservations if isinstance(item, Place)]
        extends = [(item, amount) for item, amount in reservations if isinstance(item, Extend)]
        rows = [_hold_row(item, amount, "open", item.lifetime_s) for item, amount in places]
        rows += [_hold_row(item, min(item.held, MAX_NANO), "settled", 0) for item in self._settled_without_hold()]
        inserted: set[str] = set()
        if rows:
            (returned,) = self.store.run([(self.store.sql.insert_holds, (rows_json(rows),))])
            inserted = {row[0] for row in returned}
        for place, amount in places:
            if place.request_id not in inserted:
                self.books.reserve(self.books.wallets[place.wallet_id], -amount)
        self._insert_entries([self._entry(item, amount) for item, amount in extends])
        for extend, amount in extends:
            self.books.extended(extend, amount, self.entry_ids[self._key(extend)])

    def _settled_without_hold(self) -> list[Settle]:
        """Settlements whose hold the database lost or never saw: their hold is written now, as settled."""
        changed = self.books.changes.holds
        return [
            item
            for item in self.items
            if isinstance(item, Settle)
            and item.request_id in self.books.holds
            and item.request_id not in changed
            and self._key(item) in self.entry_ids
        ]

    # write

    def _write(self) -> None:
        sql, changes = self.store.sql, self.books.changes
        deltas = [self._delta(wallet) for wallet in self.books.wallets.values()]
        steps: list[tuple[str, list[dict[str, Any]]]] = [
            (sql.update_holds, list(changes.holds.values())),
            (sql.insert_usage, changes.usage),
            (sql.insert_postings, changes.postings),
            (sql.insert_lots, changes.lots_added),
            (sql.update_lots, [{"id": lot, "spent": spent} for lot, spent in changes.lots_spent.items()]),
            (sql.update_wallets, [delta for delta in deltas if any(list(delta.values())[1:])]),
        ]
        self.store.commit_with([(query, (rows_json(rows),)) for query, rows in steps if rows])

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


def _subject(item: Item) -> str:
    """What the item is about: a request or a movement's reference."""
    return item.reference if isinstance(item, Movement) else item.request_id


def _takes_credit(item: Item) -> bool:
    return isinstance(item, Movement) and MOVES[item.kind][0] in {"paid", "promo"}


def _hold_row(item: Place | Settle, amount: int, state: str, lifetime_s: int) -> dict[str, Any]:
    return {
        "request_id": item.request_id,
        "wallet_id": item.wallet_id,
        "amount_nano": amount,
        "state": state,
        "price_ids": item.price_ids,
        "process_id": item.process_id,
        "lifetime_s": lifetime_s,
    }
