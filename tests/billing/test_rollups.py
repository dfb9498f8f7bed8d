"""The sums of usage rows equal the ledger: nothing missed, nothing twice, whatever came late or at the same time."""

import threading
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction

from billing.actions import rollups
from billing.actions.rollups import do_rebuild, do_roll_forward
from billing.ledger.items import Settle
from billing.models import LabelSum, UsageMark, UsageRow, UsageSum
from billing.models.rollup import DAY_S, GRAINS_S, HOUR_S, QUARTER_S
from billing.rollups import Days, days_with_usage, differences, entries_behind, filled
from billing.tasks import recheck_usage, roll_up_usage
from billing.usage_sums import Sums, Window, call_sums
from komilion.common.clock import utc_now
from tests.billing.calling import Calls
from tests.billing.ledger_database import LedgerDatabase, Tenant, new_name
from tests.billing.rolling import roll_forward

NOON = datetime(2026, 3, 4, 12, 7, 30, 123_456, tzinfo=UTC)
DAY = Days(NOON.date(), NOON.date())


@pytest.fixture
def alice(ledger: LedgerDatabase) -> Calls:
    return Calls(ledger, ledger.open_wallet(paid=10**9))


@pytest.fixture
def bob(ledger: LedgerDatabase) -> Calls:
    return Calls(ledger, ledger.open_wallet(paid=10**9))


def slots(calls: Calls, grain_s: int) -> dict[datetime, int]:
    """Requests by slot of one grain."""
    rows = UsageSum.objects.filter(organization_id=calls.tenant.wallet_id, grain_s=grain_s)
    found: dict[datetime, int] = {}
    for row in rows:
        found[row.starts_at] = found.get(row.starts_at, 0) + row.requests
    return found


def requests_of(tenant: Tenant) -> int:
    """How many calls the sums and what is behind their mark hold together."""
    window = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))
    return call_sums(tenant.wallet_id, [window]).get((0,), Sums()).requests


def assert_right(days: Days = DAY) -> None:
    assert list(differences(days)) == []
    assert entries_behind() == 0


def test_a_call_is_in_its_quarter_hour_its_hour_and_its_day(alice):
    alice.add(NOON, 40, usage={"input": 7, "cache_read": 5, "output": 40}, duration_ms=800, first_content_ms=90)
    assert roll_forward() > 0
    midnight = NOON.replace(hour=0, minute=0, second=0, microsecond=0)
    hour = midnight.replace(hour=12)
    assert [slots(alice, grain) for grain in GRAINS_S] == [{hour: 1}, {hour: 1}, {midnight: 1}]
    row = UsageSum.objects.get(grain_s=HOUR_S)
    assert (row.input_tokens, row.cached_tokens, row.output_tokens) == (12, 5, 40)
    assert (row.duration_ms, row.first_content_ms, row.first_contents) == (800, 90, 1)
    assert (row.within_1000_ms, row.within_750_ms, row.longer) == (1, 0, 0)


def test_the_sums_equal_the_ledger_for_each_organization_and_day(alice, bob):
    def call(minute: int) -> Settle:
        calls = alice if minute % 3 else bob
        return calls.item(NOON + timedelta(minutes=minute), 1 + minute % 50, model=f"vendor/m{minute % 4}")

    alice.ledger.commit(*map(call, range(0, 3_000, 17)))
    roll_forward()
    assert_right(Days(NOON.date(), NOON.date() + timedelta(days=3)))
    assert requests_of(alice.tenant) + requests_of(bob.tenant) == UsageRow.objects.count() == 177


def test_tags_and_end_users_are_counted_apart(alice):
    alice.add(NOON, tags=["nightly", "team"], end_user="u-1")
    alice.add(NOON, tags=["nightly"])
    roll_forward()
    found = LabelSum.objects.filter(grain_s=DAY_S).values_list("kind", "label", "requests")
    assert sorted(found) == [("end_user", "u-1", 1), ("tag", "nightly", 2), ("tag", "team", 1)]


def test_running_again_adds_nothing(alice):
    alice.add(NOON)
    roll_forward()
    before = list(UsageSum.objects.order_by("grain_s").values())
    assert roll_forward() == 0
    assert list(UsageSum.objects.order_by("grain_s").values()) == before


