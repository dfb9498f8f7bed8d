"""Measuring what accepted advice brought, week by week, for as long as its pin holds."""

from datetime import datetime, time, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry
from advisor.actions.advice import do_accept
from advisor.actions.effects import MEASURED_WEEKS, do_measure_effects
from advisor.models import Advice, Effect, Upgrade
from advisor.page_queries import hits_of_all
from routing.actions.pins import Pinner, do_remove_pin, do_set_pin
from routing.actions.trials import Move, do_move_pin
from routing.selection.models import Pin
from tests.advisor.effects import ACCEPTED, AFTER, FIRST, accepted, built, calls, moved, noted, price_of, used
from tests.advisor.letters.delivering import DOLLAR
from tests.people import Person, new_owner

WEEK = timedelta(days=7)


@pytest.fixture
def alice(db: None) -> Person:
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name, reading, writing in (("large", "4.00", "20.00"), ("mini", "1.00", "2.00"), ("new", "1.00", "2.00")):
        prices = ("--input-price", reading, "--output-price", writing)
        call_command("model", "add", f"acme/{name}", "--provider", "acme", *prices)
    return new_owner("alice@example.com")


def pinner(person: Person) -> Pinner:
    return Pinner(person.organization_id, person.email, Pin.Source.ADVISOR)


def at(moment: datetime, act: Any, *args: Any) -> None:
    """Do something to a pin at some moment, as the audit log has it."""
    known = set(AuditEntry.objects.values_list("pk", flat=True))
    act(*args)
    AuditEntry.objects.exclude(pk__in=known).update(created_at=moment)


def weeks() -> list[tuple[str, int]]:
    return list(Effect.objects.order_by("advice", "week").values_list("week", "requests"))


def test_a_whole_week_after_acceptance_is_measured_once(alice: Person):
    advice = accepted(alice)
    calls(alice, FIRST - timedelta(days=1))  # the week in which it was accepted is not whole
    calls(alice, FIRST, failed=2, passed_on=1, log_ms=40.0)
    calls(alice, FIRST + timedelta(days=6), votes=1, score=1.0, retried=3)
    calls(alice, FIRST + timedelta(days=1), model="acme/large", way="named")
    calls(alice, FIRST + timedelta(days=1), way="named")  # the caller's own choice, not the pin's
    calls(alice, FIRST + timedelta(days=2), model="acme/large", way="policy")  # what the pin's fallback took over
    built()
    assert do_measure_effects(AFTER) == 1
    assert do_measure_effects(AFTER) == 0
    effect = Effect.objects.get()
    assert (effect.advice_id, effect.week, effect.requests) == (advice.pk, "2026-W46", 20)
    assert effect.actual_nano == 2 * DOLLAR
    assert effect.without_nano == price_of("acme/large", 2_000_000, 18 * 100), "100 tokens for each of 18 answers"
    assert effect.signals == {
        "calls": 21,
        "failed": 3,
        "retried": 3,
        "votes": 1,
        "score": 1.0,
        "log_ms_mean": 2.0,
    }


def test_only_what_the_pin_moves_is_compared(alice: Person):
    mix = [used("acme/large", 100), used("acme/mini", 900)]
    accepted(alice, moved(mix))
    calls(alice, FIRST, input=10_000_000, output=1_000_000, requests=10_000, answered=10_000)
    built()
    do_measure_effects(AFTER)
    by_each = price_of("acme/large", 1_000_000, 100_000) + price_of("acme/mini", 9_000_000, 900_000)
    assert Effect.objects.get().without_nano == by_each


def test_a_week_waits_until_its_evidence_is_whole(alice: Person):
    accepted(alice)
    calls(alice, FIRST)
    built(days=7)  # Sunday was built once; calls that ran over midnight come with the second time
    assert do_measure_effects(AFTER) == 0
    built()
    assert do_measure_effects(AFTER) == 1


def test_weeks_that_were_missed_are_measured_up_to_a_quarter(alice: Person):
    accepted(alice)
    built(days=7 * 20)
    late = AFTER + WEEK * (MEASURED_WEEKS - 1)
    assert do_measure_effects(late) == MEASURED_WEEKS
    assert {requests for _, requests in weeks()} == {0}
    assert do_measure_effects(late + WEEK) == 0


def test_advice_of_any_weekday_is_measured_for_as_many_weeks(alice: Person):
    monday = datetime.combine(FIRST - WEEK, time(), ACCEPTED.tzinfo)
    for hours in (0, 9, 24, 6 * 24 + 23):
        accepted(alice, state_at=monday + timedelta(hours=hours), task=f"task {hours}")
    built(days=7 * 20)
    for number in range(MEASURED_WEEKS + 3):
        do_measure_effects(AFTER + WEEK * number)
    counts = {row.pk: row.effects.count() for row in Advice.objects.all()}
    assert set(counts.values()) == {MEASURED_WEEKS}


def test_only_what_was_accepted_with_a_click_is_measured(alice: Person):
    for number, values in enumerate(
        ({"state": "open"}, {"kind": "unused_key", "model": ""}, {"model": ""}, {"evidence": {"calls": 4}})
    ):
        accepted(alice, week=f"2026-W4{number}", **values)
    built()
    assert do_measure_effects(AFTER) == 0


def test_what_cannot_be_compared_is_noted_once(alice: Person):
    accepted(alice, moved([used("acme/gone")]))
    calls(alice, FIRST)
    built()
    assert do_measure_effects(AFTER) == 1
    assert do_measure_effects(AFTER) == 0
    effect = Effect.objects.get()
    assert (effect.requests, effect.without_nano, effect.low_nano, effect.high_nano) == (10, None, None, None)


