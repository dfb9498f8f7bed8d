"""`/dashboard/usage`: every call of the organization, filtered and exported; one call explained to the last digit."""

import csv
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import get_args
from urllib.parse import urlencode

import pytest
import time_machine

from accounts.models import User
from billing.ledger.items import Expire, Void
from komilion.common.clock import utc_now
from komilion.web.dashboard.words import OUTCOMES, outcome_of
from routing.gateway.types import Outcome
from tests.billing.calling import Calls
from tests.billing.ledger_database import new_name, place
from tests.billing.rolling import roll_forward
from tests.komilion.web.dashboard.reading import link_of, open_page, tables_of, text_of
from tests.people import Person

NOON = datetime(2026, 6, 17, 12, 0, tzinfo=UTC)


def ids_on(html: str) -> list[str]:
    """Request ids of the lines of the list, in their order."""
    return [part.partition('"')[0] for part in html.split('href="/dashboard/usage/')[1:]]


def explore(person: Person, status: int = 200, **parameters: object) -> str:
    return open_page(person, f"/dashboard/usage?{urlencode(parameters)}", status)


def export(person: Person, **parameters: object) -> list[dict[str, str]]:
    response = person.browser.get(f"/dashboard/usage.csv?{urlencode(parameters)}")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(StringIO(response.getvalue().decode())))


# the list


def test_without_calls_the_list_says_what_would_be_in_it(alice: Person):
    page = explore(alice)
    assert "No request in the last 7 days" in page
    assert link_of(page, "Overview") == "/dashboard"


@time_machine.travel(NOON)
def test_calls_are_listed_with_their_figures_the_newest_first(alice: Person, calls: Calls):
    older = calls.add(NOON - timedelta(hours=3), 40, usage={"input": 1_234, "output": 40}, duration_ms=1_840)
    newer = calls.add(NOON - timedelta(hours=1), 7, outcome="provider_cut", key_id=None, duration_ms=125_000)
    page = explore(alice)
    assert ids_on(page) == [newer, older]
    rows = tables_of(page)
    assert rows[1] == ["Jun 17, 11:00", "vendor/model provider", "", "cut off", "0", "7", "2 min 5 s", "$0.000000009"]
    assert rows[2][2:7] == ["batch", "completed", "1,234", "40", "1.8 s"]
    assert "2 requests from Jun 10, 12:00 , charged" in text_of(page)


@time_machine.travel(NOON)
@pytest.mark.parametrize(
    ("endpoint", "usage", "shown"),
    [
        ("audio.transcriptions", {"audio_ms": 3_776}, ("3.8 s", "0")),
        ("audio.transcriptions", {"input": 2, "input_audio": 20, "output": 10}, ("22", "10")),
        ("audio.speech", {"characters": 1_024}, ("1,024 chars", "0")),
        ("deepgram.tts", {"audio_ms": 1_500}, ("0", "1.5 s")),
    ],
)
def test_speech_is_told_in_its_own_units(
    alice: Person, calls: Calls, endpoint: str, usage: dict[str, int], shown: tuple[str, str]
):
    calls.add(NOON, 7, endpoint=endpoint, usage=usage)
    cells = re.findall(r'data-label="(?:In|Out)" class="num">([^<]*)<', explore(alice))
    assert tuple(cells) == shown


@time_machine.travel(NOON)
def test_the_call_of_a_second_ago_is_there_before_any_job_ran(alice: Person, calls: Calls):
    for _ in range(2):
        request_id = calls.add(NOON - timedelta(seconds=1), 40)
        for parameters in ({}, {"key": calls.tenant.key_id}, {"model": "vendor/model"}):
            assert ids_on(explore(alice, **parameters))[0] == request_id
        roll_forward()


