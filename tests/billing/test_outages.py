"""The committer without its database, without a disk, and behind wallets that somebody else has locked."""

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from billing.ledger import committer as committer_module
from billing.ledger import postgres
from billing.ledger.committer import Committer
from billing.ledger.items import Done, Extend, Failure, Granted, Movement, Pending, Place, Void
from billing.ledger.journal import Journal
from billing.ledger.open_store import open_store
from billing.ledger.reap import journal_folder, reap
from billing.ledger.verify import differences
from billing.models import Hold, LedgerEntry, UsageRow
from komilion.common.clock import monotonic_s
from komilion.common.errors import LedgerUnavailable
from tests.async_waiting import eventually
from tests.billing.committing import Database, play, running, topup
from tests.billing.ledger_database import LedgerDatabase, Tenant, django_uses, migrate, new_name, place, settle
from tests.services.cluster import Cluster

LOCK_TIMEOUT_S = 2  # of a connection to PostgreSQL, see billing.ledger.store

pytestmark = pytest.mark.usefixtures("patient_committer")


# the database goes away


def test_without_the_database_nothing_is_admitted_and_no_settlement_is_lost(ledger, database, price, tmp_path):
    alice = ledger.open_wallet(paid=1_000)
    hold, left = place(alice, 100), place(alice, 100)
    ledger.commit(hold, left)
    file = tmp_path / "p-test.jsonl"

    async def scenario(committer: Committer) -> None:
        database.is_away = True
        end = committer.submit(settle(alice, hold.request_id, price, 40))
        given_back = committer.submit(Void(left.request_id, alice.wallet_id))
        await eventually(lambda: file.read_bytes().count(b"gen-") >= 2)
        assert not committer.is_accepting
        for item in (place(alice, 1), topup(alice), Extend(hold.request_id, alice.wallet_id, 1, 5)):
            with pytest.raises(LedgerUnavailable):
                await committer.submit(item)
        assert not end.done()
        database.is_away = False
        assert await end == Done(changed=True, available=850)
        assert await given_back == Done(changed=True, available=950)
        await eventually(lambda: committer.is_accepting)
        assert isinstance(await committer.submit(place(alice, 1)), Granted)
        assert file.read_bytes() == b""

    play(scenario, database, tmp_path)
    assert not file.exists()
    assert UsageRow.objects.get().charge_nano == 50
    assert list(differences()) == []


def test_nobody_waits_for_a_late_settlement_longer_than_agreed(ledger, database, price, tmp_path, settings):
    settings.SETTLEMENT_WAIT_S = 0.05
    alice = ledger.open_wallet(paid=1_000)

    async def scenario(committer: Committer) -> None:
        database.is_away = True
        assert await committer.submit(settle(alice, "gen-1", price, 40)) == Pending()
        database.is_away = False
        await eventually(lambda: committer.is_accepting)

    play(scenario, database, tmp_path)
    assert UsageRow.objects.get().charge_nano == 50


def test_a_placing_is_refused_at_once_while_the_database_is_away(ledger, database, tmp_path):
    alice = ledger.open_wallet(paid=1_000)

    async def scenario(committer: Committer) -> None:
        database.is_away = True
        with pytest.raises(LedgerUnavailable):
            await committer.submit(place(alice, 1))
        assert not committer.is_accepting
        refused = committer.submit(place(alice, 1))
        assert isinstance(refused.exception(), LedgerUnavailable), "not even a turn of the loop"
        database.is_away = False
        await eventually(lambda: committer.is_accepting)

    play(scenario, database, tmp_path)
    assert not Hold.objects.exists()


def test_a_hold_that_may_have_been_committed_unseen_is_voided_on_return(ledger, database, tmp_path):
    alice = ledger.open_wallet(paid=1_000)
    hold = place(alice, 100)

    async def scenario(committer: Committer) -> None:
        database.breaks_after_commit = 2
        with pytest.raises(LedgerUnavailable):
            await committer.submit(hold)
        await eventually(lambda: committer.is_accepting)

    play(scenario, database, tmp_path)
    assert ledger.hold_state(hold.request_id) == "voided"
    assert ledger.wallet(alice.wallet_id)["available"] == 1_000