@pytest.mark.parametrize("how", ["upgraded", "replaced", "removed"])
def test_measuring_ends_with_the_week_in_which_the_pin_does(alice: Person, how: str):
    mine, ends = pinner(alice), ACCEPTED + WEEK * 2
    at(ACCEPTED, do_set_pin, mine, "writing", "acme/mini")
    accepted(alice)
    act, *args = {
        "upgraded": (do_move_pin, Move(alice.organization_id, "writing", "acme/mini", "acme/new")),
        "replaced": (do_set_pin, mine, "writing", "acme/large"),
        "removed": (do_remove_pin, mine, "writing"),
    }[how]
    at(ends, act, *args)
    at(ends + timedelta(hours=1), do_set_pin, mine, "writing", "acme/mini")  # a new decision, that is not the advice's
    calls(alice, FIRST)
    built(days=7 * 5)
    do_measure_effects(AFTER + WEEK * 4)
    assert weeks() == [("2026-W46", 10)], "the next week is not whole"
    assert Advice.objects.get().pinned_until == ends


def test_pins_of_other_task_types_and_organizations_end_nothing(alice: Person):
    charlie = new_owner("charlie@example.com")
    accepted(alice)
    for person, task in ((alice, "math"), (charlie, "writing")):
        at(ACCEPTED + WEEK, do_set_pin, pinner(person), task, "acme/large")
    built()
    assert do_measure_effects(AFTER) == 1
    assert Advice.objects.get().pinned_until is None


def test_a_pin_that_was_changed_before_the_advice_was_accepted_ends_nothing(alice: Person):
    at(ACCEPTED - WEEK, do_set_pin, pinner(alice), "writing", "acme/large")
    at(ACCEPTED - timedelta(days=1), do_remove_pin, pinner(alice), "writing")
    accepted(alice)
    built()
    assert do_measure_effects(AFTER) == 1


def test_accepting_by_itself_ends_nothing(alice: Person):
    advice = accepted(alice, state="open", expires_on=ACCEPTED.date() + WEEK)
    at(ACCEPTED, do_accept, pinner(alice), advice.pk, ACCEPTED)
    built()
    assert do_measure_effects(AFTER) == 1


def test_calls_count_for_the_newest_advice_alone(alice: Person):
    older, newer = accepted(alice), accepted(alice, week="2026-W46", state_at=ACCEPTED + WEEK)
    for number in range(3):
        calls(alice, FIRST + WEEK * number)
    built(days=7 * 4)
    do_measure_effects(AFTER + WEEK * 2)
    assert list(older.effects.values_list("week", flat=True)) == [], "it did not hold through a whole week"
    assert list(newer.effects.order_by("week").values_list("week", flat=True)) == ["2026-W47", "2026-W48"]
    older.refresh_from_db()
    assert older.pinned_until == newer.state_at


def test_what_a_newer_model_answers_on_trial_counts_on_neither_side(alice: Person):
    accepted(alice)
    Upgrade.objects.create(
        organization_id=alice.organization_id,
        task="writing",
        old_model="acme/mini",
        new_model="acme/new",
        state="trial",
        share_basis_points=5_000,
        step_at=ACCEPTED,
        created_at=ACCEPTED,
    )
    calls(alice, FIRST, output=1_000)
    calls(alice, FIRST, model="acme/new")
    built()
    do_measure_effects(AFTER)
    effect = Effect.objects.get()
    assert (effect.requests, effect.actual_nano) == (10, DOLLAR)
    assert effect.without_nano == price_of("acme/large", 1_000_000, 1_000)
    cost = price_of("acme/large", 1_000_000, 100_000)
    assert effect.low_nano == pytest.approx(DOLLAR * effect.without_nano / cost, abs=1), "the promise is for the rest"


def test_measuring_takes_as_many_queries_for_many_pieces_of_advice_as_for_one(alice: Person):
    built(days=7 * 3)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as found:
            do_measure_effects(AFTER + WEEK)
        return len(found)

    accepted(alice)
    queries()  # reads the catalogue
    Effect.objects.all().delete()
    one = queries()
    idle = queries()
    for number in range(20):
        accepted(alice, task=f"task {number}")
        accepted(new_owner(f"{number}@example.com"), moved([used("acme/gone")]))
    assert queries() <= one
    assert queries() <= idle, "nor for what is noted"


def test_promises_are_counted_over_all_organizations(alice: Person):
    idle = {"requests": 0, "without_nano": 0, "actual_nano": 0, "low_nano": 0, "high_nano": 0}

    def measured(saved: int, busy: int = 2, **values: Any) -> None:
        advice = accepted(new_owner(f"{Advice.objects.count()}@example.com"), **values)
        for number in range(3):
            noted(advice, f"2026-W4{number}", saved=saved, promised=5 * DOLLAR, **({} if number < busy else idle))

    measured(5 * DOLLAR)
    measured(5 * DOLLAR - 1)
    measured(9 * DOLLAR, busy=1)  # too early
    measured(9 * DOLLAR, saving_mid_nano=-1)  # promised no saving
    advice = accepted(alice)
    for number in range(3):
        noted(advice, f"2026-W4{number}", without_nano=None, low_nano=None, high_nano=None)
    hits = hits_of_all(AFTER)
    assert (hits.judged, hits.hit, hits.percent) == (2, 1, 50)