@time_machine.travel(NOON)
def test_filters_choose_and_add_up(alice: Person, calls: Calls):
    chosen = {
        "key": (calls.tenant.key_id, {"key_id": calls.tenant.key_id}),
        "model": ("acme/one", {"model": "acme/one"}),
        "provider": ("west", {"provider": "west"}),
        "outcome": ("client_left", {"outcome": "client_left"}),
        "tag": ("nightly", {"tags": ["nightly", "x"]}),
        "user": ("u-7", {"end_user": "u-7"}),
    }
    ids = {
        name: calls.add(NOON - timedelta(hours=number), 4_000_000, **({"key_id": None} | row))
        for number, (name, (_, row)) in enumerate(chosen.items())
    }
    roll_forward()
    for name, (value, _) in chosen.items():
        page = explore(alice, **{name: value})
        assert ids_on(page) == [ids[name]], name
        assert f'value="{value}"' in page
    assert "1 request from" in text_of(explore(alice, provider="west"))
    assert ids_on(explore(alice, key=0)) == [ids[name] for name in chosen if name != "key"]
    nothing = explore(alice, model="acme/one", provider="west")
    assert "Nothing matches" in nothing
    assert "0 requests from" in text_of(nothing)


@time_machine.travel(NOON)
def test_times_are_those_of_the_viewers_zone(alice: Person, calls: Calls):
    User.objects.filter(email=alice.email).update(time_zone="Asia/Kathmandu")  # 5:45 ahead
    first = calls.add(datetime(2026, 6, 1, 0, 15, tzinfo=UTC))
    calls.add(datetime(2026, 6, 1, 0, 14, 59, 999_999, tzinfo=UTC))
    second = calls.add(datetime(2026, 6, 2, 0, 14, 59, 999_999, tzinfo=UTC))
    calls.add(datetime(2026, 6, 2, 0, 15, tzinfo=UTC))
    page = explore(alice, **{"from": "2026-06-01T06:00", "to": "2026-06-02T06:00"})
    assert ids_on(page) == [second, first]
    assert "Jun 1, 06:00" in page
    assert 'value="2026-06-01T06:00"' in page


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"from": "yesterday"}, "Write a time such as"),
        ({"from": "2026-06-02T00:00", "to": "2026-06-01T00:00"}, "This is not after the start."),
        ({"key": "x"}, "Enter a whole number."),
        ({"key": 2**70}, "Ensure this value is less than"),
        ({"to": "0001-01-01T00:00+23:00"}, "Write a time such as"),
        ({"tag": "t\0"}, "Null characters are not allowed."),
    ],
)
def test_a_filter_that_makes_no_sense_is_named_beside_its_field(alice: Person, parameters, message):
    page = explore(alice, 422, **parameters)
    assert message in page
    assert alice.browser.get(f"/dashboard/usage.csv?{urlencode(parameters)}").status_code == 422


def test_pages_are_walked_by_links_and_keep_the_filter(alice: Person, calls: Calls):
    now = utc_now()
    items = [calls.item(now - timedelta(minutes=number), 5, provider="west") for number in range(120)]
    calls.ledger.commit(*items)
    found, page = [], explore(alice, provider="west")
    assert ">Newer<" not in page
    while True:
        found += ids_on(page)
        if ">Older<" not in page:
            break
        page = open_page(alice, f"/dashboard/usage{link_of(page, 'Older')}")
    assert found == [item.request_id for item in items]
    assert ids_on(open_page(alice, f"/dashboard/usage{link_of(page, 'Newer')}"))[0] == items[0].request_id


def test_a_search_that_needs_another_page_says_so(alice: Person, calls: Calls, monkeypatch):
    now = utc_now()
    for number in range(4):
        calls.add(now - timedelta(hours=number), 5, provider="west", tags=[] if number < 3 else ["rare"])
        calls.add(now - timedelta(hours=number), 5, provider="east", tags=["rare"])
    roll_forward()
    monkeypatch.setattr("billing.usage_pages.SLOTS_A_PAGE", 2)
    page = explore(alice, provider="west", tag="rare")
    assert ids_on(page) == []
    further = open_page(alice, f"/dashboard/usage{link_of(page, 'Look further back')}")
    assert len(ids_on(further)) == 1