def test_a_call_that_is_settled_days_later_is_added_to_its_old_hour(alice):
    alice.add(NOON)
    roll_forward()
    alice.add(NOON - timedelta(days=9), 3)  # as when a journal is replayed after an outage
    alice.add(NOON + timedelta(minutes=1), 3)
    roll_forward()
    assert slots(alice, HOUR_S) == {
        NOON.replace(minute=0, second=0, microsecond=0): 2,
        (NOON - timedelta(days=9)).replace(minute=0, second=0, microsecond=0): 1,
    }
    assert_right(Days(NOON.date() - timedelta(days=9), NOON.date()))


def test_many_entries_are_taken_in_small_steps(alice, monkeypatch):
    roll_forward()  # past what other tests made of the ids
    monkeypatch.setattr(rollups, "ENTRIES_A_STEP", 3)
    monkeypatch.setattr(rollups, "SQLITE_ENTRIES_A_STEP", 3)
    alice.ledger.commit(*(alice.item(NOON + timedelta(seconds=second)) for second in range(10)))
    roll_forward()
    assert slots(alice, QUARTER_S) == {NOON.replace(minute=0, second=0, microsecond=0): 10}
    assert_right()


def test_entries_that_are_no_calls_are_passed_over(ledger):
    tenant = ledger.open_wallet(paid=100, promo=5)
    assert roll_forward() >= 2
    assert (requests_of(tenant), UsageSum.objects.count(), entries_behind()) == (0, 0, 0)


# what is being written meanwhile


def test_the_first_entry_of_a_new_database_is_not_taken_for_passed(postgres_ledger):
    postgres_ledger.execute("ALTER SEQUENCE billing_ledgerentry_id_seq RESTART")
    roll_forward()
    assert UsageMark.objects.get().entry_id == 0
    calls = Calls(postgres_ledger, postgres_ledger.open_wallet())
    calls.add(NOON)  # its entry has the id 1
    roll_forward()
    assert slots(calls, DAY_S) == {NOON.replace(hour=0, minute=0, second=0, microsecond=0): 1}


class Straggler:
    """A transaction of the ledger that took an entry's id and commits only after others have."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        parameters = connection.get_connection_params()
        parameters = {name: parameters[name] for name in ("dbname", "host", "port", "user") if name in parameters}
        self._connection = psycopg.connect(**parameters)
        self._connection.execute(
            "SELECT 1 FROM billing_wallet WHERE organization_id = %s FOR NO KEY UPDATE", [tenant.wallet_id]
        )
        row = self._connection.execute("SELECT nextval('billing_ledgerentry_id_seq')").fetchone()
        assert row is not None
        self.entry_id = row[0]

    def commit(self, template: str) -> None:
        """Write the entry and, as a copy of another call's, the usage row."""
        request_id = new_name("gen-late")
        self._connection.execute(
            "INSERT INTO billing_ledgerentry (id, reference, kind, ordinal, wallet_id, amount_nano, memo, created_at)"
            " SELECT %s, %s, kind, 0, %s, amount_nano, '', now() FROM billing_ledgerentry WHERE reference = %s",
            [self.entry_id, request_id, self._tenant.wallet_id, template],
        )
        names = [field.column for field in UsageRow._meta.local_fields if field.column]
        values = ["%s" if name in {"request_id", "organization_id"} else name for name in names]
        params = [request_id if name == "request_id" else self._tenant.wallet_id for name in names]
        params = [param for param, value in zip(params, values, strict=True) if value == "%s"]
        self._connection.execute(
            f"INSERT INTO billing_usagerow ({', '.join(names)}) SELECT {', '.join(values)} FROM billing_usagerow"
            " WHERE request_id = %s",
            [*params, template],
        )
        self._connection.commit()
        self._connection.close()