def test_admission_opens_again_without_anybody_asking(ledger, database, tmp_path):
    alice = ledger.open_wallet(paid=1_000)

    async def scenario(committer: Committer) -> None:
        database.is_away = True
        with pytest.raises(LedgerUnavailable):
            await committer.submit(topup(alice))
        await eventually(lambda: not committer.is_accepting)
        assert not next(tmp_path.glob("*.jsonl")).read_bytes(), "the journal is empty"
        tried = database.refused
        await eventually(lambda: database.refused > tried)
        database.is_away = False
        await eventually(lambda: committer.is_accepting)

    play(scenario, database, tmp_path)


def test_a_full_disk_keeps_settlements_in_memory(ledger, database, price, tmp_path, monkeypatch, caplog):
    alice = ledger.open_wallet(paid=1_000)

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario(committer: Committer) -> None:
        with monkeypatch.context() as full:
            full.setattr(os, "fsync", no_space)
            database.is_away = True
            end = committer.submit(settle(alice, "gen-1", price, 40))
            await eventually(lambda: "journal cannot be written" in caplog.text)
            assert not end.done()
        database.is_away = False
        assert await end == Done(changed=True, available=950)

    play(scenario, database, tmp_path)
    assert UsageRow.objects.get().charge_nano == 50


def test_an_item_that_the_journal_cannot_hold_does_not_keep_others_out(ledger, database, price, tmp_path):
    alice = ledger.open_wallet(paid=1_000)

    async def scenario(committer: Committer) -> None:
        database.is_away = True
        unwritable = committer.submit(settle(alice, "gen-1", price, 40, app_title="\ud800"))
        written = committer.submit(settle(alice, "gen-2", price, 40))
        assert isinstance(await unwritable, Failure)
        database.is_away = False
        assert isinstance(await written, Done)

    play(scenario, database, tmp_path)
    assert [row.request_id for row in UsageRow.objects.all()] == ["gen-2"]


def test_a_settlement_that_is_journaled_twice_is_charged_once(ledger, database, price, tmp_path):
    alice = ledger.open_wallet(paid=1_000)
    end = settle(alice, "gen-1", price, 40)
    journal = Journal(tmp_path, "p-test")
    journal.append([end, end, Void("gen-1", alice.wallet_id)])
    journal.close()

    async def scenario(committer: Committer) -> None:
        await eventually(lambda: committer.is_accepting)

    play(scenario, database, tmp_path)
    assert ledger.wallet(alice.wallet_id)["paid"] == 950
    assert LedgerEntry.objects.filter(kind="settle").count() == UsageRow.objects.count() == 1


def test_a_poisoned_settlement_in_the_journal_does_not_keep_admission_closed(postgres_ledger, tmp_path):
    alice, price = postgres_ledger.open_wallet(paid=1_000), postgres_ledger.price()
    journal = Journal(tmp_path, "p-test")
    journal.append([settle(alice, "gen-bad", price, 4, app_title="\0"), settle(alice, "gen-good", price, 4)])
    journal.close()

    async def scenario(committer: Committer) -> None:
        await eventually(lambda: committer.is_accepting)

    play(scenario, Database(open_store), tmp_path)
    assert UsageRow.objects.get().request_id == "gen-good"
    assert b"gen-bad" in (tmp_path / "p-test.refused").read_bytes()


def test_the_database_may_go_away_again_during_the_replay(ledger, database, price, tmp_path, monkeypatch):
    alice = ledger.open_wallet(paid=1_000)
    monkeypatch.setattr(committer_module, "BATCH_ITEMS", 2)
    journal = Journal(tmp_path, "p-test")
    journal.append([settle(alice, new_name("gen"), price, 4) for _ in range(5)])
    journal.close()
    database.breaks_before_batch = 2

    async def scenario(committer: Committer) -> None:
        await eventually(lambda: committer.is_accepting)

    play(scenario, database, tmp_path)
    assert ledger.wallet(alice.wallet_id)["paid"] == 975
    assert list(differences()) == []


