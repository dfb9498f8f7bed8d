"""Caps of keys in the ledger: reserved with the hold, spent by its settlement, in the period in which it was placed."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db.models import F
from msgspec.structs import replace

from accounts.access import access_api_key
from accounts.models import ApiKey
from billing.actions.caps import do_set_caps
from billing.cap_periods import current_start, resets_on
from billing.errors import StoreConflict
from billing.ledger.batch import Batch
from billing.ledger.items import AuthorizationChanged, Done, Expire, Extend, Failure, Granted, NeedsCount, Refused, Void
from billing.ledger.store import run_blocking
from billing.ledger.verify import differences
from billing.models import Cap, CapUse, Hold
from billing.queries import CapStatus, caps_of_keys
from komilion.common.clock import utc_now
from komilion.common.errors import NotFound, Unprocessable
from komilion.common.money import MAX_NANO
from tests.billing.ledger_database import LedgerDatabase, Tenant, place, settle


@pytest.fixture
def alice(ledger: LedgerDatabase) -> Tenant:
    return ledger.open_wallet(paid=10_000)


def cap(tenant: Tenant, **limits: int | None) -> None:
    do_set_caps(tenant.wallet_id, tenant.key_id, limits)


def capped(tenant: Tenant, ceiling: int, minimum: int | None = None, **changes):
    """A placing by the tenant's key as the gateway makes it once it has seen the caps."""
    epoch = ApiKey.objects.get(pk=tenant.key_id).auth_epoch
    return place(tenant, ceiling, minimum, **{"key_epoch": epoch, "capped_keys": (tenant.key_id,), **changes})


def used(tenant: Tenant) -> dict[str, tuple[int, int]]:
    """Reserved and spent by the period of the cap."""
    uses = CapUse.objects.filter(cap__subject_id=tenant.key_id)
    return {use.cap.period: (use.reserved_nano, use.spent_nano) for use in uses}


def yesterday() -> None:
    """What was counted today was counted yesterday."""
    CapUse.objects.filter(cap__period="day").update(starts_on=utc_now().date() - timedelta(days=1))
    for hold in Hold.objects.all():
        hold.caps = [
            [cap_id, (date.fromisoformat(start) - timedelta(days=1)).isoformat(), amount]
            if start != "1970-01-01"
            else [cap_id, start, amount]
            for cap_id, start, amount in hold.caps
        ]
        hold.save()


# what is granted


def test_every_cap_of_the_key_reserves_what_the_hold_holds(ledger, alice):
    cap(alice, day=1_000, month=2_000, total=3_000)
    (granted,) = ledger.commit(capped(alice, 400))
    today = utc_now().date()
    starts = [today.isoformat(), today.replace(day=1).isoformat(), "1970-01-01"]
    assert [entry[1:] for entry in granted.caps] == [(start, 400) for start in starts]
    assert (granted.amount, granted.available, granted.is_capped) == (400, 600, True)
    assert used(alice) == {"day": (400, 0), "month": (400, 0), "total": (400, 0)}
    assert list(differences()) == []


def test_the_tightest_cap_bounds_the_hold(ledger, alice):
    cap(alice, day=1_000, total=300)
    (granted,) = ledger.commit(capped(alice, 400, 100))
    assert (granted.amount, granted.available, granted.is_capped) == (300, 0, True)
    (refused,) = ledger.commit(capped(alice, 400, 100))
    assert (refused.available, refused.needed) == (0, 100)
    assert (refused.cap.period, refused.cap.limit, refused.cap.reserved, refused.cap.spent) == ("total", 300, 300, 0)


def test_the_wallet_refuses_before_a_cap_does(ledger, alice):
    cap(alice, day=5)
    assert ledger.commit(capped(alice, 20_000, 15_000)) == [Refused(10_000, 15_000)]
    (granted,) = ledger.commit(capped(alice, 20_000, 3))
    assert granted.amount == 5
    assert ledger.commit(capped(alice, 0, 0)) == [replace(granted, amount=0, caps=[(*granted.caps[0][:2], 0)])]


def test_a_wallet_that_has_less_than_the_cap_is_what_bounds(ledger, alice):
    cap(alice, day=50_000)
    (granted,) = ledger.commit(capped(alice, 20_000, 3))
    assert (granted.amount, granted.available, granted.is_capped) == (10_000, 0, False)