def test_a_cursor_that_is_none_of_ours_is_a_bad_request(alice: Person):
    assert "The cursor is not one" in explore(alice, 400, cursor="junk")


def test_calls_that_run_are_listed_first(alice: Person, calls: Calls):
    settled = calls.add(utc_now(), 5)
    running = new_name("gen-running")
    calls.ledger.commit(place(calls.tenant, 0, request_id=running))
    assert ids_on(explore(alice)) == [running, settled]
    assert ids_on(explore(alice, model="vendor/model")) == [settled]


def test_what_tenants_wrote_is_text(alice: Person, calls: Calls):
    nasty = "<script>alert(1)</script>\"'"
    request_id = calls.add(utc_now(), 5, end_user=nasty, tags=[nasty], model=nasty, app_title=nasty)
    for page in (explore(alice), open_page(alice, f"/dashboard/usage/{request_id}"), explore(alice, tag=nasty)):
        assert "<script>alert" not in page
        assert "hx-disable" in page


def test_strangers_and_team_mates(alice: Person, bob: Person, charlie: Person, calls: Calls):
    request_id = calls.add(utc_now(), 5)
    calls.ledger.commit(place(calls.tenant, 0, request_id=(running := new_name("gen-running"))))
    assert ids_on(explore(bob)) == [running, request_id]
    assert ids_on(explore(charlie)) == []
    assert export(charlie) == []
    for hidden in (request_id, running, "gen-none"):
        assert open_page(charlie, f"/dashboard/usage/{hidden}", 404)
    assert open_page(bob, f"/dashboard/usage/{request_id}")


@pytest.mark.parametrize("address", ["/dashboard/usage", "/dashboard/usage.csv", "/dashboard/usage/gen-1"])
def test_who_is_not_logged_in_is_sent_to_log_in(client, address):
    assert client.get(address)["Location"].startswith("/auth/login/")


# the export


@time_machine.travel(NOON)
def test_the_export_has_every_call_that_matches_with_exact_amounts(alice: Person, calls: Calls):
    calls.add(NOON - timedelta(minutes=1), 7, provider="east")
    request_id = calls.add(
        NOON,
        1_000_000_001,
        provider="west",
        usage={"input": 5, "cache_read": 2, "output": 1_000_000_001},
        tags=["a", "b"],
        first_content_ms=12,
        duration_ms=40,
        streamed=True,
    )
    (row,) = export(alice, provider="west")
    assert row == {
        "created_at": "2026-06-17T12:00:00+00:00",
        "request_id": request_id,
        "client_request_id": "",
        "key_id": str(calls.tenant.key_id),
        "key": "batch",
        "endpoint": "chat.completions",
        "requested_model": "vendor/model",
        "model": "vendor/model",
        "provider": "west",
        "streamed": "yes",
        "outcome": "completed",
        "usage_source": "provider",
        "input_tokens": "7",
        "cached_tokens": "2",
        "output_tokens": "1000000001",
        "audio_ms": "0",
        "characters": "0",
        "cost_usd": "1.000000001",
        "fee_usd": "0.250000001",
        "charge_usd": "1.250000002",
        "savings_usd": "0.00",
        "first_content_ms": "12",
        "duration_ms": "40",
        "end_user": "",
        "tags": "a, b",
    }
    assert len(export(alice)) == 2


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_does_not_calculate_what_tenants_wrote(alice: Person, calls: Calls, start):
    calls.add(utc_now(), 7, end_user=start, tags=[start], model=start, client_request_id=start, key_id=None)
    (row,) = export(alice)
    for name in ("end_user", "tags", "model", "client_request_id"):
        assert row[name] == f"'{start}"
    assert row["key"] == row["first_content_ms"] == ""


# one call


