"""Evidence as recommendations get it: each organization's own, in few queries, keys and caps with it."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actions.keys import do_revoke_key
from accounts.models import ApiKey
from advisor import collect as module
from advisor.collect import organizations_at_work, read_evidence
from advisor.evidence import Evidence
from advisor.models import DayEvidence
from billing.models import Cap, CapUse, UsageSum
from billing.models.rollup import DAY_S, LATENCY_COLUMNS
from routing.actions.pins import Pinner, do_set_pin
from tests.advisor.chats import DAY, NOON
from tests.people import Person, new_owner

pytestmark = pytest.mark.django_db
THROUGH = DAY


@pytest.fixture(autouse=True)
def _day_after() -> Any:
    with time_machine.travel(NOON + timedelta(days=1), tick=True):
        yield


@pytest.fixture
def alice() -> Person:
    return new_owner("alice@example.com")


@pytest.fixture
def charlie() -> Person:
    return new_owner("charlie@example.com")


def put(person: Person, task: str = "writing", model: str = "acme/one", days_ago: int = 0, **values: Any) -> None:
    names = [field.name for field in DayEvidence._meta.concrete_fields]
    nothing = dict.fromkeys(names[names.index("requests") :], 0)
    key = {"day": THROUGH - timedelta(days=days_ago), "organization_id": person.organization_id, "task": task}
    DayEvidence.objects.create(**{**nothing, **key, "model": model, "way": "named", "policy": "", **values})


def evidence_of(person: Person, days: int = 28) -> Evidence:
    (found,) = read_evidence([person.organization_id], THROUGH, days)
    return found


def test_an_organization_without_calls_has_empty_evidence(alice):
    found = evidence_of(alice)
    assert (found.organization_id, found.through, found.days) == (alice.organization_id, THROUGH, 28)
    assert (found.tallies, found.keys, found.pins) == ((), (), {})
    assert found.may_call == frozenset()


def test_the_days_of_a_window_add_up_by_week(alice):
    for days_ago in (0, 6, 7, 27, 28):
        put(alice, days_ago=days_ago, requests=1, charge_nano=10 + days_ago, input=5, output=2)
    (tally,) = evidence_of(alice).tallies
    assert (tally.task, tally.model, tally.way, tally.requests, tally.seen) == ("writing", "acme/one", "named", 4, 4)
    assert (tally.charge_nano, tally.by_week) == (80, (37, 0, 17, 26))
    assert (tally.tokens, tally.input_tokens, tally.output_tokens) == ({"input": 20, "output": 8}, 20, 8)


def test_days_beyond_whole_weeks_are_in_the_sums_alone(alice):
    for days_ago in (0, 7, 8):
        put(alice, days_ago=days_ago, requests=1, charge_nano=1)
    (tally,) = evidence_of(alice, days=9).tallies
    assert (tally.charge_nano, tally.by_week) == (3, (1,))


def test_unread_calls_are_shared_out(alice):
    put(alice, "math", requests=1, charge_nano=10)
    put(alice, "writing", days_ago=20, requests=3, charge_nano=30)
    put(alice, "", days_ago=9, requests=36, charge_nano=361)
    found = {tally.task: tally for tally in evidence_of(alice).tallies}
    assert {task: (tally.requests, tally.charge_nano, tally.seen) for task, tally in found.items()} == {
        "math": (10, 100, 1),
        "writing": (30, 301, 3),
    }


def test_everybody_gets_her_own_and_nobody_is_left_out(alice, charlie, monkeypatch):
    bystander = new_owner("dora@example.com")
    put(alice, requests=1)
    put(charlie, requests=2)
    monkeypatch.setattr(module, "ORGANIZATIONS_AT_ONCE", 2)
    ids = [person.organization_id for person in (charlie, bystander, alice, alice)]
    found = {each.organization_id: sum(tally.requests for tally in each.tallies) for each in read_evidence(ids, DAY)}
    assert found == {alice.organization_id: 1, bystander.organization_id: 0, charlie.organization_id: 2}
    assert organizations_at_work(THROUGH) == [alice.organization_id, charlie.organization_id]


def test_many_organizations_take_no_more_queries_than_one(alice):
    people = [new_owner(f"person-{number}@example.com") for number in range(5)]
    for person in (alice, *people):
        person.key()
        put(person, requests=1)

    def queries(ids: list[int]) -> int:
        list(read_evidence(ids, THROUGH))
        with CaptureQueriesContext(connection) as captured:
            list(read_evidence(ids, THROUGH))
        return len(captured)

    assert queries([alice.organization_id]) == queries([person.organization_id for person in people]) <= 10


@pytest.fixture
def models() -> None:
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name in ("acme/one", "acme/two"):
        call_command("model", "add", name, "--provider", "acme", "--input-price", "3.00", "--output-price", "15.00")


def test_pins_are_told(alice, charlie, models):
    do_set_pin(Pinner(alice.organization_id, alice.email), "writing", "acme/two")
    assert evidence_of(alice).pins == {"writing": "acme/two"}
    assert evidence_of(charlie).pins == {}


def test_what_may_be_called_is_what_any_working_key_may_call(alice, charlie, models):
    alice.key("narrow", models_allowed=frozenset({"acme/one"}))
    alice.key("other name", models_allowed=frozenset({"two"}))
    over = alice.key("over", models_allowed=None).row
    assert evidence_of(alice).may_call is None
    do_revoke_key(over, actor="alice")
    assert evidence_of(alice).may_call == {"acme/one", "acme/two"}
    late = alice.key("late", models_allowed=None).row
    ApiKey.objects.filter(pk=late.pk).update(expires_at=NOON)
    assert evidence_of(alice).may_call == {"acme/one", "acme/two"}
    charlie.key("all")
    assert {key.name for key in evidence_of(alice).keys} == {"narrow", "other name"}


def test_a_key_tells_its_fullest_cap(alice):
    key = alice.key("capped", caps={"day": 1_000, "month": 10_000, "total": 10**9}).row
    for use in CapUse.objects.select_related("cap"):
        CapUse.objects.filter(pk=use.pk).update(spent_nano=use.cap.limit_nano // 100)
    spend(alice, key, "month", 9_500)
    (fact,) = evidence_of(alice).keys
    assert (fact.key_id, fact.name, fact.models_allowed) == (key.pk, "capped", None)
    assert (fact.cap_nano, fact.spent_nano) == (10_000, 9_500)
    assert str(fact.period_ends_on) == "2026-12-01"
    assert fact.made_on == DAY + timedelta(days=1)


def spend(person: Person, key: ApiKey, period: str, nano: int) -> None:
    cap = Cap.objects.get(wallet_id=person.organization_id, subject_id=key.pk, period=period)
    starts_on = (DAY + timedelta(days=1)).replace(day=1)
    CapUse.objects.update_or_create(cap=cap, starts_on=starts_on, defaults={"spent_nano": nano})


def test_a_cap_of_nothing_is_full_and_one_that_ends_never_has_no_end(alice):
    alice.key("none", caps={"total": 0})
    (fact,) = evidence_of(alice).keys
    assert (fact.cap_nano, fact.spent_nano, fact.period_ends_on) == (0, 0, None)


def used(person: Person, key: ApiKey, days_ago: int, charge_nano: int) -> None:
    nothing = dict.fromkeys(
        [
            *("requests", "input_tokens", "cached_tokens", "output_tokens", "cost_nano", "fee_nano", "savings_nano"),
            *("duration_ms", "first_content_ms", "first_contents", *LATENCY_COLUMNS),
        ],
        0,
    )
    UsageSum.objects.create(
        organization_id=person.organization_id,
        grain_s=DAY_S,
        starts_at=NOON.replace(hour=0) - timedelta(days=days_ago),
        key_id=key.pk,
        model="acme/one",
        provider="acme",
        outcome="completed",
        charge_nano=charge_nano,
        **nothing,
    )


def test_a_key_tells_when_it_was_used_last_and_what_it_spends_a_day(alice):
    often, long_ago, _ = (alice.key(name).row for name in ("often", "long ago", "never"))
    for days_ago, nano in ((0, 70), (6, 700), (7, 10**9)):
        used(alice, often, days_ago, nano)
    used(alice, long_ago, 90, 10**9)
    found = {fact.name: (fact.last_used_on, fact.daily_nano) for fact in evidence_of(alice).keys}
    assert found == {"often": (DAY, 110.0), "long ago": (DAY - timedelta(days=90), 0.0), "never": (None, 0.0)}


def test_of_very_many_keys_the_newest_are_looked_at_and_all_count_for_what_may_be_called(alice, models, monkeypatch):
    monkeypatch.setattr(module, "KEYS_LOOKED_AT", 1)
    alice.key("old", models_allowed=frozenset({"acme/two"}))
    alice.key("new", models_allowed=frozenset({"acme/one"}))
    found = evidence_of(alice)
    assert [fact.name for fact in found.keys] == ["new"]
    assert found.may_call == {"acme/one", "acme/two"}