def test_a_byte_bound_takes_no_more_than_a_tenth_of_a_cap_and_is_refused_by_none(ledger, alice):
    cap(alice, day=1_000, total=5_000)
    assert ledger.commit(capped(alice, 101, is_byte_bound=True)) == [NeedsCount()]
    assert isinstance(ledger.commit(capped(alice, 100, is_byte_bound=True))[0], Granted)
    ledger.commit(capped(alice, 850))
    assert ledger.commit(capped(alice, 60, 10, is_byte_bound=True)) == [NeedsCount()], "the cap would lower it"
    assert isinstance(ledger.commit(capped(alice, 50, 10, is_byte_bound=True))[0], Granted)
    assert ledger.commit(capped(alice, 50, is_byte_bound=True)) == [NeedsCount()], "the cap would refuse it"


def test_a_cap_of_the_key_that_made_the_key_counts_too(ledger, alice):
    cap(alice, day=500)
    made = ApiKey.objects.create(
        organization_id=alice.wallet_id,
        membership=ApiKey.objects.get(pk=alice.key_id).membership,
        parent_id=alice.key_id,
        name="made",
        key_hash=b"made",
    )
    caller = access_api_key(b"made")
    assert caller is not None
    assert caller.capped_keys == (alice.key_id,)
    hold = capped(Tenant(alice.wallet_id, made.pk), 300, capped_keys=caller.capped_keys)
    assert isinstance(ledger.commit(hold)[0], Granted)
    (refused,) = ledger.commit(capped(alice, 300))
    assert refused.cap.key_id == alice.key_id
    do_set_caps(alice.wallet_id, made.pk, {"month": 50})
    caller = access_api_key(b"made")
    assert caller is not None
    assert caller.capped_keys == (made.pk, alice.key_id)
    (refused,) = ledger.commit(capped(Tenant(alice.wallet_id, made.pk), 60, capped_keys=caller.capped_keys))
    assert (refused.cap.key_id, refused.cap.period) == (made.pk, "month")
    epoch = caller.key_epoch
    cap(alice, day=600)
    assert ApiKey.objects.get(pk=made.pk).auth_epoch == epoch + 1, "what its maker may spend changed"


def test_a_caller_who_does_not_know_of_a_new_cap_places_nothing(ledger, alice):
    hold = place(alice, 100)
    cap(alice, day=50)
    assert ledger.commit(hold) == [AuthorizationChanged()]
    caller = access_api_key(bytes(ApiKey.objects.get(pk=alice.key_id).key_hash))
    assert caller is not None
    assert (caller.capped_keys, caller.key_epoch) == ((alice.key_id,), 1)


def test_the_same_request_reserves_once(ledger, alice):
    cap(alice, day=1_000)
    hold = capped(alice, 100)
    (granted,) = run_blocking(Batch(ledger.open_store(), [hold]).run())
    with pytest.raises(StoreConflict):
        run_blocking(Batch(ledger.open_store(), [hold]).run())
    assert ledger.commit(hold) == [granted]
    assert used(alice) == {"day": (100, 0)}


def test_two_first_calls_of_a_period_in_one_batch(ledger, alice):
    cap(alice, day=250)
    outcomes = ledger.commit(*(capped(alice, 100) for _ in range(3)))
    assert [type(outcome) for outcome in outcomes] == [Granted, Granted, Refused]
    assert used(alice) == {"day": (200, 0)}


# how it ends


def test_a_settlement_spends_what_was_charged_and_gives_the_rest_back(ledger, alice):
    cap(alice, day=1_000)
    hold = capped(alice, 400)
    (granted,) = ledger.commit(hold)
    end = replace(settle(alice, hold.request_id, ledger.price(), 40), caps=granted.caps)
    assert ledger.commit(end) == [Done(True, 9_950)]
    assert ledger.commit(end) == [Done(False, 9_950)]
    assert used(alice) == {"day": (0, 50)}
    assert list(differences()) == []


def test_an_overrun_is_spent_in_full_and_leaves_nothing(ledger, alice):
    cap(alice, day=400)
    hold = capped(alice, 400)
    ledger.commit(hold)
    ledger.commit(settle(alice, hold.request_id, ledger.price(), 800))
    assert used(alice) == {"day": (0, 1_000)}
    (refused,) = ledger.commit(capped(alice, 1))
    assert (refused.available, refused.cap.spent) == (0, 1_000)


@pytest.mark.parametrize("end", ["void", "expire"])
def test_a_hold_that_ends_without_a_charge_gives_all_back(ledger, alice, end):
    cap(alice, day=400)
    hold = capped(alice, 400)
    ledger.commit(hold)
    release = (
        Void(hold.request_id, alice.wallet_id)
        if end == "void"
        else Expire(hold.request_id, alice.wallet_id, only_if_due=False, process_gone=False)
    )
    ledger.commit(release)
    assert used(alice) == {"day": (0, 0)}
    ledger.commit(settle(alice, hold.request_id, ledger.price(), 40))
    assert used(alice) == {"day": (0, 50)}, "a settlement that comes late charges in full"
    assert list(differences()) == []


