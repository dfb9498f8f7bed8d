"""The committer: batches, items that fail alone, waiters that leave, and a database that goes away and comes back."""

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from billing.ledger import committer as committer_module
from billing.ledger import store as store_module
from billing.ledger.committer import Committer
from billing.ledger.items import Done, Extend, Failure, Granted, Item, Movement, Pending, Place, Void
from billing.ledger.journal import Journal
from billing.ledger.open_store import open_store
from billing.ledger.reap import journal_folder, reap
from billing.ledger.verify import differences
from billing.models import Hold, LedgerEntry, UsageRow
from billing.prices import PriceVersion
from komilion.common.clock import monotonic_s
from komilion.common.errors import LedgerUnavailable
from tests.async_waiting import eventually
from tests.billing.committing import Database, in_one_batch, running
from tests.billing.ledger_database import LedgerDatabase, Tenant, django_uses, migrate, new_name, place, settle
from tests.services.cluster import Cluster

TOO_MUCH = 2**63


@pytest.fixture(autouse=True)
def _patient(settings: Any) -> None:
    """Whoever waits for a settlement here waits until it is durable."""
    settings.SETTLEMENT_WAIT_S = 60


@pytest.fixture
def database(ledger: LedgerDatabase) -> Database:
    return Database(open_store)


@pytest.fixture
def price(ledger: LedgerDatabase) -> PriceVersion:
    return ledger.price()


def play(scenario: Callable[[Committer], Coroutine[Any, Any, None]], database: Database, folder: Path) -> None:
    """Run the scenario with a committer on this database."""

    async def main() -> None:
        async with running(database.open_store, folder) as committer:
            await scenario(committer)

    asyncio.run(main())


def topup(tenant: Tenant, amount: int = 1) -> Movement:
    return Movement(new_name("topup"), "topup", tenant.wallet_id, amount)


# batches


def test_what_arrives_while_a_transaction_runs_goes_into_the_next(ledger, database, tmp_path):
    alice = ledger.open_wallet(paid=1_000)

    async def scenario(committer: Committer) -> None:
        outcomes = await in_one_batch(committer, database, [topup(alice), *(place(alice, 10) for _ in range(20))])
        assert all(isinstance(outcome, Granted) for outcome in outcomes)

    play(scenario, database, tmp_path)
    assert database.batches == [True, False], "two batches, and one of placings alone need not wait for the disk"
    assert ledger.wallet(alice.wallet_id)["held"] == 200


def test_outcomes_come_in_order_of_arrival(ledger, database, tmp_path):
    alice = ledger.open_wallet(paid=25)

    async def scenario(committer: Committer) -> None:
        outcomes = await in_one_batch(committer, database, [topup(alice), *(place(alice, 10) for _ in range(4))])
        assert [type(outcome).__name__ for outcome in outcomes] == ["Granted", "Granted", "Refused", "Refused"]

    play(scenario, database, tmp_path)


def test_an_extension_and_the_end_of_its_call_may_meet_in_one_batch(ledger, database, price, tmp_path):
    alice = ledger.open_wallet(paid=1_000)
    hold = place(alice, 100)
    ledger.commit(hold)

    async def scenario(committer: Committer) -> None:
        extend = Extend(hold.request_id, alice.wallet_id, 1, 50)
        end = settle(alice, hold.request_id, price, 40)
        outcomes = await in_one_batch(committer, database, [topup(alice), extend, end])
        assert outcomes == [Granted(50, 851), Done(changed=True, available=951)]

    play(scenario, database, tmp_path)
    assert ledger.wallet(alice.wallet_id)["held"] == 0
    assert list(differences()) == []


def test_more_than_a_batch_holds_is_committed_all_the_same(ledger, database, tmp_path):
    alice = ledger.open_wallet(paid=10_000)

    async def scenario(committer: Committer) -> None:
        holds = [place(alice, 1) for _ in range(committer_module.BATCH_ITEMS + 10)]
        outcomes = await in_one_batch(committer, database, [topup(alice), *holds])
        assert all(isinstance(outcome, Granted) for outcome in outcomes)

    play(scenario, database, tmp_path)