def test_the_mark_waits_for_a_transaction_with_a_lower_entry_id(postgres_ledger):
    alice, bob = (Calls(postgres_ledger, postgres_ledger.open_wallet(paid=10**9)) for _ in range(2))
    roll_forward()
    straggler = Straggler(alice.tenant)
    template = bob.add(NOON)  # a higher id, committed earlier
    do_roll_forward()
    assert UsageMark.objects.get().entry_id < straggler.entry_id
    assert requests_of(bob.tenant) == 1, "a page shows the call all the same"
    straggler.commit(template)
    assert requests_of(alice.tenant) == 1
    roll_forward()
    assert [sum(slots(calls, DAY_S).values()) for calls in (alice, bob)] == [1, 1]
    assert UsageMark.objects.get().entry_id > straggler.entry_id
    assert (requests_of(alice.tenant), requests_of(bob.tenant)) == (1, 1)
    assert_right()


def test_a_look_that_is_waited_for_is_not_put_off_by_newer_calls(postgres_ledger):
    alice, bob = (Calls(postgres_ledger, postgres_ledger.open_wallet(paid=10**9)) for _ in range(2))
    roll_forward()
    first = Straggler(alice.tenant)
    template = bob.add(NOON)
    do_roll_forward()
    seen = UsageMark.objects.get().seen_entry_id
    bob.add(NOON)
    do_roll_forward()
    assert UsageMark.objects.get().seen_entry_id == seen
    first.commit(template)
    roll_forward()
    assert entries_behind() == 0


def test_a_mark_from_another_server_does_not_stop_the_sums(postgres_ledger):
    calls = Calls(postgres_ledger, postgres_ledger.open_wallet())
    UsageMark.objects.create(pk=1, seen_entry_id=10**6, seen_before_xid=10**12)  # a dump of a busier one was restored
    calls.add(NOON)
    roll_forward()
    assert entries_behind() == 0
    assert_right()


def test_a_worker_leaves_the_work_to_the_one_that_is_at_it(postgres_ledger):
    calls = Calls(postgres_ledger, postgres_ledger.open_wallet())
    roll_forward()
    calls.add(NOON)
    passed: list[int] = []

    def work() -> None:
        passed.append(do_roll_forward())
        connections.close_all()

    with transaction.atomic():
        UsageMark.objects.select_for_update().get(pk=1)
        other = threading.Thread(target=work)
        other.start()
        other.join(10)
    assert passed == [0]
    assert roll_forward() == 1


def test_two_workers_and_a_settling_server_at_once_lose_and_double_nothing(alice, bob):
    failures: list[BaseException] = []
    done = threading.Event()

    def run(work) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - told below
                failures.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    def roll() -> None:
        while not done.is_set():
            do_roll_forward()

    workers = [run(roll), run(roll)]
    for number in range(10):
        alice.ledger.commit(*(calls.item(NOON + timedelta(minutes=number)) for calls in (alice, bob, alice)))
    done.set()
    for worker in workers:
        worker.join(30)
    assert failures == []
    roll_forward()
    roll_forward()
    assert (requests_of(alice.tenant), requests_of(bob.tenant)) == (20, 10)
    assert_right()


# building again