def test_a_settlement_whose_hold_was_lost_books_the_caps_it_brings(ledger, alice):
    cap(alice, day=400, total=900)
    today = utc_now().date().isoformat()
    day, total = Cap.objects.order_by("pk").values_list("pk", flat=True)
    caps = [(day, today, 77), (total, "1970-01-01", 77), (-1, today, 77)]
    ledger.commit(replace(settle(alice, "gen-lost", ledger.price(), 40, held=77), caps=caps))
    assert used(alice) == {"day": (0, 50), "total": (0, 50)}
    ledger.commit(replace(settle(alice, "gen-lost-too", ledger.price(), 40, held=77), caps=caps))
    assert used(alice) == {"day": (0, 100), "total": (0, 100)}
    assert list(differences()) == []


def test_steps_of_a_call_that_crosses_midnight_touch_the_day_on_which_it_began(ledger, alice):
    cap(alice, day=500)
    hold = capped(alice, 300)
    ledger.commit(hold)
    yesterday()
    caps = [tuple(entry) for entry in Hold.objects.get().caps]
    (granted,) = ledger.commit(Extend(hold.request_id, alice.wallet_id, 1, 150, caps))
    assert (granted.amount, granted.available) == (150, 50), "what yesterday's cap leaves"
    assert [entry[2] for entry in granted.caps] == [450]
    (fresh,) = ledger.commit(capped(alice, 500))
    assert fresh.amount == 500, "today's is untouched"
    ledger.commit(replace(settle(alice, hold.request_id, ledger.price(), 40), caps=granted.caps))
    uses = {use.starts_on: (use.reserved_nano, use.spent_nano) for use in CapUse.objects.all()}
    today = utc_now().date()
    assert uses == {today - timedelta(days=1): (0, 50), today: (500, 0)}
    assert list(differences()) == []


# extensions


def test_an_extension_gets_what_the_caps_leave_then_nothing(ledger, alice):
    cap(alice, day=500)
    hold = capped(alice, 300)
    (granted,) = ledger.commit(hold)
    (more,) = ledger.commit(Extend(hold.request_id, alice.wallet_id, 1, 400, granted.caps))
    assert (more.amount, more.available) == (200, 0)
    assert ledger.commit(Extend(hold.request_id, alice.wallet_id, 1, 400, granted.caps)) == [more], "the same again"
    (refused,) = ledger.commit(Extend(hold.request_id, alice.wallet_id, 2, 400, more.caps))
    assert (refused.available, refused.cap.period) == (0, "day")
    assert used(alice) == {"day": (500, 0)}


def test_an_extension_that_the_wallet_refuses_names_no_cap(ledger, alice):
    cap(alice, day=50_000)
    hold = capped(alice, 10_000)
    (granted,) = ledger.commit(hold)
    assert ledger.commit(Extend(hold.request_id, alice.wallet_id, 1, 5, granted.caps)) == [Refused(0, 5)]


def test_an_extension_after_an_expiry_reserves_anew(ledger, alice):
    cap(alice, day=1_000)
    hold = capped(alice, 300)
    (granted,) = ledger.commit(hold)
    ledger.commit(Expire(hold.request_id, alice.wallet_id, only_if_due=False, process_gone=False))
    (again,) = ledger.commit(Extend(hold.request_id, alice.wallet_id, 1, 100, granted.caps))
    assert [entry[2] for entry in again.caps] == [100]
    assert used(alice) == {"day": (100, 0)}
    assert list(differences()) == []


# setting caps


def test_a_limit_may_change_while_its_use_stays(ledger, alice):
    cap(alice, day=1_000)
    hold = capped(alice, 400)
    ledger.commit(hold)
    cap(alice, day=300)
    (refused,) = ledger.commit(capped(alice, 1))
    assert (refused.cap.limit, refused.cap.reserved) == (300, 400)
    cap(alice, day=900)
    assert ledger.commit(capped(alice, 500))[0].amount == 500
    assert list(differences()) == []


