"""Which rows a batch has to read under the wallets' locks: one pass over its items, then the statements."""

from collections.abc import Sequence

from billing.ledger.items import CapEntry, Claim, Expire, Extend, Item, Movement, Place, Settle, Void
from billing.ledger.sql import Sql, ids_json, rows_json
from billing.ledger.store import Statement


class Reads:
    """What `items` refer to. `is_retry`: they may have been committed before, which must be read too."""

    def __init__(self, items: Sequence[Item], *, is_retry: bool) -> None:
        self._is_retry = is_retry
        self._keys: set[int] = set()
        self._keyless: set[int] = set()
        self._capped_keys: set[int] = set()
        self._periods: set[tuple[int, str]] = set()
        self._claims: list[Claim] = []
        self._holds: list[str] = []
        self._references: list[str] = []
        self._events: set[str] = set()
        self._payments: set[str] = set()
        self._new_entries = 0
        self._spends = False
        for item in items:
            if isinstance(item, Place):
                self._place(item)
            elif isinstance(item, Movement):
                self._movement(item)
            else:
                self._of_hold(item)

    def _place(self, item: Place) -> None:
        if item.key_id is None:
            self._keyless.add(item.wallet_id)
        else:
            self._keys.add(item.key_id)
        self._capped_keys.update(item.capped_keys)
        if item.claim is not None:
            self._claims.append(item.claim)
        if self._is_retry:  # a first placing cannot be there yet
            self._holds.append(item.request_id)

    def _movement(self, item: Movement) -> None:
        self._new_entries += 1
        self._spends = True
        self._references.append(item.reference)
        if item.event_id:
            self._events.add(item.event_id)
        if item.payment is not None:
            self._payments.add(payment_id(item))

    def _of_hold(self, item: Extend | Settle | Void | Expire) -> None:
        self._new_entries += 1
        self._holds.append(item.request_id)
        if isinstance(item, Settle):
            self._spends = True
            self._note_caps(item.caps)
            if item.claim is not None:
                self._claims.append(item.claim)
            if self._is_retry:
                self._references.append(item.request_id)
        elif isinstance(item, Extend):
            self._note_caps(item.caps)
            self._references.append(item.request_id)

    def _note_caps(self, caps: Sequence[CapEntry]) -> None:
        for cap_id, starts_on, _ in caps:
            self._periods.add((cap_id, starts_on))

    def statements(self, sql: Sql, wallets: str) -> list[tuple[str, Statement]]:
        """Each with the name of what it reads, in the same order for the same kinds of items; `wallets` as JSON."""
        ids: list[tuple[str, str, Sequence[int | str]]] = [
            ("authorizations", sql.authorizations, sorted(self._keys)),
            ("epochs", sql.organization_epochs, sorted(self._keyless)),
            ("caps_of_keys", sql.caps_of_keys, sorted(self._capped_keys)),
            ("holds", sql.holds, self._holds),
            ("entries", sql.entries, self._references),
            ("events", sql.events, sorted(self._events)),
            ("payments", sql.payments, sorted(self._payments)),
            ("entry_ids", sql.new_entry_ids, range(self._new_entries)),
        ]
        found: list[tuple[str, Statement]] = [
            (name, (query, (ids_json(values),))) for name, query, values in ids if values
        ]
        if self._periods:
            periods = [{"cap_id": cap_id, "starts_on": starts_on} for cap_id, starts_on in sorted(self._periods)]
            found.append(("caps_of_entries", (sql.caps_of_entries, (rows_json(periods),))))
        if self._claims:
            keys = {(claim.key_id, claim.path, claim.key) for claim in self._claims}
            rows = [{"key_id": key_id, "path": path, "key": key} for key_id, path, key in sorted(keys)]
            found.append(("claims", (sql.claims, (rows_json(rows),))))
        if self._spends:
            found.append(("lots", (sql.lots, (wallets,))))
        return found


def payment_id(item: Movement) -> str:
    """The payment that a movement credits."""
    assert item.payment is not None
    return str(item.payment["id"])