def test_stopping_without_the_database_leaves_an_orphan_that_the_reaper_replays(ledger, database, price):
    alice = ledger.open_wallet(paid=1_000)
    hold = place(alice, 100)
    ledger.commit(hold)
    name = new_name("p")

    async def main() -> None:
        async with running(database.open_store, journal_folder(), name) as committer:
            database.is_away = True
            committer.post(settle(alice, hold.request_id, price, 40))

    asyncio.run(main())
    assert ledger.hold_state(hold.request_id) == "open"
    assert reap().replayed == 1
    assert ledger.hold_state(hold.request_id) == "settled"
    assert ledger.wallet(alice.wallet_id)["paid"] == 950
    assert not [path for path in journal_folder().iterdir() if path.name.startswith(name)]


def test_the_committer_outlives_a_bug(ledger, database, price, tmp_path, monkeypatch, caplog):
    alice = ledger.open_wallet(paid=1_000)

    def bug(self: Committer, tickets: object) -> None:
        raise RuntimeError("a bug")

    async def scenario(committer: Committer) -> None:
        with monkeypatch.context() as buggy:
            buggy.setattr(Committer, "_defer", bug)
            database.gate.clear()
            placed = committer.submit(Movement("topup-x", "topup", -1, 5))  # there is no such wallet: deferred
            database.gate.set()
            with pytest.raises(LedgerUnavailable):
                await placed
        await eventually(lambda: committer.is_accepting)
        assert isinstance(await committer.submit(place(alice, 1)), Granted)

    play(scenario, database, tmp_path)
    assert "a bug" in caplog.text


# wallets that another transaction has locked


@pytest.fixture
def other_connection(postgres_ledger: LedgerDatabase, postgres_ledger_url: str):
    with psycopg.connect(postgres_ledger_url, autocommit=True) as connection:
        yield connection


@contextmanager
def locked(connection: psycopg.Connection, tenant: Tenant) -> Iterator[None]:
    """Another transaction has the tenant's wallet."""
    with connection.transaction():
        query = "SELECT 1 FROM billing_wallet WHERE organization_id = %s FOR UPDATE"
        connection.execute(query, [tenant.wallet_id])
        yield


@pytest.fixture
def _short_lock_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    short = postgres.OPTIONS.replace("lock_timeout=2s", "lock_timeout=20ms")
    monkeypatch.setattr(postgres, "OPTIONS", short)


def test_a_stranger_in_the_batch_of_a_locked_wallet_is_answered_at_once(postgres_ledger, other_connection, tmp_path):
    alice, bob = postgres_ledger.open_wallet(paid=1_000), postgres_ledger.open_wallet(paid=1_000)
    database, price = Database(open_store), postgres_ledger.price()

    async def scenario(committer: Committer) -> None:
        with locked(other_connection, alice):
            database.gate.clear()
            committer.post(topup(bob))
            waiting = committer.submit(settle(alice, "gen-1", price, 40))
            stranger = committer.submit(place(bob, 1))
            database.gate.set()
            async with asyncio.timeout(LOCK_TIMEOUT_S / 2):
                assert isinstance(await stranger, Granted)
        assert await waiting == Done(changed=True, available=950)

    play(scenario, database, tmp_path)


@pytest.mark.usefixtures("_short_lock_timeout")
def test_a_locked_wallet_keeps_no_stranger_waiting(postgres_ledger, other_connection, tmp_path):
    alice, bob = postgres_ledger.open_wallet(paid=1_000), postgres_ledger.open_wallet(paid=1_000)
    price = postgres_ledger.price()

    async def scenario(committer: Committer) -> None:
        with locked(other_connection, alice):
            waiting = committer.submit(settle(alice, "gen-1", price, 40))
            for _ in range(committer_module.MOST_DEFERRALS + 5):
                assert isinstance(await committer.submit(place(bob, 1)), Granted)
            assert not waiting.done()
        assert await waiting == Done(changed=True, available=950)

    play(scenario, Database(open_store), tmp_path)