def test_a_cap_that_is_removed_is_forgotten_while_its_calls_go_on(ledger, alice):
    cap(alice, day=1_000, month=700)
    hold, other = capped(alice, 400), capped(alice, 100)
    granted, _ = ledger.commit(hold, other)
    cap(alice, day=None, month=None)
    assert ApiKey.objects.get(pk=alice.key_id).has_caps is False
    more = ledger.commit(Extend(hold.request_id, alice.wallet_id, 1, 5_000, granted.caps))[0]
    assert (more.amount, more.is_capped) == (5_000, False)
    ledger.commit(replace(settle(alice, hold.request_id, ledger.price(), 40), caps=more.caps))
    ledger.commit(Void(other.request_id, alice.wallet_id))
    ledger.commit(replace(settle(alice, "gen-lost", ledger.price(), 40), caps=granted.caps))
    assert CapUse.objects.count() == 0
    assert list(differences()) == []
    cap(alice, day=1_000)
    assert caps_of_keys(alice.wallet_id, [alice.key_id])[alice.key_id]["day"].spent_nano == 0


def test_caps_are_set_for_keys_of_the_own_organization_only(ledger, alice):
    charlie = ledger.open_wallet()
    with pytest.raises(NotFound):
        do_set_caps(charlie.wallet_id, alice.key_id, {"day": 1})
    with pytest.raises(NotFound):
        do_set_caps(-1, alice.key_id, {"day": 1})
    assert caps_of_keys(charlie.wallet_id, [alice.key_id]) == {}


@pytest.mark.parametrize("limits", [{"week": 1}, {"day": -1}, {"day": MAX_NANO + 1}])
def test_what_is_no_cap_is_refused(ledger, alice, limits):
    with pytest.raises(Unprocessable):
        do_set_caps(alice.wallet_id, alice.key_id, limits)


def test_what_of_a_cap_is_used_and_when_it_begins_anew(ledger, alice):
    cap(alice, day=1_000, month=2_000, total=3_000)
    first = capped(alice, 400)
    ledger.commit(first, capped(alice, 100))
    ledger.commit(settle(alice, first.request_id, ledger.price(), 40))
    today = utc_now().date()
    caps = caps_of_keys(alice.wallet_id, [alice.key_id])[alice.key_id]
    tomorrow = datetime.combine(today + timedelta(days=1), datetime.min.time(), UTC)
    assert caps["day"] == CapStatus(1_000, 50, 100, tomorrow)
    assert caps["month"].resets_at is not None
    assert caps["month"].resets_at.day == 1
    assert caps["total"] == CapStatus(3_000, 50, 100, None)
    yesterday()
    assert caps_of_keys(alice.wallet_id, [alice.key_id])[alice.key_id]["day"].spent_nano == 0


@pytest.mark.parametrize(
    ("period", "today", "start", "end"),
    [
        ("day", date(2027, 12, 31), date(2027, 12, 31), date(2028, 1, 1)),
        ("month", date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1)),
        ("month", date(2027, 12, 31), date(2027, 12, 1), date(2028, 1, 1)),
        ("total", date(2027, 12, 31), date(1970, 1, 1), None),
    ],
)
def test_periods_begin_and_end_by_the_calendar(period, today, start, end):
    assert current_start(period, today) == start
    assert resets_on(period, start) == end


def test_what_a_cap_cannot_count_is_refused(ledger, alice):
    cap(alice, day=1_000)
    hold = capped(alice, 100)
    (granted,) = ledger.commit(hold)
    CapUse.objects.update(spent_nano=MAX_NANO)
    (outcome,) = ledger.commit(replace(settle(alice, hold.request_id, ledger.price(), 40), caps=granted.caps))
    assert isinstance(outcome, Failure)
    assert CapUse.objects.get().spent_nano == MAX_NANO


# the audit


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"reserved_nano": F("reserved_nano") + 1}, "reserved is 0.000000101, derived 0.0000001"),
        ({"spent_nano": F("spent_nano") - 1}, "spent is 0.000000049, derived 0.00000005"),
        ({"starts_on": date(2001, 1, 1)}, "reserved is 0.0000001, derived 0.00"),
    ],
)
def test_the_audit_finds_a_use_that_no_call_explains(ledger, alice, change, finding):
    cap(alice, day=1_000)
    first = capped(alice, 400)
    ledger.commit(first, capped(alice, 100))
    ledger.commit(settle(alice, first.request_id, ledger.price(), 40))
    assert list(differences()) == []
    CapUse.objects.update(**change)
    assert finding in "\n".join(differences())


def test_the_audit_finds_a_hold_that_counts_where_nothing_is(ledger, alice):
    cap(alice, day=1_000)
    ledger.commit(capped(alice, 400))
    bob = ledger.open_wallet()
    Cap.objects.update(wallet_id=bob.wallet_id)
    (finding,) = differences()
    assert "its hold counts on cap" in finding
    Cap.objects.update(wallet_id=alice.wallet_id)
    CapUse.objects.all().delete()
    assert "its hold counts on cap" in "\n".join(differences())