def test_stopping_commits_what_is_queued(ledger, database, price, tmp_path):
    alice = ledger.open_wallet(paid=10_000)

    async def main() -> None:
        committer = Committer(database.open_store, Journal(tmp_path, "p-test"), pause_s=0.001)
        committer.start()
        futures = [committer.submit(settle(alice, new_name("gen"), price, 1)) for _ in range(300)]
        await committer.stop()
        assert all(isinstance(outcome, Done) for outcome in await asyncio.gather(*futures))

    asyncio.run(main())
    assert UsageRow.objects.count() == 300
    assert list(tmp_path.iterdir()) == []


def test_failpoints_stand_before_and_after_each_commit(ledger, database, price, tmp_path, monkeypatch):
    alice = ledger.open_wallet(paid=1_000)
    passed: list[str] = []
    monkeypatch.setattr(committer_module, "any_armed", lambda: True)
    monkeypatch.setattr(committer_module, "failpoint", passed.append)

    async def scenario(committer: Committer) -> None:
        await committer.submit(place(alice, 1))
        await committer.submit(settle(alice, "gen-1", price, 1))

    play(scenario, database, tmp_path)
    assert passed == [
        *("before-commit", "before-hold-commit", "after-commit", "after-hold-commit"),
        *("before-commit", "before-settle-commit", "after-commit", "after-settle-commit"),
    ]


# items that fail


def poisoned_item(kind: str, tenant: Tenant, price: PriceVersion) -> Item:
    if kind == "beyond 64 bits":
        return topup(tenant, TOO_MUCH)
    if kind == "the sum beyond 64 bits":
        return topup(tenant, TOO_MUCH - 1)
    if kind == "negative":
        return topup(tenant, -5)
    if kind == "lone surrogate":
        return settle(tenant, new_name("gen"), price, 1, app_title="\ud800")
    return settle(tenant, new_name("gen"), price, 1, app_title="\0")


@pytest.mark.parametrize(
    "kind", ["beyond 64 bits", "the sum beyond 64 bits", "negative", "lone surrogate", "NUL character"]
)
def test_an_item_that_the_database_refuses_fails_alone(ledger, database, price, tmp_path, kind):
    if kind == "NUL character" and ledger.vendor == "sqlite":
        pytest.skip("SQLite stores NUL characters")
    alice, bob = ledger.open_wallet(paid=1_000), ledger.open_wallet(paid=1_000)
    hold = place(bob, 100)
    ledger.commit(hold)
    end = settle(bob, hold.request_id, price, 40)
    poison = poisoned_item(kind, alice, price)

    async def scenario(committer: Committer) -> None:
        items = [place(alice, 1), poison, place(bob, 1), end, place(alice, 1)]
        first, failed, *others = await in_one_batch(committer, database, [topup(alice), *items])
        assert isinstance(failed, Failure)
        assert [type(outcome) for outcome in (first, *others)] == [Granted, Granted, Done, Granted]
        assert isinstance(await committer.submit(place(alice, 1)), Granted), "the connection is still good"

    play(scenario, database, tmp_path)
    assert ledger.wallet(alice.wallet_id) == {"available": 998, "held": 3, "paid": 1_001, "promo": 0, "debt": 0}
    assert ledger.wallet(bob.wallet_id)["paid"] == 950
    assert list(differences()) == []


def test_a_settlement_that_is_refused_is_kept_for_the_operator(postgres_ledger, tmp_path):
    alice = postgres_ledger.open_wallet(paid=1_000)
    refused = settle(alice, "gen-refused", postgres_ledger.price(), 1, app_title="\0")

    async def scenario(committer: Committer) -> None:
        assert isinstance(await committer.submit(refused), Failure)

    play(scenario, Database(open_store), tmp_path)
    assert b"gen-refused" in (tmp_path / "p-test.refused").read_bytes()


def test_an_item_for_a_wallet_that_does_not_exist_fails(ledger, database, tmp_path):
    alice = ledger.open_wallet(paid=1_000)

    async def scenario(committer: Committer) -> None:
        nobody = Movement("topup-nobody", "topup", -1, 5)
        failed, granted = await in_one_batch(committer, database, [topup(alice), nobody, place(alice, 1)])
        assert isinstance(failed, Failure)
        assert isinstance(granted, Granted)

    play(scenario, database, tmp_path)


# waiters


