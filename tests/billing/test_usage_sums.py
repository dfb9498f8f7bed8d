"""Sums of any window are what Python makes of the rows: in every zone, rolled up or not, grouped and filtered."""

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from billing.models.rollup import DAY_S, HOUR_S, LATENCY_EDGES_MS, QUARTER_S
from billing.usage_sums import ROWS, Sums, Window, call_sums, cut, label_sums, local_days
from tests.billing.calling import Calls, expected, in_window, plain
from tests.billing.ledger_database import LedgerDatabase
from tests.billing.rolling import roll_forward

START = datetime(2026, 10, 30, tzinfo=UTC)
DAYS = 5
ZONES = ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "America/Santiago", "Australia/Lord_Howe"]


@pytest.fixture
def alice(ledger: LedgerDatabase) -> Calls:
    return Calls(ledger, ledger.open_wallet(paid=10**9))


def some_calls(calls: Calls, seed: int, count: int) -> None:
    """Calls of every kind, at random moments and on the edges of slots."""
    chance = random.Random(seed)
    edges = [START + timedelta(minutes=15) * chance.randrange(DAYS * 96) for _ in range(count)]
    items = []
    for edge in edges:
        moment = edge + chance.choice(
            [timedelta(), timedelta(microseconds=-1), timedelta(seconds=chance.randrange(900))]
        )
        output = chance.randrange(100)
        items.append(
            calls.item(
                moment,
                output,
                usage={"input": chance.randrange(50), "cache_read": chance.randrange(9), "output": output},
                key_id=chance.choice([calls.tenant.key_id, 7, None]),
                model=f"vendor/m{chance.randrange(3)}",
                provider=chance.choice(["east", "west"]),
                outcome=chance.choice(["completed", "completed", "provider_failed", "client_left", "server_stopped"]),
                duration_ms=chance.choice([50, 51, 320_000, chance.randrange(5_000)]),
                first_content_ms=chance.choice([None, chance.randrange(500)]),
                savings_nano=chance.randrange(3),
                tags=chance.choice([[], ["a"], ["a", "b"]]),
                end_user=chance.choice(["", "u"]),
            )
        )
    calls.ledger.commit(*items)


@pytest.fixture
def half_rolled(alice: Calls) -> Calls:
    """Most calls are in the sums, some are not yet; a stranger has calls as well."""
    charlie = Calls(alice.ledger, alice.ledger.open_wallet(paid=10**9))
    some_calls(charlie, 3, 10)
    some_calls(alice, 1, 60)
    roll_forward()
    some_calls(alice, 2, 25)
    return alice


def random_windows(seed: int, count: int) -> list[Window]:
    """Windows of any length with any edges, some empty, some the wrong way round."""
    chance = random.Random(seed)
    moments = [
        START
        + timedelta(seconds=chance.choice([1, 900, 3_600, 86_400])) * chance.randrange(4)
        + timedelta(minutes=15) * chance.randrange(DAYS * 96)
        + timedelta(microseconds=chance.choice([0, 0, 1, 999_999]))
        for _ in range(2 * count)
    ]
    return [Window(*sorted(pair)) for pair in zip(moments[::2], moments[1::2], strict=True)]


def test_any_window_is_the_sum_of_its_rows(half_rolled):
    windows = [*random_windows(4, 40), Window(START + timedelta(days=1), START)]
    found = call_sums(half_rolled.tenant.wallet_id, windows)
    for number, window in enumerate(windows):
        rows = in_window(half_rolled.tenant, window)
        assert plain(found.get((number,), Sums())) == expected(rows), window
        answered = [row for row in rows if row.outcome not in {"provider_failed", "server_stopped"}]
        assert sum(found.get((number,), Sums()).classes) == len(answered)


def test_the_days_of_a_zone_are_the_sums_of_their_rows(half_rolled):
    for zone in ZONES:
        days = local_days(ZoneInfo(zone), START.date() - timedelta(days=1), DAYS + 2)
        found = call_sums(half_rolled.tenant.wallet_id, days, ["model"])
        for number, day in enumerate(days):
            for model in ("vendor/m0", "vendor/m1", "vendor/m2"):
                rows = in_window(half_rolled.tenant, day, lambda row, model=model: row.model == model)
                assert plain(found.get((number, model), Sums())) == expected(rows), (zone, day)


