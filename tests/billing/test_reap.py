"""The reaper: orphaned journals first, then holds that are overdue or whose process is gone."""

import psycopg
import pytest
from django.db.models.functions import Now

from billing.errors import StoreBusy, StoreUnavailable
from billing.ledger import postgres
from billing.ledger.items import Granted
from billing.ledger.journal import Journal
from billing.ledger.reap import Reaped, journal_folder, reap
from billing.ledger.verify import differences
from billing.models import GatewayProcess, UsageRow
from billing.tasks import ensure_partitions, reap_holds
from tests.billing.ledger_database import ALIVE, LedgerDatabase, Tenant, new_name, place, settle


@pytest.fixture
def alice(ledger: LedgerDatabase) -> Tenant:
    GatewayProcess.objects.create(pk=ALIVE, boot_id="elsewhere", pid=1, pid_started="", heartbeat_at=Now())
    return ledger.open_wallet(paid=1_000)


@pytest.fixture
def folder():
    """Where the processes of this installation keep their journals; left empty."""
    folder = journal_folder()
    yield folder
    for path in folder.glob("*"):
        path.unlink()


def test_only_what_is_overdue_or_orphaned_expires(ledger, alice):
    overdue, orphaned, running = (
        place(alice, 100, lifetime_s=0), place(alice, 100, process_id="p-dead"), place(alice, 100)
    )  # fmt: skip
    ledger.commit(overdue, orphaned, running)
    assert reap() == Reaped(replayed=0, expired=2)
    states = [ledger.hold_state(hold.request_id) for hold in (overdue, orphaned, running)]
    assert states == ["expired", "expired", "open"]
    assert reap() == Reaped(0, 0)


def test_more_than_one_chunk_is_reaped(ledger, alice, monkeypatch):
    monkeypatch.setattr("billing.ledger.reap.CHUNK", 2)
    ledger.commit(*(place(alice, 1, lifetime_s=0) for _ in range(5)))
    assert reap().expired == 5


def test_an_orphaned_journal_is_replayed_before_anything_expires(ledger, alice, folder):
    hold = place(alice, 100, process_id="p-dead")
    ledger.commit(hold)
    journal = Journal(folder, "p-dead")
    journal.append([settle(alice, hold.request_id, ledger.price(), 40)])
    journal.close()
    assert reap() == Reaped(replayed=1, expired=0)
    assert ledger.hold_state(hold.request_id) == "settled"
    assert not journal.path.exists()


def test_the_journal_of_a_living_process_and_its_holds_are_left_alone(ledger, alice, folder):
    hold = place(alice, 100, lifetime_s=0)
    ledger.commit(hold)
    journal = Journal(folder, ALIVE)
    journal.append([settle(alice, hold.request_id, ledger.price(), 40)])
    assert reap() == Reaped(0, 0)
    assert ledger.hold_state(hold.request_id) == "open", "its settlement is on its way"
    journal.close()
    assert reap() == Reaped(replayed=1, expired=0)


def test_a_settlement_that_stands_twice_in_an_orphan_is_charged_once(ledger, alice, folder):
    end = settle(alice, new_name("gen"), ledger.price(), 40)
    journal = Journal(folder, "p-dead")
    journal.append([end, end])
    journal.close()
    assert reap().replayed == 2
    assert ledger.wallet(alice.wallet_id)["paid"] == 950
    assert list(differences()) == []


def test_what_cannot_be_replayed_is_kept_apart_and_blocks_nothing(ledger, alice, folder):
    overdue = place(alice, 100, lifetime_s=0)
    ledger.commit(overdue)
    poisons = [
        settle(alice, "gen-too-much", ledger.price(), 2**63),
        settle(Tenant(-1, 0), "gen-nobody", ledger.price(), 1),
    ]
    journal = Journal(folder, "p-dead")
    journal.append([poisons[0], settle(alice, "gen-good", ledger.price(), 40), poisons[1]])
    journal.close()
    with journal.path.open("ab") as file:
        file.write(b"00000000 {not json}\n")
    assert reap() == Reaped(replayed=3, expired=1)
    assert [row.request_id for row in UsageRow.objects.all()] == ["gen-good"]
    refused = journal.path.with_suffix(".refused").read_bytes()
    assert all(name in refused for name in (b"gen-too-much", b"gen-nobody", b"{not json}"))
    assert b"gen-good" not in refused
    assert reap() == Reaped(0, 0)


def test_the_scheduled_jobs_do_their_work(ledger, alice):
    hold = place(alice, 100, lifetime_s=0)
    assert ledger.commit(hold) == [Granted(100, 900)]
    reap_holds()
    assert ledger.hold_state(hold.request_id) == "expired"
    ensure_partitions()


def test_the_scheduled_reaper_waits_for_a_database_that_is_away(ledger, monkeypatch, caplog):
    def away() -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr("billing.tasks.reap", away)
    reap_holds()
    assert "nothing reaped" in caplog.text


def test_a_locked_wallet_ends_the_pass_and_the_next_one_goes_on(postgres_ledger, postgres_ledger_url, monkeypatch):
    short = postgres.OPTIONS.replace("lock_timeout=2s", "lock_timeout=20ms")
    monkeypatch.setattr(postgres, "OPTIONS", short)
    alice = postgres_ledger.open_wallet(paid=1_000)
    postgres_ledger.commit(place(alice, 100, lifetime_s=0))
    with psycopg.connect(postgres_ledger_url) as other:
        other.execute("SELECT 1 FROM billing_wallet FOR UPDATE")
        with pytest.raises(StoreBusy):
            reap()
    assert reap().expired == 1