DAMAGES = {
    "a sum raised": "UPDATE billing_usagesum SET charge_nano = charge_nano + 1 WHERE grain_s = {grain_s}",
    "requests lost": "UPDATE billing_usagesum SET requests = requests - 1 WHERE grain_s = {grain_s}",
    "sums gone": "DELETE FROM billing_usagesum WHERE grain_s = {grain_s}",
    "sums of another model": "UPDATE billing_usagesum SET model = 'x' WHERE grain_s = {grain_s}",
    "tags gone": "DELETE FROM billing_labelsum WHERE grain_s = {grain_s}",
    "a tag raised": "UPDATE billing_labelsum SET charge_nano = charge_nano + 1 WHERE grain_s = {grain_s}",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_and_repaired_once(alice, damage):
    alice.ledger.commit(*(alice.item(NOON + timedelta(minutes=minute), tags=["a"]) for minute in (0, 20, 70)))
    roll_forward()
    before = list(UsageSum.objects.order_by("grain_s", "starts_at").values())
    for grain_s in GRAINS_S:
        alice.ledger.execute(damage.format(grain_s=grain_s))
        assert list(differences(DAY)) != []
        assert do_rebuild(DAY) > 0
    assert_right()
    assert list(UsageSum.objects.order_by("grain_s", "starts_at").values()) == before
    assert do_rebuild(DAY) == 0


def test_building_again_leaves_to_the_mark_what_is_behind_it(alice):
    alice.add(NOON)
    roll_forward()
    alice.add(NOON, 30)
    alice.ledger.execute("DELETE FROM billing_usagesum")
    do_rebuild(DAY)
    assert sum(slots(alice, DAY_S).values()) == 1
    assert requests_of(alice.tenant) == 2
    roll_forward()
    assert requests_of(alice.tenant) == 2
    assert_right()


def test_a_charge_that_differs_from_its_entry_is_named(alice):
    request_id = alice.add(NOON)
    roll_forward()
    alice.ledger.execute("UPDATE billing_ledgerentry SET amount_nano = 5 WHERE reference = %s", [request_id])
    assert list(differences(DAY)) == [
        f"organization {alice.tenant.wallet_id}, 2026-03-04: sums say 0.000000013, the ledger 0.000000005"
    ]


# commands and jobs


def test_the_command_rolls_up_repairs_and_verifies(alice, capsys):
    alice.add(utc_now())
    today = utc_now().date().isoformat()
    call_command("usage", "verify")
    roll_forward()
    call_command("usage", "rollup")
    alice.ledger.execute("UPDATE billing_usagesum SET cost_nano = 0 WHERE grain_s = 86400")
    with pytest.raises(CommandError, match=r"1 differences; manage\.py usage rollup --from DAY repairs them"):
        call_command("usage", "verify")
    call_command("usage", "rollup", "--from", today, "--to", today)
    call_command("usage", "verify", "--from", today)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "no difference, 2 entries behind"
    assert lines[1] == "0 ledger entries added, 0 sums repaired, 0 entries behind"
    assert lines[2:] == [
        f"billing_usagesum, 86400 s from {today} 00:00: not the sum of its rows",
        "0 ledger entries added, 1 sums repaired, 0 entries behind",
        "no difference, 0 entries behind",
    ]


def test_days_without_calls_are_skipped(alice):
    alice.add(utc_now())
    roll_forward()
    first = utc_now().date() - timedelta(days=3)
    assert [start.date() for start, _ in filled(Days(first, utc_now().date()))] == [utc_now().date()]


def test_without_any_call_there_is_nothing_to_compare(ledger, capsys):
    assert days_with_usage() is None
    call_command("usage", "verify")
    assert capsys.readouterr().out == "no difference, 0 entries behind\n"


@pytest.mark.parametrize(
    ("days", "message"),
    [(["--to", "2026-03-04"], "--to needs --from"), (["--from", "2026-03-05", "--to", "2026-03-04"], "is after --to")],
)
def test_days_that_make_no_sense_are_refused(ledger, days, message):
    with pytest.raises(CommandError, match=message):
        call_command("usage", "rollup", *days)


def test_the_nightly_job_repairs_and_raises_an_alarm(alice, caplog, settings):
    settings.USAGE_RECHECK_DAYS = 2
    alice.add(utc_now())
    roll_up_usage()
    roll_forward()
    recheck_usage()
    assert caplog.records == []
    alice.ledger.execute("UPDATE billing_usagesum SET requests = 9 WHERE grain_s = 900")
    recheck_usage()
    assert [record.alarm for record in caplog.records] == ["usage_sums_repaired"]
    today = utc_now().date()
    assert_right(Days(today - timedelta(days=1), today))


def test_sums_have_names(alice):
    alice.add(NOON, tags=["a"])
    roll_forward()
    wallet = alice.tenant.wallet_id
    assert str(UsageSum.objects.get(grain_s=HOUR_S)) == (
        f"usage of organization {wallet} in 3600 s from 2026-03-04 12:00"
    )
    assert str(LabelSum.objects.get(grain_s=HOUR_S)) == f"tag a of organization {wallet} from 2026-03-04 12:00"
    assert str(UsageMark.objects.get()).startswith("sums up to ledger entry ")
    assert [start.date() for start, _ in DAY] == [date(2026, 3, 4)]