def test_sums_by_columns_and_of_chosen_calls(half_rolled):
    window = Window(START + timedelta(minutes=7), START + timedelta(days=4, minutes=8))
    wallet = half_rolled.tenant.wallet_id
    found = call_sums(wallet, [window], ["key_id", "provider"], {"outcome": "completed"})
    assert {key_id for _, key_id, _ in found} == {0, 7, half_rolled.tenant.key_id}
    for (_, key_id, provider), sums in found.items():
        rows = in_window(
            half_rolled.tenant,
            window,
            lambda row, key_id=key_id, provider=provider: (
                (row.key_id or 0) == key_id and row.provider == provider and row.outcome == "completed"
            ),
        )
        assert plain(sums) == expected(rows)


def test_only_the_measures_that_are_asked_for_are_filled(half_rolled):
    window = Window(START, START + timedelta(days=DAYS))
    wallet = half_rolled.tenant.wallet_id
    whole = call_sums(wallet, [window])[0,]
    some = call_sums(wallet, [window], measures=["errors", "charge_nano"])[0,]
    assert some == Sums(errors=whole.errors, charge_nano=whole.charge_nano)
    assert whole.errors > 0


def test_windows_may_overlap(half_rolled):
    whole = Window(START, START + timedelta(days=DAYS))
    found = call_sums(half_rolled.tenant.wallet_id, [whole, whole])
    assert found[0,] == found[1,]


def test_tags_and_end_users(half_rolled):
    window = Window(START + timedelta(minutes=7), START + timedelta(days=4, minutes=8))
    rows = in_window(half_rolled.tenant, window)
    by_tag = label_sums(half_rolled.tenant.wallet_id, window, "tag")
    for tag in ("a", "b"):
        tagged = [row for row in rows if tag in row.tags]
        assert by_tag[tag].requests == len(tagged)
        assert by_tag[tag].charge_nano == sum(row.charge_nano for row in tagged)
    assert list(by_tag) == sorted(by_tag, key=lambda tag: -by_tag[tag].charge_nano)
    by_user = label_sums(half_rolled.tenant.wallet_id, window, "end_user")
    assert {user: sums.requests for user, sums in by_user.items()} == {"u": sum(row.end_user == "u" for row in rows)}


# how windows are cut; no database


def test_a_window_is_cut_into_the_coarsest_grains():
    window = Window(datetime(2026, 1, 1, 22, 31, 5, tzinfo=UTC), datetime(2026, 1, 4, 1, 20, tzinfo=UTC))
    parts = list(cut(window))
    assert [grain for grain, _ in parts] == [ROWS, QUARTER_S, HOUR_S, DAY_S, HOUR_S, QUARTER_S, ROWS]
    assert parts[0][1].start == window.start
    assert all(before.end == after.start for (_, before), (_, after) in pairwise(parts))
    assert parts[-1][1].end == window.end


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Pacific/Chatham"])
def test_days_of_zones_with_odd_offsets_need_no_rows(zone):
    (day,) = local_days(ZoneInfo(zone), date(2026, 6, 1), 1)
    assert ROWS not in [grain for grain, _ in cut(day)]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", date(2026, 11, 1), 25),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/Santiago", date(2026, 9, 6), 23),  # its midnight does not exist
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Asia/Kolkata", date(2026, 11, 1), 24),
    ],
)
def test_a_day_is_as_long_as_it_is_there(zone, day, hours):
    before, changed, after = local_days(ZoneInfo(zone), day - timedelta(days=1), 3)
    assert changed.end - changed.start == timedelta(hours=hours)
    assert (before.end, after.start) == (changed.start, changed.end)


def test_percentiles_come_from_the_histogram():
    def sums(*durations: int) -> Sums:
        edges = [0, *LATENCY_EDGES_MS, 10**9]
        classes = [sum(lower < ms <= upper for ms in durations) for lower, upper in pairwise(edges)]
        return Sums(requests=len(durations), classes=tuple(classes))

    assert Sums().p50_ms is None
    assert sums(120).p50_ms == 150, "the end of its class, as all of it is needed"
    assert sums(*[120] * 4).p50_ms == 125
    assert sums(*[40] * 95, *[9_000] * 5).p95_ms == 50
    assert sums(*[40] * 94, *[9_000] * 6).p95_ms in range(7_500, 10_001)
    assert sums(400_000).p95_ms == 300_000, "the last class has no end"


def test_sums_can_be_added():
    one = Sums(requests=1, first_contents=1, first_content_ms=80, classes=(1, *[0] * 20))
    both = one + one + Sums(requests=1)
    assert (both.requests, both.classes[0], both.mean_first_content_ms) == (3, 2, 80)
    assert Sums().mean_first_content_ms is None
