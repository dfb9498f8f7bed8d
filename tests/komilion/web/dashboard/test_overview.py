"""`/dashboard`: the first steps, then what was spent, on what, by whom, compared with before."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from accounts.models import User
from billing.ledger.items import Movement
from komilion.common.clock import utc_now
from komilion.common.refusals import Refusal, of_organization, remember
from komilion.web.dashboard.charts import HEIGHT, MOST_SERIES, REST, WIDTH, bars, ceiling, stacked_bars
from tests.billing.calling import Calls
from tests.billing.ledger_database import new_name, place
from tests.billing.rolling import roll_forward
from tests.komilion.web.dashboard.reading import link_of, open_page, tables_of, text_of
from tests.people import Person, new_member

NOON = datetime(2026, 6, 17, 12, 0, tzinfo=UTC)  # a Wednesday


def in_zone(person: Person, zone: str) -> None:
    User.objects.filter(email=person.email).update(time_zone=zone)


# the first steps


def test_without_a_request_the_page_teaches_how_to_make_one(alice: Person):
    html = open_page(alice, "/dashboard")
    assert "Your first request" in text_of(html)
    assert link_of(html, "Make a key") == "/dashboard/keys/new"
    assert "Waiting for your first request" in html
    assert 'hx-trigger="every 2s"' in html
    assert link_of(html, "Check again") == "/dashboard?arrived=1"


def test_who_may_not_make_keys_is_told_who_may(alice: Person, bob: Person):
    assert "Your role (viewer) cannot make keys" in text_of(open_page(bob, "/dashboard"))
    alice.key()
    assert "There is one." in text_of(open_page(bob, "/dashboard"))


def test_an_empty_wallet_is_said_before_a_call_is_refused(alice: Person, bob: Person, calls: Calls):
    assert link_of(open_page(alice, "/dashboard"), "Top it up") == "/dashboard/wallet"
    assert "An owner can top it up" in open_page(bob, "/dashboard")
    calls.ledger.commit(Movement(new_name("topup-dashboard"), "topup", calls.tenant.wallet_id, 10**9))
    assert "The wallet is empty" not in open_page(alice, "/dashboard")


def test_topping_up_is_a_step_only_where_the_wallet_is_empty(alice: Person, calls: Calls):
    page = text_of(open_page(alice, "/dashboard"))
    assert "Four steps." in page
    assert "Top up the wallet" in page
    calls.ledger.commit(Movement(new_name("topup-step"), "topup", calls.tenant.wallet_id, 10**9))
    page = text_of(open_page(alice, "/dashboard"))
    assert "Three steps." in page
    assert "Top up the wallet" not in page


def refuse(alice: Person, needed_nano: int, valkey_url: str) -> None:
    """As the gateway does it: tests/routing/test_refusals.py."""
    refusal = Refusal(utc_now().timestamp(), "insufficient_balance", "This request needs more.", needed_nano)
    remember({of_organization(alice.organization_id): refusal}, valkey_url)


def test_a_refused_request_is_told_until_the_wallet_covers_it(alice: Person, calls: Calls, valkey_url: str):
    poll = re.search(r'hx-get="([^"]+)"', open_page(alice, "/dashboard"))
    assert poll is not None
    refuse(alice, 10**9, valkey_url)
    waiting = open_page(alice, poll[1])
    assert "was refused: This request needs more." in text_of(waiting)
    assert "Waiting for your first request" not in waiting
    again = re.search(r'hx-get="([^"]+)"', waiting)
    assert again is not None
    assert open_page(alice, again[1], 204) == "", "nothing new"
    calls.ledger.commit(Movement(new_name("topup-refused"), "topup", calls.tenant.wallet_id, 10**9))
    assert "Waiting for your first request" in open_page(alice, again[1])


def test_the_overview_tells_of_a_refused_request(alice: Person, charlie: Person, calls: Calls, valkey_url: str):
    calls.add(utc_now(), 40)
    assert "A request was refused" not in open_page(alice, "/dashboard")
    refuse(alice, 10**9, valkey_url)
    assert "This request needs more." in open_page(alice, "/dashboard")
    assert "This request needs more." not in open_page(charlie, "/dashboard")


def test_the_page_sees_a_call_run_and_then_arrive(alice: Person, calls: Calls):
    poll = re.search(r'hx-get="([^"]+)"', open_page(alice, "/dashboard"))
    assert poll is not None
    assert open_page(alice, poll[1], 204) == "", "nothing new"
    calls.ledger.commit(place(calls.tenant, 0))
    running = open_page(alice, poll[1])
    assert "is being answered" in running
    poll = re.search(r'hx-get="([^"]+)"', running)
    assert poll is not None
    assert open_page(alice, poll[1], 204) == ""
    request_id = calls.add(utc_now(), 40)
    response = alice.browser.get("/dashboard/first-request")
    assert (response.status_code, response["HX-Redirect"]) == (204, "/dashboard?arrived=1")
    html = open_page(alice, response["HX-Redirect"])
    assert "Your first request arrived" in html
    assert link_of(html, "See what it cost and why") == f"/dashboard/usage/{request_id}"


def test_checking_again_by_hand_does_the_same(alice: Person, calls: Calls):
    assert "Waiting" in open_page(alice, "/dashboard?arrived=1")
    calls.add(utc_now(), 40)
    assert "Your first request arrived" in open_page(alice, "/dashboard?arrived=1")
    assert "arrived" not in open_page(alice, "/dashboard")


def test_a_stranger_sees_nothing_of_it(alice: Person, calls: Calls, charlie: Person):
    calls.add(utc_now(), 40)
    assert "Your first request" in text_of(open_page(charlie, "/dashboard"))
    assert charlie.browser.get("/dashboard/first-request").status_code == 200


@pytest.mark.parametrize("address", ["/dashboard", "/dashboard/first-request"])
def test_who_is_not_logged_in_is_sent_to(client, address):
    assert client.get(address)["Location"].startswith("/auth/login/")


# figures


@time_machine.travel(NOON)
def test_spend_by_period_model_and_key_is_exact(alice: Person, calls: Calls):
    calls.add(NOON, 4_000_000, model="acme/big")
    calls.add(NOON - timedelta(days=2), 800_000, model="acme/small", key_id=None)
    roll_forward()
    calls.add(NOON - timedelta(days=20), 80_000_000, model="acme/old", outcome="provider_failed")
    page = open_page(alice, "/dashboard?days=30")
    text = text_of(page)
    assert "Spent today $0.005 saved $0.00" in text
    assert "Spent 7 days $0.006" in text
    assert "Spent 30 days $0.10 saved" in text
    assert "Requests 3" in text
    assert "Errors 1 the provider's or ours, 33 % of all" in text
    rows = tables_of(page)
    assert ["acme/old", "1", "1", "0", "80,000,000", "$0.08", "$0.02", "$0.10"] in rows
    assert ["no key", "1", "0", "0", "800,000", "$0.0008", "$0.0002", "$0.001"] in rows
    assert ["batch", "2", "1", "0", "84,000,000", "$0.084", "$0.021", "$0.10"] in rows
    assert ["Jun 15", "$0.001", "$0.00", "$0.00", "$0.001"] in rows
    assert rows.index(["Jun 15", "$0.001", "$0.00", "$0.00", "$0.001"]) > 0


@time_machine.travel(NOON)
def test_the_period_is_chosen_by_links(alice: Person, calls: Calls):
    calls.add(NOON - timedelta(days=40), 1_000)
    assert "Nothing in this period" in open_page(alice, "/dashboard?days=7")
    page = open_page(alice, "/dashboard?days=90")
    assert "Nothing in this period" not in page
    assert re.search(r'<a href="\?days=90" aria-current="true">90 days</a>', page)
    for junk in ("0", "-7", "9999999999999999", "x", "\uff17"):
        assert re.search(r'aria-current="true">7 days<', open_page(alice, f"/dashboard?days={junk}"))


@time_machine.travel(NOON)
@pytest.mark.parametrize(
    ("now", "before", "words"),
    [
        (150, 100, "50 % more than the 7 days before"),
        (50, 100, "50 % less than the 7 days before"),
        (100, 100, "as much as the 7 days before"),
        (2_500, 100, "25 times as much as the 7 days before"),
    ],
)
def test_spending_is_compared_with_the_same_time_before(alice: Person, calls: Calls, now, before, words):
    calls.add(NOON - timedelta(days=1), now * 1_000)
    calls.add(NOON - timedelta(days=8), before * 1_000)
    calls.add(NOON - timedelta(days=7) + timedelta(hours=1), 77_000)  # later in the day than it is now
    assert words in text_of(open_page(alice, "/dashboard?days=7"))


@time_machine.travel(NOON)
def test_days_are_those_of_the_viewers_zone(alice: Person, calls: Calls, bob: Person):
    calls.add(datetime(2026, 6, 16, 18, 30, tzinfo=UTC), 4_000)  # the first moment of June 17th in India
    calls.add(datetime(2026, 6, 16, 18, 29, 59, 999_999, tzinfo=UTC), 400)
    in_zone(bob, "Asia/Kolkata")
    assert ["Jun 17", "$0.000005", "$0.000005"] in tables_of(open_page(bob, "/dashboard?days=7"))
    assert ["Jun 16", "$0.0000055", "$0.0000055"] in tables_of(open_page(alice, "/dashboard?days=7"))


@time_machine.travel(datetime(2026, 11, 1, 20, 0, tzinfo=UTC))
def test_the_hours_of_a_day_with_25_of_them(alice: Person, calls: Calls):
    in_zone(alice, "America/New_York")
    calls.add(datetime(2026, 11, 1, 6, 30, tzinfo=UTC), 4_000)  # the second 01:30 there
    rows = tables_of(open_page(alice, "/dashboard?days=1"))
    hours = [row for row in rows if re.fullmatch(r"\d\d:00", row[0])]
    assert len(hours) == 25
    assert [row[-1] for row in hours if row[0] == "01:00"] == ["$0.00", "$0.000005"]


@time_machine.travel(NOON)
def test_latency_and_few_errors_are_told(alice: Person, calls: Calls):
    items = [calls.item(NOON, 1, duration_ms=140, first_content_ms=60, streamed=True) for _ in range(150)]
    calls.ledger.commit(*items, calls.item(NOON, 1, outcome="provider_cut", duration_ms=90_000))
    text = text_of(open_page(alice, "/dashboard?days=1"))
    assert "Errors 1 the provider's or ours, less than 1 % of all" in text
    assert re.search(r"Half of the answers within 1[0-4]\d ms 95 % within 1[0-4]\d ms", text)
    assert "First words after 60 ms" in text


@time_machine.travel(NOON)
def test_a_deleted_key_still_has_its_spending(alice: Person, calls: Calls):
    calls.add(NOON, 4_000, key_id=2**40)
    page = open_page(alice, "/dashboard?days=1")
    assert f"key {2**40}, deleted" in page


@time_machine.travel(NOON)
def test_a_model_leads_to_its_calls(alice: Person, calls: Calls):
    request_id = calls.add(NOON, 4_000, model="acme/a&b <i>")
    calls.add(NOON, 4_000, model="acme/other")
    page = open_page(alice, "/dashboard?days=1")
    assert "<i>" not in page
    explorer = open_page(alice, link_of(page, "acme/a&amp;b &lt;i&gt;"))
    assert request_id in explorer
    assert explorer.count("/dashboard/usage/gen-") == 1


def test_many_models_cost_no_more_queries(alice: Person, calls: Calls):
    now = utc_now()
    calls.ledger.commit(*(calls.item(now, 10 + number, model=f"acme/m{number}") for number in range(30)))
    page = open_page(alice, "/dashboard?days=7")
    assert REST in page
    assert page.count('class="chart__bar chart__series-') <= 7 * MOST_SERIES + MOST_SERIES
    assert 'style="' not in page


@time_machine.travel(NOON)
def test_a_table_ends_and_still_adds_up(alice: Person, calls: Calls):
    calls.ledger.commit(*(calls.item(NOON, 1_000 * (1 + number), key_id=10**6 + number) for number in range(60)))
    rows = tables_of(open_page(alice, "/dashboard?days=1"))
    assert ["11 more", "11", "0", "0", "66,000", "$0.000066", "$0.0000165", "$0.0000825"] in rows
    assert sum(row[0].endswith(", deleted") for row in rows) == 49


def test_every_role_may_read_it(alice: Person, calls: Calls):
    calls.add(utc_now(), 10)
    for role in ("developer", "billing", "viewer"):
        member = new_member(f"{role}-of-{alice.email}", alice.organization_id, role)
        assert "Spend by model" in open_page(member, "/dashboard?days=1")


# charts; no database


def test_bars_are_as_high_as_their_values():
    chart = stacked_bars(["Mon", "Tue"], {"a": [100, 0], "b": [50, 1]})
    assert (chart.top, chart.middle, chart.total, chart.names) == (200, 100, 151, ["a", "b"])
    first, second, third = chart.rects
    assert (first.height, second.height) == (HEIGHT // 2, HEIGHT // 4)
    assert first.y == HEIGHT - first.height
    assert second.y + second.height == first.y
    assert third.height == 1, "what there is can be seen"
    assert third.x >= WIDTH // 2


def test_the_rest_is_one_series():
    chart = stacked_bars(["Mon"], {f"m{number}": [10 + number] for number in range(9)})
    assert chart.names == ["m8", "m7", "m6", "m5", "m4", REST]
    assert chart.totals[-1] == 10 + 11 + 12 + 13
    assert stacked_bars([], {}).rects == []


def test_bars_are_drawn_against_the_longest():
    assert [(bar.width, bar.share) for bar in bars([("a", 30, ""), ("b", 10, ""), ("c", 0, "")])] == [
        (WIDTH, 75),
        (WIDTH // 3, 25),
        (0, 0),
    ]
    assert bars([("free", 0, "")])[0].width == 0


@pytest.mark.parametrize(
    ("values", "shares"),
    [([577, 357, 66], [58, 36, 6]), ([1, 1, 1], [34, 33, 33]), ([0, 0], [0, 0]), ([999, 1], [100, 0]), ([5], [100])],
)
def test_shares_add_up(values: list[int], shares: list[int]):
    assert [bar.share for bar in bars([("", value, "") for value in values])] == shares


@pytest.mark.parametrize(
    ("value", "top"), [(0, 2), (2, 2), (3, 4), (5, 10), (11, 20), (21, 40), (41, 100), (10**12, 10**12)]
)
def test_the_scale_ends_at_a_round_number(value, top):
    assert ceiling(value) == top