def test_a_hold_whose_waiter_is_gone_is_voided(ledger, database, tmp_path):
    alice = ledger.open_wallet(paid=1_000)
    hold = place(alice, 100)

    async def scenario(committer: Committer) -> None:
        database.gate.clear()
        waiter = committer.submit(hold)
        waiter.cancel()
        database.gate.set()
        await eventually(lambda: len(database.batches) == 2)

    play(scenario, database, tmp_path)
    assert ledger.hold_state(hold.request_id) == "voided"
    assert ledger.wallet(alice.wallet_id)["available"] == 1_000


def test_a_settlement_without_a_waiter_is_committed(ledger, database, price, tmp_path):
    alice = ledger.open_wallet(paid=1_000)

    async def scenario(committer: Committer) -> None:
        committer.submit(settle(alice, "gen-left", price, 40)).cancel()

    play(scenario, database, tmp_path)
    assert UsageRow.objects.get().charge_nano == 50


def test_outcomes_for_a_closed_loop_are_dropped(ledger, database, price, tmp_path):
    alice = ledger.open_wallet(paid=1_000)
    committers = []

    async def main() -> None:
        committer = Committer(database.open_store, Journal(tmp_path, "p-test"))
        committer.start()
        database.gate.clear()
        committer.submit(settle(alice, "gen-late", price, 40))
        committers.append(committer)

    asyncio.run(main())
    database.gate.set()
    asyncio.run(committers[0].stop())
    assert UsageRow.objects.get().charge_nano == 50


# commits whose outcome is unknown


def test_what_was_committed_unseen_is_not_done_again(ledger, database, price, tmp_path):
    alice = ledger.open_wallet(paid=1_000)
    hold, extended = place(alice, 100), place(alice, 100)
    ledger.commit(hold, extended)
    placed, refund = place(alice, 10), Movement("refund-1", "refund", alice.wallet_id, 785)

    async def scenario(committer: Committer) -> None:
        end = settle(alice, hold.request_id, price, 40)
        extend = Extend(extended.request_id, alice.wallet_id, 1, 5)
        database.breaks_after_commit = 1
        assert await committer.submit(refund) == Done(changed=False, available=15)
        database.breaks_after_commit = 1
        assert await committer.submit(extend) == Granted(5, 10)
        database.breaks_after_commit = 1
        assert await committer.submit(placed) == Granted(10, 0)
        database.breaks_after_commit = 1
        assert await committer.submit(end) == Done(changed=False, available=50)

    play(scenario, database, tmp_path)
    assert ledger.wallet(alice.wallet_id) == {"available": 50, "held": 115, "paid": 165, "promo": 0, "debt": 0}
    assert list(differences()) == []


def test_holds_that_were_granted_stay_when_the_rest_of_their_batch_breaks(ledger, database, tmp_path):
    alice = ledger.open_wallet(paid=1_000)
    holds = [place(alice, 10) for _ in range(3)]

    async def scenario(committer: Committer) -> None:
        # The batch is refused whole, then its first half is granted, then the connection breaks.
        items = [topup(alice), holds[0], holds[1], topup(alice, TOO_MUCH), holds[2]]
        database.breaks_before_batch = 4
        outcomes = await in_one_batch(committer, database, items)
        assert [type(outcome) for outcome in outcomes] == [Granted, Granted, Failure, Granted]
        await committer.submit(topup(alice))

    play(scenario, database, tmp_path)
    assert [ledger.hold_state(hold.request_id) for hold in holds] == ["open"] * 3
    assert ledger.wallet(alice.wallet_id)["held"] == 30


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
        assert isinstance(refused.exception(), LedgerUnavailable), "no hop to the thread"
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

    async def main() -> None:
        async with running(database.open_store, journal_folder(), new_name("p")) as committer:
            database.is_away = True
            committer.post(settle(alice, hold.request_id, price, 40))

    asyncio.run(main())
    assert ledger.hold_state(hold.request_id) == "open"
    assert reap().replayed == 1
    assert ledger.hold_state(hold.request_id) == "settled"
    assert ledger.wallet(alice.wallet_id)["paid"] == 950
    assert list(journal_folder().iterdir()) == []


def test_the_thread_outlives_a_bug(ledger, database, price, tmp_path, monkeypatch, caplog):
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
    short = store_module.POSTGRES_OPTIONS.replace("lock_timeout=2s", "lock_timeout=20ms")
    monkeypatch.setattr(store_module, "POSTGRES_OPTIONS", short)


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
    monkeypatch.setattr(store_module, "POSTGRES_PATIENCE_S", 0.5)
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
