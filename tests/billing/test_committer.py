"""The committer: batches, items that fail alone, waiters that leave, and commits whose outcome nobody knows."""

import asyncio

import pytest

from billing.ledger import committer as committer_module
from billing.ledger.committer import Committer
from billing.ledger.items import Done, Extend, Failure, Granted, Item, Movement
from billing.ledger.journal import Journal
from billing.ledger.open_store import open_store
from billing.ledger.verify import differences
from billing.models import LedgerEntry, UsageRow
from billing.prices import PriceVersion
from tests.async_waiting import eventually
from tests.billing.committing import Database, in_one_batch, play, topup
from tests.billing.ledger_database import Tenant, new_name, place, settle

TOO_MUCH = 2**63

pytestmark = pytest.mark.usefixtures("patient_committer")


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


def test_a_loop_that_ends_without_a_stop_leaves_its_settlements_in_the_journal(ledger, database, price, tmp_path):
    alice = ledger.open_wallet(paid=1_000)

    async def main() -> None:
        committer = Committer(database.open_store, Journal(tmp_path, "p-test"))
        committer.start()
        database.gate.clear()
        committer.submit(settle(alice, "gen-1", price, 40))
        await eventually(database.is_waiting.is_set)
        committer.submit(settle(alice, "gen-2", price, 40))

    asyncio.run(main())
    assert (tmp_path / "p-test.jsonl").read_bytes().count(b'"settle"') == 2
    database.gate.set()

    async def scenario(committer: Committer) -> None:
        await eventually(lambda: committer.is_accepting)

    play(scenario, database, tmp_path)
    assert sorted(row.request_id for row in UsageRow.objects.all()) == ["gen-1", "gen-2"]
    assert ledger.wallet(alice.wallet_id)["paid"] == 900


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


def test_what_the_holds_do_not_show_the_unique_keys_do(ledger, database, price, tmp_path):
    """Somebody lost the hold of a settled call, and a request comes twice: nothing is charged or held again."""
    alice = ledger.open_wallet(paid=1_000)
    settled, open_hold = place(alice, 100), place(alice, 10)
    ledger.commit(settled, open_hold)
    ledger.commit(settle(alice, settled.request_id, price, 40))
    ledger.execute("DELETE FROM billing_hold WHERE request_id = %s", [settled.request_id])

    async def scenario(committer: Committer) -> None:
        again = settle(alice, settled.request_id, price, 40)
        assert await committer.submit(again) == Done(changed=False, available=940)
        outcomes = await in_one_batch(committer, database, [topup(alice), open_hold, place(alice, 5)])
        assert outcomes == [Granted(10, 941), Granted(5, 936)]

    play(scenario, database, tmp_path)
    assert ledger.wallet(alice.wallet_id) == {"available": 936, "held": 15, "paid": 951, "promo": 0, "debt": 0}
    assert LedgerEntry.objects.filter(kind="settle").count() == UsageRow.objects.count() == 1


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
