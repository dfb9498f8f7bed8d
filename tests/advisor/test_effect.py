"""What advice brought, judged against what was promised: plain values."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.effect import Compared, HitRate, Verdict, Week, a_month, compare, costs_before, hit_rate, judge
from advisor.evidence import Tally
from advisor.moved import Moved, Signals, answered
from tests.advisor.effects import large, mini, moved, used
from tests.advisor.letters.delivering import DOLLAR

MODELS = {"acme/large": large(), "acme/mini": mini()}


def week(saved: int, low: int = 5 * DOLLAR, high: int = 10 * DOLLAR, requests: int = 10) -> Week:
    return Week("2026-W46", requests, 0, Compared(saved, low, high), Signals())


def unknown() -> Week:
    return Week("2026-W46", 10, 0, None, Signals())


def compared(work: Moved, now: Tally) -> Compared:
    before = costs_before(work, MODELS)
    assert before is not None
    return compare(work, before, now)


def pinned(calls: int, reading: float = 1_000.0, writing: float = 100.0, **values: float) -> Tally:
    return used("acme/mini", calls, "pinned", tokens={"input": reading * calls, "output": writing * calls}, **values)


def test_the_same_calls_cost_what_the_model_in_use_before_would_have_cost():
    found = compared(moved(), pinned(1_000))
    assert found == Compared(5_600_000_000, DOLLAR, 3 * DOLLAR), "a million tokens at $4, 100,000 at $16"


def test_each_model_that_answered_before_takes_its_part():
    mix = moved([used("acme/large", 100), used("acme/mini", 900)])
    assert compared(mix, pinned(1_000)).without_nano == 560_000_000 + 9 * 140_000_000


def test_with_half_the_calls_half_is_promised():
    found = compared(moved(), pinned(500))
    assert found == Compared(2_800_000_000, DOLLAR // 2, 3 * DOLLAR // 2)


def test_longer_prompts_would_have_been_longer_before():
    assert compared(moved(), pinned(1_000, reading=2_000.0)).without_nano == 8 * DOLLAR + 1_600_000_000


def test_a_model_that_writes_more_saves_less():
    brief, wordy = (compared(moved(), pinned(1_000, writing=each)).without_nano for each in (100.0, 300.0))
    assert brief == wordy, "the old model would have written what it wrote"


def test_what_the_old_model_read_from_its_cache_it_would_have_read_there():
    cached = used("acme/large", tokens={"input": 200_000.0, "cache_read": 800_000.0, "output": 100_000.0})
    found = compared(moved([cached]), pinned(1_000))
    assert found.without_nano == 800_000_000 + 320_000_000 + 1_600_000_000, "though the new one caches nothing"


def test_calls_that_failed_would_not_have_saved_anything():
    failing = pinned(500, seen=1_000, failed=500, requests=1_000)
    assert compared(moved(), failing).without_nano == 2_800_000_000


@pytest.mark.parametrize(
    ("tally", "calls"),
    [
        (used("m", 100), 100),
        (used("m", 100, failed=10), 90),
        (used("m", 100, seen=150, failed=60), 90),  # 50 were passed on, which are in no `requests`
        (used("m", 100, seen=10, failed=1), 90),  # a sample
        (used("m", 100, seen=0), 100),
    ],
)
def test_calls_that_were_answered_are_those_that_did_not_fail(tally: Tally, calls: int):
    assert answered(tally) == pytest.approx(calls)


def test_where_the_old_model_was_free_the_promise_goes_by_calls():
    work = moved(low=-4 * DOLLAR, high=-2 * DOLLAR)
    before = costs_before(work, {"acme/large": replace(large(), prices={"input": 0, "output": 0})})
    assert before is not None
    assert compare(work, before, pinned(500)) == Compared(0, -2 * DOLLAR, -1 * DOLLAR)


@pytest.mark.parametrize(
    "work",
    [
        moved([used("acme/gone")]),
        moved([used("acme/large"), used("acme/gone", 1)]),
        moved([used("acme/large", tokens={"input": 1.0, "nothing_priced": 1.0})]),
        moved([used("acme/large", failed=1_000, tokens={})]),
    ],
)
def test_nothing_is_compared_with_what_has_no_price_or_no_answer(work: Moved):
    assert costs_before(work, MODELS) is None


def test_tokens_that_are_priced_as_others_are_compared():
    vision = moved([used("acme/large", tokens={"input": 0.0, "cache_read_image": 1_000_000.0})])
    before = costs_before(vision, MODELS)
    assert before is not None
    assert before.input > 0


def test_what_is_kept_with_an_advice_is_read_as_it_was():
    work = moved([used("acme/large", 3, failed=1, log_ms_mean=2.0), used("acme/mini", 4, votes=2, score=1.5)])
    assert msgspec.convert(msgspec.to_builtins(work), Moved) == work


def test_policies_of_one_model_are_one_use_of_it():
    work = moved([used("acme/large", 1, policy="frugal"), used("acme/large", 2, policy="premium")])
    assert work == moved([used("acme/large", 3)])


def test_signals_are_those_of_all_calls_and_durations_those_of_answers():
    signals = Signals.of([used("a", 4, failed=1, log_ms_mean=3.0, retried=2), used("b", 1, votes=4, score=3.0)])
    assert (signals.failed_share, signals.retried_share, signals.mean_score) == (0.2, 0.4, 0.75)
    assert signals.log_ms_mean == 9 / 4
    nothing = Signals.of([])
    assert (nothing.failed_share, nothing.retried_share, nothing.mean_score, nothing.ms) == (None,) * 4


def test_a_promise_is_judged_after_two_weeks_with_calls():
    seven = week(7 * DOLLAR)
    idle = week(0, 0, 0, requests=0)
    assert judge([]) is judge([seven]) is judge([seven, idle, idle]) is Verdict.EARLY
    assert judge([seven, idle, seven]) is Verdict.KEPT, "a week without calls promises nothing either"


def test_a_promise_is_judged_by_the_sum_of_its_weeks():
    assert judge([week(5 * DOLLAR), week(5 * DOLLAR)]) is Verdict.KEPT
    assert judge([week(10 * DOLLAR), week(10 * DOLLAR)]) is Verdict.KEPT
    assert judge([week(11 * DOLLAR), week(10 * DOLLAR)]) is Verdict.MORE
    assert judge([week(11 * DOLLAR), week(-2 * DOLLAR)]) is Verdict.LESS
    assert judge([week(5, 5, 10), week(500, 500, 1_000)]) is Verdict.KEPT, "a hundred times the work"


def test_weeks_that_cannot_be_compared_count_neither_way():
    kept = week(7 * DOLLAR)
    assert judge([kept, unknown(), kept]) is Verdict.KEPT
    assert judge([kept, unknown()]) is judge([unknown(), unknown()]) is Verdict.UNKNOWN
    assert (a_month([unknown()]), a_month([kept, unknown()])) == (None, 30 * DOLLAR)


@given(st.lists(st.integers(-(10**12), 10**12), min_size=2, max_size=13))
def test_a_month_lies_between_the_least_and_the_most_of_its_weeks(saved: list[int]):
    month = a_month(week(each) for each in saved)
    assert month is not None
    assert min(saved) * 30 // 7 - 1 <= month <= max(saved) * 30 // 7 + 1


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_verdict_does_not_depend_on_how_many_calls_there_are(few: int, many: int):
    work = moved(low=2 * DOLLAR, high=4 * DOLLAR)
    verdicts = set()
    for calls in (few, many):
        now = pinned(1_000 * calls)
        found = Week("2026-W46", calls, round(1.4 * DOLLAR) * calls, compared(work, now), Signals())
        verdicts.add(judge([found, found]))
    assert len(verdicts) == 1


def test_the_hit_rate_counts_what_can_be_judged():
    found = hit_rate([Verdict.KEPT, Verdict.MORE, Verdict.LESS, Verdict.EARLY, Verdict.UNKNOWN])
    assert found == HitRate(judged=3, hit=2)
    assert (found.percent, hit_rate([]).percent) == (67, None)