@pytest.mark.usefixtures("_short_lock_timeout")
def test_a_hold_waits_for_a_lock_so_long_and_no_longer(postgres_ledger, other_connection, tmp_path, monkeypatch):
    monkeypatch.setattr(committer_module, "WAIT_FOR_LOCK_AGE_S", 0.0)
    alice = postgres_ledger.open_wallet(paid=1_000)
    database, price = Database(open_store), postgres_ledger.price()

    async def scenario(committer: Committer) -> None:
        with locked(other_connection, alice):
            waiting = committer.submit(settle(alice, "gen-1", price, 40))
            with pytest.raises(LedgerUnavailable):
                await committer.submit(place(alice, 1))
            await eventually(lambda: len(database.batches) > 5)
            assert not waiting.done(), "a settlement waits for as long as it takes"
        assert await waiting == Done(changed=True, available=950)

    play(scenario, database, tmp_path)


@pytest.mark.usefixtures("_short_lock_timeout")
def test_a_locked_wallet_keeps_the_journal_but_not_for_ever(postgres_ledger, other_connection, tmp_path):
    alice = postgres_ledger.open_wallet(paid=1_000)
    journal = Journal(tmp_path, "p-test")
    journal.append([settle(alice, "gen-1", postgres_ledger.price(), 40)])
    journal.close()
    database = Database(open_store)

    async def scenario(committer: Committer) -> None:
        with locked(other_connection, alice):
            await eventually(lambda: len(database.batches) >= 2)
            assert not committer.is_accepting
        await eventually(lambda: committer.is_accepting)

    play(scenario, database, tmp_path)
    assert postgres_ledger.wallet(alice.wallet_id)["paid"] == 950


# a real server that stops and hangs


@pytest.fixture
def private_ledger(private_postgres: Cluster, django_db_setup: None, django_db_blocker: DjangoDbBlocker):
    with django_db_blocker.unblock(), django_uses(migrate(private_postgres.url())):
        yield LedgerDatabase("postgres")


@pytest.mark.timeout(120)
def test_a_server_that_stops_and_one_that_hangs(private_ledger, private_postgres, tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "PATIENCE_S", 0.5)
    alice, price = private_ledger.open_wallet(paid=1_000), private_ledger.price()
    holds = [place(alice, 100) for _ in range(2)]

    async def outage(committer: Committer, hold: Place, begin: Callable[[], None], end: Callable[[], None]) -> None:
        assert isinstance(await committer.submit(hold), Granted)
        await asyncio.to_thread(begin)
        settled = committer.submit(settle(alice, hold.request_id, price, 40))
        await eventually(lambda: not committer.is_accepting, deadline_s=20)
        began_s = monotonic_s()
        with pytest.raises(LedgerUnavailable):
            await committer.submit(place(alice, 1))
        assert monotonic_s() - began_s < 0.1
        await eventually(lambda: hold.request_id.encode() in (tmp_path / "p-test.jsonl").read_bytes(), deadline_s=20)
        await asyncio.to_thread(end)
        await eventually(lambda: committer.is_accepting, deadline_s=20)
        assert settled.done()

    async def scenario(committer: Committer) -> None:
        await outage(committer, holds[0], private_postgres.stop, private_postgres.start)
        await outage(committer, holds[1], private_postgres.pause, private_postgres.resume)
        assert isinstance(await committer.submit(place(alice, 1)), Granted)

    play(scenario, Database(open_store), tmp_path)
    with django_uses(private_postgres.url()):
        assert private_ledger.wallet(alice.wallet_id) == {
            "available": 899, "held": 1, "paid": 900, "promo": 0, "debt": 0
        }  # fmt: skip
        assert list(differences()) == []


def test_a_connection_that_the_server_ends_is_replaced(postgres_ledger, other_connection, tmp_path):
    alice = postgres_ledger.open_wallet(paid=1_000)

    async def scenario(committer: Committer) -> None:
        assert isinstance(await committer.submit(place(alice, 1)), Granted)
        other_connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert isinstance(await committer.submit(place(alice, 1)), Granted)

    play(scenario, Database(open_store), tmp_path)
    connection.close()  # Django's was ended too
    assert postgres_ledger.wallet(alice.wallet_id)["held"] == 2
