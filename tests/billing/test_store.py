"""The ledger's connections: what each trouble of the database means, and that the connection survives it."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from billing.errors import StoreBusy, StoreConflict, StoreRefused, StoreUnavailable
from billing.ledger import postgres
from billing.ledger.items import Done
from billing.ledger.sql import rows_json
from billing.ledger.sqlite import SqliteStore
from billing.ledger.store import run_blocking
from billing.models import GatewayProcess, Hold, LedgerEntry, Posting, Price, PromoLot, UsageRow, Wallet
from tests.billing.ledger_database import LedgerDatabase, settle

MEANINGS = {
    StoreBusy: ["55P03", "57014", "40P01", "40001"],
    StoreUnavailable: ["53100", "53300", "57P01", "57P03", "58030", "08006", "25P03", "25006"],
    StoreConflict: ["23505"],
    StoreRefused: ["23514", "22003", "22P05", "42P01", "XX000"],
}


@pytest.mark.parametrize(
    ("state", "meaning"), [(state, meaning) for meaning, states in MEANINGS.items() for state in states]
)
def test_postgresql_says_by_its_error_code_what_is_wrong(postgres_ledger: LedgerDatabase, state, meaning):
    store = postgres_ledger.open_store()
    raising = f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$"
    store.begin(durable=True)
    with pytest.raises(meaning, match=state):
        run_blocking(store.run([("SELECT 1", ()), (raising, ()), ("SELECT 2", ())]))
    with pytest.raises(StoreRefused, match="25P02"):
        run_blocking(store.run([("SELECT 3", ())]))
    run_blocking(store.rollback())
    assert run_blocking(store.run([("SELECT 4", ())])) == [[(4,)]]


def test_nothing_of_a_batch_that_failed_at_its_end_is_committed(ledger: LedgerDatabase):
    alice, bob = ledger.open_wallet(paid=5), ledger.open_wallet(paid=5)
    store = ledger.open_store()
    nothing = {"available": 0, "held": 0, "paid": 0, "promo": 0}
    changes = [{"id": alice.wallet_id, **nothing, "debt": 7}, {"id": bob.wallet_id, **nothing, "debt": -1}]
    store.begin(durable=True)
    run_blocking(store.run([("SELECT 1", ())]))
    with pytest.raises(StoreRefused):
        run_blocking(store.commit_with([(store.sql.update_wallets, (rows_json([change]),)) for change in changes]))
    run_blocking(store.rollback())
    assert ledger.wallet(alice.wallet_id)["debt"] == 0


def test_a_transaction_that_never_began_is_undone_for_nothing(ledger: LedgerDatabase):
    store = ledger.open_store()
    store.begin(durable=False)
    run_blocking(store.rollback())
    assert run_blocking(store.run([("SELECT 1", ())])) == [[(1,)]]


def test_a_closed_connection_is_unavailable(ledger: LedgerDatabase):
    store = ledger.open_store()
    store.close()
    store.begin(durable=False)
    with pytest.raises(StoreUnavailable):
        run_blocking(store.run([("SELECT 1", ())]))


def test_more_than_the_socket_takes_at_once_is_sent_all_the_same(ledger: LedgerDatabase):
    alice = ledger.open_wallet(paid=100)
    detail = {"attempts": ["x" * 1_000] * 10_000}
    assert ledger.commit(settle(alice, "gen-1", ledger.price(), 4, detail=detail)) == [Done(True, 95)]
    assert UsageRow.objects.get().detail == detail


def test_a_server_that_does_not_answer_is_given_up(postgres_ledger: LedgerDatabase, monkeypatch):
    store = postgres_ledger.open_store()
    monkeypatch.setattr(postgres, "PATIENCE_S", 0.05)
    store.begin(durable=False)
    with pytest.raises(StoreUnavailable, match="did not answer"):
        run_blocking(store.run([("SELECT pg_sleep(5)", ())]))
    run_blocking(store.rollback())
    with pytest.raises(StoreUnavailable):
        run_blocking(store.run([("SELECT 1", ())]))


def test_a_connection_that_the_server_ends_is_unavailable_and_undone_without_a_word(postgres_ledger: LedgerDatabase):
    store, ended = postgres_ledger.open_store(), postgres_ledger.open_store()
    for one in (store, ended):
        one.begin(durable=False)
        (((pid,),),) = run_blocking(one.run([("SELECT pg_backend_pid()", ())]))
        postgres_ledger.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with pytest.raises(StoreUnavailable):
        run_blocking(store.run([("SELECT 1", ())]))
    run_blocking(ended.rollback())
    with pytest.raises(StoreUnavailable, match="closed"):
        run_blocking(ended.run([("SELECT 1", ())]))


def test_in_an_event_loop_it_waits_there_to_write_and_to_read(postgres_ledger: LedgerDatabase):
    store = postgres_ledger.open_store()
    text = "x" * 64 * 2**20

    async def main() -> None:
        store.attach(asyncio.get_running_loop())
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count_turns())
        assert await store.run([("SELECT length($1)", (text,))]) == [[(len(text),)]]
        counting.cancel()
        assert turns > 2, "the loop stood still"
        with pytest.raises(RuntimeError, match="attached to an event loop"):
            run_blocking(store.run([("SELECT 2", ())]))
        store.close()

    asyncio.run(main())


def test_sqlite_that_somebody_else_writes_to_is_busy(sqlite_ledger: LedgerDatabase):
    store = sqlite_ledger.open_store()
    run_blocking(store.run([("PRAGMA busy_timeout = 10", ())]))
    other = sqlite_ledger.open_store()
    other.begin(durable=True)
    run_blocking(other.run([("SELECT 1", ())]))
    store.begin(durable=True)
    with pytest.raises(StoreBusy):
        run_blocking(store.run([("SELECT 1", ())]))
    run_blocking(store.rollback())
    run_blocking(other.rollback())
    store.begin(durable=True)
    assert run_blocking(store.run([("SELECT 1", ())])) == [[(1,)]]
    run_blocking(store.rollback())


def test_sqlite_without_its_tables_is_unavailable(tmp_path: Path):
    store = SqliteStore(str(tmp_path / "empty.sqlite3"))
    with pytest.raises(StoreUnavailable, match="no such table"):
        run_blocking(store.run([("SELECT 1 FROM billing_wallet", ())]))
    store.close()


def test_sqlite_that_cannot_be_opened_is_unavailable(tmp_path: Path):
    with pytest.raises(StoreUnavailable):
        SqliteStore(str(tmp_path / "no folder" / "ledger.sqlite3"))
    (tmp_path / "text").write_text("not a database" * 100)
    with pytest.raises(StoreUnavailable):
        SqliteStore(str(tmp_path / "text"))


def test_sqlite_syncs_every_commit(sqlite_ledger: LedgerDatabase):
    store = sqlite_ledger.open_store()
    assert run_blocking(store.run([("PRAGMA synchronous", ()), ("PRAGMA journal_mode", ())])) == [[(2,)], [("wal",)]]
    assert sqlite3.threadsafety > 0


def test_rows_say_what_they_are():
    assert str(Hold(pk="gen-1", state="open")) == "hold of gen-1 (open)"
    assert str(LedgerEntry(kind="settle", reference="gen-1")) == "settle gen-1"
    assert str(Posting(amount_nano=5, source="paid", target="promo")) == "5 from paid to promo"
    assert str(Price(pk=7, components={"input": 3 * 10**9})) == "price 7: input 3.00"
    assert str(GatewayProcess(pk="p-1", pid=3)) == "process p-1 (pid 3)"
    assert str(UsageRow(request_id="gen-1")) == "usage of gen-1"
    assert str(Wallet(pk=9)) == "wallet of organization 9"
    assert str(PromoLot(reference="gift")) == "promo lot gift"
