"""The ledger's SQL. Rows travel as one JSON document per statement and are unpacked by the database.

On PostgreSQL that costs a fraction of the CPU that adapting arrays costs in this process (docs/decisions/0003), and on
SQLite the same statement works. No insert has an `ON CONFLICT`: a row that is there already must break the transaction.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson


def rows_json(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as the JSON document that the statements unpack."""
    return orjson.dumps(rows).decode()


def ids_json(ids: Iterable[int | str]) -> str:
    """A list of ids, likewise."""
    return orjson.dumps([*ids]).decode()


HOLD = {
    "request_id": "text",
    "wallet_id": "bigint",
    "amount_nano": "bigint",
    "state": "text",
    "price_ids": "jsonb",
    "caps": "jsonb",
    "process_id": "text",
    "lifetime_s": "int",
}
ENTRY = {
    "id": "bigint",
    "reference": "text",
    "kind": "text",
    "ordinal": "int",
    "wallet_id": "bigint",
    "amount_nano": "bigint",
    "memo": "text",
}
POSTING = {
    "entry_id": "bigint",
    "wallet_id": "bigint",
    "source": "text",
    "target": "text",
    "amount_nano": "bigint",
}
HOLD_CHANGE = {
    "request_id": "text",
    "state": "text",
    "added": "bigint",
    "reopened": "int",
    "lifetime_s": "int",
    "caps": "jsonb",  # only where an extension changed them
}
CAP_PERIOD = {"cap_id": "bigint", "starts_on": "date"}
CAP_CHANGE = {**CAP_PERIOD, "reserved": "bigint", "spent": "bigint"}
WALLET_CHANGE = {
    "id": "bigint",
    "available": "bigint",
    "held": "bigint",
    "paid": "bigint",
    "promo": "bigint",
    "debt": "bigint",
}
LOT = {"wallet_id": "bigint", "reference": "text", "granted_nano": "bigint", "expires_at": "text"}
LOT_CHANGE = {"id": "bigint", "spent": "bigint"}
CLAIM = {"key_id": "bigint", "path": "text", "key": "text"}
CALL = {
    "key_id": "bigint",
    "path": "text",
    "idempotency_key": "text",
    "body_hmac": "text",
    "request_id": "text",
    "answer": "text",
    "is_finished": "boolean",
}
CALL_END = {"request_id": "text", "answer": "text", "lifetime_s": "int"}
EVENT = {"id": "text", "type": "text"}
PAYMENT = {
    "id": "text",
    "order_id": "text",
    "wallet_id": "bigint",
    "credit_cents": "int",
    "fee_cents": "int",
    "tax_cents": "int",
    "total_cents": "int",
    "currency": "text",
    "livemode": "boolean",
    "charge_id": "text",
}
USAGE = {
    "created_at": "timestamptz",
    "request_id": "text",
    "client_request_id": "text",
    "organization_id": "bigint",
    "key_id": "bigint",
    "member_id": "bigint",
    "end_user": "text",
    "tags": "jsonb",
    "app_url": "text",
    "app_title": "text",
    "endpoint": "text",
    "requested_model": "text",
    "model": "text",
    "provider": "text",
    "streamed": "boolean",
    "outcome": "text",
    "usage_source": "text",
    "usage": "jsonb",
    "price_id": "bigint",
    "cost_nano": "bigint",
    "fee_nano": "bigint",
    "charge_nano": "bigint",
    "savings_nano": "bigint",
    "attempt_loss_nano": "bigint",
    "first_content_ms": "int",
    "duration_ms": "int",
    "detail": "jsonb",
}


