"""What accepted advice brought: measured week by week, judged against what was promised."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis import given
from hypothesis import strategies as st

from advisor.actions.effects import MEASURED_WEEKS, do_measure_effects
from advisor.effect import HitRate, Verdict, Week, a_month, hit_rate, judge, without
from advisor.evidence import Candidate, Tally
from advisor.models import Advice, DayEvidence, Effect, EvidenceDay
from routing.queries import charged_prices
from tests.advisor.letters.delivering import DOLLAR
from tests.people import Person, new_owner

ACCEPTED = datetime(2026, 11, 4, 12, tzinfo=UTC)  # a Wednesday
FIRST = date(2026, 11, 9)  # the Monday after it: 2026-W46
AFTER = datetime(2026, 11, 17, 2, tzinfo=UTC)  # that week is over, and the day after it is built
OLD = Candidate(
    id="acme/large",
    maker="acme",
    prices={"input": 4 * DOLLAR, "cache_read": 1 * DOLLAR, "output": 20 * DOLLAR},
    tiers=(),
    capabilities=frozenset(),
    context_length=100_000,
    max_output=10_000,
    strength={},
    error={},
    first_seen_on=date(2026, 1, 1),
    line="acme/large",
)


def week(saved: int, requests: int = 10) -> Week:
    return Week("2026-W46", requests, 0, saved)


def tally(**tokens: float) -> Tally:
    return Tally("writing", "acme/mini", "pinned", "", 10, 10, tokens, 0.0, ())


def test_the_same_tokens_cost_what_the_model_in_use_before_would_have_cost():
    assert without([tally(input=1_000_000, cache_read=2_000_000, output=100_000)], OLD, 1.0) == 8 * DOLLAR
    twice = without([tally(input=1_000_000, output=200_000)], OLD, 2.0)
    assert twice == 6 * DOLLAR, "a model that writes twice as much does the same work with twice the tokens"


def test_nothing_is_compared_with_a_model_that_has_no_price_for_what_is_used():
    assert without([tally(input_image=5.0)], OLD, 1.0) in {None, 0}
    assert without([Tally("writing", "a", "pinned", "", 1, 1, {"nothing_priced": 1.0}, 0, ())], OLD, 1.0) is None


def test_a_promise_is_judged_after_two_weeks_by_the_month_that_they_make():
    promised = (21 * DOLLAR, 47 * DOLLAR)
    seven = 7 * DOLLAR  # a week, 30 a month
    assert judge(promised, []) is judge(promised, [week(seven)]) is Verdict.EARLY
    assert judge(promised, [week(0, 0), week(0, 0)]) is Verdict.EARLY
    assert judge(promised, [week(seven), week(seven)]) is Verdict.KEPT
    assert judge(promised, [week(2 * seven), week(2 * seven)]) is Verdict.MORE
    assert judge(promised, [week(seven), week(-seven)]) is Verdict.LESS


@given(st.lists(st.integers(-(10**12), 10**12), min_size=2, max_size=13))
def test_a_month_lies_between_the_least_and_the_most_of_its_weeks(saved: list[int]):
    month = a_month(week(each) for each in saved)
    assert min(saved) * 30 // 7 - 1 <= month <= max(saved) * 30 // 7 + 1


def test_the_hit_rate_counts_what_can_be_judged():
    good, bad, early = [week(7 * DOLLAR)] * 2, [week(DOLLAR)] * 2, [week(DOLLAR)]
    promises = {(1, 21 * DOLLAR, 47 * DOLLAR): good, (2, 21 * DOLLAR, 47 * DOLLAR): bad, (3, 0, 1): early}
    assert hit_rate(promises) == HitRate(judged=2, hit=1)
    assert (hit_rate(promises).percent, hit_rate({}).percent) == (50, None)


@pytest.fixture
def alice(db: None) -> Person:
    call_command("provider", "add", "acme", "--base-url", "http://127.0.0.1:9/v1", "--api-key", "sk-acme")
    for name, reading, writing in (("large", "4.00", "20.00"), ("mini", "1.00", "2.00")):
        prices = ("--input-price", reading, "--output-price", writing)
        call_command("model", "add", f"acme/{name}", "--provider", "acme", *prices)
    return new_owner("alice@example.com")


def accepted(person: Person, **values: Any) -> Advice:
    found: dict[str, Any] = {
        "organization_id": person.organization_id,
        "week": "2026-W45",
        "rank": 1,
        "kind": "cheaper",
        "subject": "acme/large",
        "task": "writing",
        "model": "acme/mini",
        "saving_low_nano": DOLLAR,
        "saving_mid_nano": 2 * DOLLAR,
        "saving_high_nano": 3 * DOLLAR,
        "confidence": 0.9,
        "evidence": {"length_ratio": 2.0},
        "risks": [],
        "expires_on": date(2026, 11, 30),
        "state": "accepted",
        "state_at": ACCEPTED,
        "created_at": ACCEPTED,
    }
    return Advice.objects.create(**{**found, **values})


def calls(person: Person, day: date, model: str = "acme/mini", way: str = "pinned", **values: Any) -> None:
    names = [field.name for field in DayEvidence._meta.fields if field.name not in {"pk", "day", "organization_id"}]
    zeros = {name: 0 for name in names if name not in {"task", "model", "way", "policy"}}
    found = {"requests": 10, "answered": 10, "input": 1_000_000, "output": 200_000, "charge_nano": DOLLAR, **values}
    key = {"task": "writing", "model": model, "way": way, "policy": ""}
    DayEvidence.objects.create(**{**zeros, **key, **found}, day=day, organization_id=person.organization_id)


def built(first: date = FIRST, days: int = 8) -> None:
    for number in range(days):
        day = first + timedelta(days=number)
        EvidenceDay.objects.get_or_create(day=day, defaults={"built_at": AFTER, "calls": 1})


def test_a_whole_week_after_acceptance_is_measured_once(alice: Person):
    advice = accepted(alice)
    calls(alice, FIRST - timedelta(days=1))  # the week in which it was accepted is not whole
    calls(alice, FIRST, failed=2, log_ms=20.0)
    calls(alice, FIRST + timedelta(days=6), votes=1, score=1.0)
    calls(alice, FIRST + timedelta(days=1), model="acme/large", way="named")
    calls(alice, FIRST + timedelta(days=1), way="named")  # the caller's own choice, not the pin's
    calls(alice, ACCEPTED.date() - timedelta(days=3), model="acme/large", way="policy", failed=1, log_ms=30.0)
    built()
    assert do_measure_effects(AFTER) == 1
    assert do_measure_effects(AFTER) == 0
    effect = Effect.objects.get()
    assert (effect.advice_id, effect.week, effect.requests) == (advice.pk, "2026-W46", 20)
    price = charged_prices("acme/large")
    assert effect.without_nano == 2 * (price["input"] + price["output"] // 10), "half as many tokens written, twice"
    assert effect.actual_nano == 2 * DOLLAR
    assert effect.signals["now"] == {
        "requests": 20,
        "failed": 2,
        "retried": 0,
        "votes": 1,
        "score": 1.0,
        "log_ms_mean": 1.0,
    }
    assert (effect.signals["before"]["failed"], effect.signals["before"]["log_ms_mean"]) == (1, 3.0)


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
    late = AFTER + timedelta(weeks=MEASURED_WEEKS - 1)
    assert do_measure_effects(late) == MEASURED_WEEKS
    assert set(Effect.objects.values_list("requests", flat=True)) == {0}


def test_only_what_was_accepted_with_a_click_is_measured(alice: Person):
    for number, values in enumerate(
        ({"state": "open"}, {"kind": "unused_key", "model": ""}, {"subject": "acme/gone"}, {"model": ""})
    ):
        accepted(alice, rank=number, **values)
    built()
    assert do_measure_effects(AFTER) == 0