@time_machine.travel(NOON)
def test_a_call_is_explained_to_the_last_digit(alice: Person, calls: Calls):
    usage = {"input": 1_234, "output": 567, "reasoning": 100}
    request_id = calls.add(
        NOON,
        567,
        usage=usage,
        cost_nano=1_801,
        fee_nano=451,
        charge_nano=2_252,
        requested_model="vendor/alias",
        client_request_id="mine-1",
        end_user="u-7",
        tags=["nightly"],
        app_title="App",
        first_content_ms=640,
        duration_ms=61_500,
        streamed=True,
        usage_source="estimated",
        outcome="insufficient_balance",
        savings_nano=7,
        detail={
            "attempts": [
                {"provider": "east", "model": "vendor/model", "status": None, "error": "timeout", "ms": 900},
                {"provider": "west", "model": "vendor/model", "status": 200, "ms": 61_000},
            ],
            "adjusted": [
                {"param": "max_tokens", "action": "lowered", "from": None, "to": 44, "reason": "insufficient_balance"},
                {"param": "seed", "action": "dropped"},
            ],
        },
    )
    page = open_page(alice, f"/dashboard/usage/{request_id}")
    text, rows = text_of(page), tables_of(page)
    for words in (
        "wallet ran out",
        f"Request id {request_id}",
        "vendor/model (asked for: vendor/alias)",
        "chat.completions, streamed",
        "Your own id mine-1",
        "End user u-7",
        "Tags nightly",
        "First words 640 ms Took 1 min 1 s",
        "max_tokens lowered from no limit to 44 (insufficient_balance)",
        "seed dropped",
        "The usage was counted by us.",
        "Routing saved $0.000000007.",
    ):
        assert words in text, words
    assert ["1", "east vendor/model", "no answer timeout", "900 ms"] in rows
    assert ["2", "west vendor/model", "200", "1 min 1 s"] in rows
    assert ["input", "1,234", "$0.001", "$0.000001234"] in rows
    assert ["output", "567", "$0.001", "$0.000000567"] in rows
    assert ["Provider's cost, rounded up once to 10⁻⁹ $", "$0.000001801"] in rows
    assert ["Our fee: 25 % of it, rounded up once", "$0.000000451"] in rows
    assert ["Charged: cost + fee", "$0.000002252"] in rows
    assert link_of(page, "batch") == f"/dashboard/keys/{calls.tenant.key_id}"


def test_the_entries_of_a_call_show_what_moved(alice: Person, calls: Calls):
    request_id = calls.add(utc_now(), 40)
    rows = tables_of(open_page(alice, f"/dashboard/usage/{request_id}"))
    moved = [row[1:] for row in rows if len(row) == 5 and row[1] == "charged"]
    assert moved == [
        ["charged", "your debt", "the provider's cost", "$0.00000004"],
        ["charged", "your debt", "our fee", "$0.00000001"],
    ]


def test_calls_that_were_not_settled_are_explained(alice: Person, calls: Calls):
    ids = {name: new_name(f"gen-{name}") for name in ("running", "voided", "expired")}
    calls.ledger.commit(*(place(calls.tenant, 0, request_id=request_id, lifetime_s=0) for request_id in ids.values()))
    calls.ledger.commit(
        Void(ids["voided"], calls.tenant.wallet_id),
        Expire(ids["expired"], calls.tenant.wallet_id, only_if_due=True, process_gone=False),
    )
    words = {"running": "No entry yet", "voided": "No provider saw it", "expired": "so it costs you nothing"}
    for name, sentence in words.items():
        assert sentence in open_page(alice, f"/dashboard/usage/{ids[name]}"), name


def test_a_call_that_used_nothing_or_whose_price_is_unknown_is_shown(alice: Person, calls: Calls):
    nothing = calls.add(utc_now(), 0, usage={}, usage_source="absent", key_id=None)
    assert "Nothing was used." in open_page(alice, f"/dashboard/usage/{nothing}")
    unknown = calls.add(utc_now(), 5, price_id=2**40, key_id=2**40)
    page = open_page(alice, f"/dashboard/usage/{unknown}")
    assert ["output", "5", "", ""] in tables_of(page)
    assert f"key {2**40}, deleted" in explore(alice)


# words


def test_every_outcome_has_words():
    assert set(get_args(Outcome.__value__)) == set(OUTCOMES)
    assert outcome_of("brand_new").word == "brand new"