class Sql:
    """The statements, in one of the two dialects; every parameter is one JSON document unless said otherwise."""

    def __init__(self, *, postgres: bool) -> None:
        self.postgres = postgres
        now = "now()" if postgres else "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
        later = (
            "now() + make_interval(secs => r.lifetime_s)"
            if postgres
            else "strftime('%Y-%m-%d %H:%M:%f000', 'now', '+' || r.lifetime_s || ' seconds')"
        )
        ids = self._ids("bigint")
        names = self._ids("text")
        no_key_update = " FOR NO KEY UPDATE" if postgres else ""

        select_wallets = (
            "SELECT organization_id, available_nano, held_nano, paid_nano, promo_nano, debt_nano"
            f" FROM billing_wallet WHERE organization_id IN ({ids}) ORDER BY organization_id{no_key_update}"
        )
        self.lock_wallets_waiting = select_wallets
        self.lock_wallets = select_wallets + (" SKIP LOCKED" if postgres else "")
        self.authorizations = (
            "SELECT k.id, k.auth_epoch, o.auth_epoch AS organization_epoch,"
            f" k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > {now}) AS is_valid"
            " FROM accounts_apikey k JOIN accounts_organization o ON o.id = k.organization_id"
            f" WHERE k.id IN ({ids})"
        )
        self.organization_epochs = f"SELECT id, auth_epoch FROM accounts_organization WHERE id IN ({ids})"
        self.holds = (
            f"SELECT request_id, amount_nano, state, expires_at <= {now} AS is_due, generation, caps"
            f" FROM billing_hold WHERE request_id IN ({names})"
        )
        self.entries = (
            f"SELECT reference, kind, ordinal, amount_nano FROM billing_ledgerentry WHERE reference IN ({names})"
        )
        new_id = (
            "nextval('billing_ledgerentry_id_seq')"
            if postgres
            else "1 + value + (SELECT coalesce(max(id), 0) FROM billing_ledgerentry)"
        )
        array = "json_agg" if postgres else "json_group_array"
        self.new_entry_ids = (
            f"SELECT {array}({new_id}) AS ids FROM ({self._ids('int')}) AS counted"  # one cell, a JSON list
        )
        self.lots = (
            "SELECT wallet_id, id, remaining_nano FROM billing_promolot"
            f" WHERE remaining_nano > 0 AND wallet_id IN ({ids})"
            " ORDER BY wallet_id, expires_at IS NULL, expires_at, id"
        )
        self.events = f"SELECT id FROM billing_paymentevent WHERE id IN ({names})"
        self.payments = f"SELECT id FROM billing_payment WHERE id IN ({names})"
        self._set_caps(ids)
        self._set_calls(now, later, names)
        self._set_inserts(now, later)
        self._set_updates(later)

    def _set_caps(self, ids: str) -> None:
        """Caps with what of them is used: those of keys in the running period, and those that holds have stored."""
        today = "CAST(now() AT TIME ZONE 'UTC' AS date)" if self.postgres else "date('now')"
        month = f"CAST(date_trunc('month', {today}) AS date)" if self.postgres else "date('now', 'start of month')"
        ever = "DATE '1970-01-01'" if self.postgres else "'1970-01-01'"
        start = f"CASE c.period WHEN 'day' THEN {today} WHEN 'month' THEN {month} ELSE {ever} END"
        self.caps_of_keys = (
            f"SELECT c.id, c.subject_id, c.period, c.limit_nano, {start} AS starts_on, u.reserved_nano, u.spent_nano"
            f" FROM billing_cap c LEFT JOIN billing_capuse u ON u.cap_id = c.id AND u.starts_on = {start}"
            f" WHERE c.kind = 'key' AND c.subject_id IN ({ids}) ORDER BY c.id"
        )
        self.caps_of_entries = (
            "SELECT c.id, c.subject_id, c.period, c.limit_nano, r.starts_on, u.reserved_nano, u.spent_nano"
            f" FROM {self._rows(CAP_PERIOD)} JOIN billing_cap c ON c.id = r.cap_id"
            " LEFT JOIN billing_capuse u ON u.cap_id = r.cap_id AND u.starts_on = r.starts_on"
        )
        self.insert_cap_uses = (
            "INSERT INTO billing_capuse (cap_id, starts_on, reserved_nano, spent_nano)"
            f" SELECT r.cap_id, r.starts_on, r.reserved, r.spent FROM {self._rows(CAP_CHANGE)}"
        )
        self.update_cap_uses = (
            "UPDATE billing_capuse SET reserved_nano = reserved_nano + r.reserved, spent_nano = spent_nano + r.spent"
            f" FROM {self._rows(CAP_CHANGE)}"
            " WHERE billing_capuse.cap_id = r.cap_id AND billing_capuse.starts_on = r.starts_on"
        )

    def _set_calls(self, now: str, later: str, names: str) -> None:
        """Calls with an Idempotency-Key."""
        self.claims = (
            "SELECT c.key_id, c.path, c.idempotency_key, c.request_id, c.body_hmac, c.is_finished,"
            f" c.answer <> '' AS is_kept FROM {self._rows(CLAIM)} JOIN billing_idempotentcall c"
            " ON c.key_id = r.key_id AND c.path = r.path AND c.idempotency_key = r.key"
        )
        columns = ", ".join(CALL)
        values = ", ".join(f"r.{name}" for name in CALL)
        self.insert_calls = (
            f"INSERT INTO billing_idempotentcall ({columns}, created_at, expires_at)"
            f" SELECT {values}, {now}, {later} FROM {self._rows({**CALL, 'lifetime_s': 'int'})}"
        )
        self.finish_calls = (
            f"UPDATE billing_idempotentcall SET is_finished = TRUE, answer = r.answer, expires_at = {later}"
            f" FROM {self._rows(CALL_END)} WHERE billing_idempotentcall.request_id = r.request_id"
        )
        self.free_calls = f"DELETE FROM billing_idempotentcall WHERE NOT is_finished AND request_id IN ({names})"

    def _set_inserts(self, now: str, later: str) -> None:
        self.insert_holds = (
            "INSERT INTO billing_hold"
            " (request_id, wallet_id, amount_nano, state, price_ids, caps, process_id, generation, expires_at,"
            " created_at)"
            " SELECT r.request_id, r.wallet_id, r.amount_nano, r.state, r.price_ids, r.caps, r.process_id, 0,"
            f" {later}, {now} FROM {self._rows(HOLD)}"
        )
        self.insert_entries = (
            "INSERT INTO billing_ledgerentry"
            " (id, reference, kind, ordinal, wallet_id, amount_nano, memo, created_at)"
            f" SELECT r.id, r.reference, r.kind, r.ordinal, r.wallet_id, r.amount_nano, r.memo, {now}"
            f" FROM {self._rows(ENTRY)}"
        )
        self.insert_postings = self._insert("billing_posting", POSTING)
        self.insert_usage = self._insert("billing_usagerow", USAGE)
        self.insert_events = self._insert("billing_paymentevent", EVENT, created_at=now)
        self.insert_payments = self._insert("billing_payment", PAYMENT, created_at=now)
        expires = "r.expires_at::timestamptz" if self.postgres else "r.expires_at"
        self.insert_lots = (
            "INSERT INTO billing_promolot"
            " (wallet_id, reference, granted_nano, remaining_nano, expires_at, created_at)"
            f" SELECT r.wallet_id, r.reference, r.granted_nano, r.granted_nano, {expires}, {now}"
            f" FROM {self._rows(LOT)}"
        )

    def _set_updates(self, later: str) -> None:
        self.update_holds = (
            "UPDATE billing_hold SET state = r.state, amount_nano = amount_nano + r.added,"
            f" generation = generation + r.reopened, caps = COALESCE(r.caps, billing_hold.caps),"
            f" expires_at = CASE WHEN r.reopened > 0 THEN {later} ELSE expires_at END"
            f" FROM {self._rows(HOLD_CHANGE)} WHERE billing_hold.request_id = r.request_id"
        )
        changes = ", ".join(f"{name}_nano = {name}_nano + r.{name}" for name in list(WALLET_CHANGE)[1:])
        self.update_wallets = (
            f"UPDATE billing_wallet SET {changes} FROM {self._rows(WALLET_CHANGE)} WHERE organization_id = r.id"
        )
        self.update_lots = (
            "UPDATE billing_promolot SET remaining_nano = remaining_nano - r.spent"
            f" FROM {self._rows(LOT_CHANGE)} WHERE billing_promolot.id = r.id"
        )

    def _rows(self, columns: dict[str, str]) -> str:
        """The JSON parameter as a table `r`."""
        if self.postgres:
            typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            return f"jsonb_to_recordset($1::jsonb) AS r({typed})"
        fields = ", ".join(f"value ->> '$.{name}' AS {name}" for name in columns)
        return f"(SELECT {fields} FROM json_each(?)) AS r"

    def _ids(self, kind: str) -> str:
        if self.postgres:
            return f"SELECT value::{kind} FROM jsonb_array_elements_text($1::jsonb)"
        return "SELECT value FROM json_each(?)"

    def _insert(self, table: str, columns: dict[str, str], **computed: str) -> str:
        names = ", ".join([*columns, *computed])
        values = ", ".join([*(f"r.{name}" for name in columns), *computed.values()])
        return f"INSERT INTO {table} ({names}) SELECT {values} FROM {self._rows(columns)}"
