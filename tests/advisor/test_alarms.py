"""When a model in use is called failing or slow: beyond chance, still, and since when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import log

import numpy as np
import pytest

from advisor.advice import Kind
from advisor.alarms import Alarm, Lately, Slot, Tried, alarm_of
from advisor.rules import Rules

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
RULES = Rules()
QUARTERS = 8  # of a window
USUAL = Tried(calls=4_000, failed=40)


def slots(*tried: Tried) -> list[Slot]:
    """Quarters of an hour, the last of which ends at noon."""
    first = NOON - timedelta(minutes=15 * len(tried))
    return [Slot(first + timedelta(minutes=15 * number), each) for number, each in enumerate(tried) if each.calls]


def look(*tried: Tried, usual: Tried = USUAL) -> Alarm | None:
    return alarm_of(Lately("acme/large", slots(*tried), NOON, usual), RULES)


def failures(*failed: int, calls: int = 20) -> list[Tried]:
    return [Tried(calls=calls, failed=each) for each in failed]


def answers(ms: float, output: float = 200, count: int = 25, spread: float = 0.6) -> Tried:
    """Answers whose durations and lengths have these typical values, and vary by a log-normal factor."""
    sums = [(count * value, count * (value**2 + spread**2)) for value in (log(ms), log(output))]
    (log_ms, ms_square), (log_output, output_square) = sums
    return Tried(count, 0, 0, count, log_ms, ms_square, log_output, output_square)


def test_a_model_that_fails_now_and_did_not_is_failing():
    alarm = look(*failures(0, 0, 0, 0, 1, 9, 12, 10))
    assert alarm is not None
    assert (alarm.kind, alarm.model) == (Kind.FAILING, "acme/large")
    assert alarm.confidence > 0.999
    assert alarm.figures["failed_share_before"] == 0.01


def test_it_is_told_since_when_and_how_many_of_how_many():
    alarm = look(*failures(0, 1, 0, 0, 0, 9, 12, 10))
    assert alarm is not None
    assert alarm.figures["since"] == "2026-11-30T11:15:00+00:00"
    assert (alarm.figures["now_failed"], alarm.figures["now_calls"]) == (31, 60)


def test_what_another_model_answered_is_counted_apart():
    alarm = look(*[Tried(20, 10, 4)] * QUARTERS)
    assert alarm is not None
    assert (alarm.figures["now_failed"], alarm.figures["now_rescued"]) == (80, 32)


@pytest.mark.parametrize(
    ("failed", "calls"),
    [
        ((0, 0, 0, 0, 0, 1, 1, 2), 20),  # four
        ((2, 2, 2, 2, 2, 2, 2, 2), 6),  # of 48 calls
        ((1, 1, 1, 1, 1, 1, 1, 1), 20),  # five of a hundred, which is not five more than one
        ((0, 20, 20, 0, 0, 0, 0, 0), 20),  # it is over
    ],
)
def test_too_few_too_little_and_what_is_over_is_no_news(failed: tuple[int, ...], calls: int):
    assert look(*failures(*failed, calls=calls)) is None


def test_what_is_hardly_called_any_more_is_no_news():
    assert look(*failures(9, 9, 9, 9, 9, 9), Tried(1, 1), Tried(1, 1)) is None


def test_a_model_that_always_fails_a_good_deal_must_fail_twice_as_often():
    often = Tried(calls=4_000, failed=800)
    assert look(*failures(*[7] * QUARTERS), usual=often) is None
    assert look(*failures(*[14] * QUARTERS), usual=often) is not None


def test_of_a_model_that_was_never_called_before_nothing_is_said():
    assert look(*failures(*[20] * QUARTERS), usual=Tried()) is None


def test_answers_that_take_three_times_as_long_are_slow():
    usual = answers(2_000, count=900)
    alarm = look(answers(2_000), *[answers(6_400)] * 7, usual=usual)
    assert alarm is not None
    assert (alarm.kind, alarm.figures["since"]) == (Kind.SLOW, "2026-11-30T10:15:00+00:00")
    assert (alarm.figures["times"], alarm.figures["now_calls"]) == (3.2, 175)
    assert alarm.figures["log_ms"] == pytest.approx(log(6_400), abs=0.001)


def test_answers_that_are_as_much_longer_may_take_as_much_longer():
    usual = answers(2_000, count=900)
    assert look(*[answers(8_000, output=800)] * QUARTERS, usual=usual) is None
    assert look(*[answers(8_000, output=50)] * QUARTERS, usual=usual) is not None


def test_answers_that_were_slow_an_hour_ago_are_not_slow():
    assert look(*[answers(90_000)] * 5, *[answers(2_000)] * 3, usual=answers(2_000, count=900)) is None


def test_few_answers_or_none_of_late_say_nothing_of_slowness():
    usual = answers(2_000, count=900)
    assert look(*[answers(9_000, count=6)] * QUARTERS, usual=usual) is None
    assert look(*[answers(9_000)] * QUARTERS, usual=answers(2_000, count=20)) is None
    assert look(*[answers(9_000)] * 6, Tried(25), Tried(25), usual=usual) is None


def test_a_model_that_fails_and_is_slow_is_failing():
    ill = replace(answers(9_000), calls=40, failed=15)
    alarm = look(*[ill] * QUARTERS, usual=answers(2_000, count=900))
    assert alarm is not None
    assert alarm.kind == Kind.FAILING


@pytest.mark.slow
def test_where_nothing_is_wrong_hardly_anybody_is_alarmed():
    """1,000 weeks of models that fail as ever, each looked at every quarter of an hour: at most one false alarm."""
    rng = np.random.default_rng(1)
    looks = alarmed = 0
    for _ in range(1_000):
        share, calls = rng.choice([0.003, 0.01, 0.03, 0.08]), rng.choice([7, 12, 30, 100])
        many = int(28 * 96 * calls * rng.choice([0.02, 0.1, 1.0]))
        usual = Tried(calls=many, failed=int(rng.binomial(many, share)))
        tried = rng.poisson(calls, 7 * 96)
        failed = rng.binomial(tried, share)
        sums = [np.convolve(counts, np.ones(QUARTERS, dtype=int), "valid") for counts in (failed, tried)]
        # The others cannot be an alarm, and are very many.
        worse = np.flatnonzero((sums[0] >= RULES.alert_least_failed) & (sums[0] > (share + 0.02) * sums[1]))
        looks += sums[0].size
        alarmed += any(
            look(*(Tried(int(n), int(k)) for n, k in zip(tried[at:][:8], failed[at:][:8], strict=True)), usual=usual)
            for at in worse.tolist()
        )
    assert looks == 1_000 * (7 * 96 - QUARTERS + 1)
    assert alarmed <= 1


@pytest.mark.slow
def test_where_durations_vary_as_they_do_hardly_anybody_is_alarmed():
    """Slower by day than by night, with answers that vary by a factor of two or three, and quarters that differ."""
    rng = np.random.default_rng(4)
    alarmed = 0
    for _ in range(300):
        spread, calls = rng.choice([0.5, 0.8, 1.1]), rng.choice([7, 12, 30])
        level = 7.5 + 0.3 * np.sin(np.arange(7 * 96) * 2 * np.pi / 96) + rng.normal(0, 0.2, 7 * 96)
        week = [
            _answered(rng, int(count), mean, spread) for count, mean in zip(rng.poisson(calls, 672), level, strict=True)
        ]
        past = _answered(rng, 28 * 96 * int(calls), 7.5, float(np.hypot(spread, 0.3)))
        means = np.convolve([tried.log_ms for tried in week], np.ones(QUARTERS), "valid")
        counts = np.convolve([tried.calls for tried in week], np.ones(QUARTERS), "valid")
        slowest = np.flatnonzero(means / counts > 7.5 + 0.5).tolist()  # the others cannot be an alarm
        alarmed += any(look(*week[at : at + QUARTERS], usual=past) for at in slowest)
    assert alarmed <= 1


def _answered(rng: np.random.Generator, count: int, mean: float, spread: float) -> Tried:
    """So many answers, of the same length."""
    logs = rng.normal(mean, spread, count)
    return Tried(count, 0, 0, count, float(logs.sum()), float((logs**2).sum()), 5.0 * count, 25.0 * count)


@pytest.mark.parametrize(("share", "quarters"), [(1.0, 2), (0.4, 4), (0.2, 8)])
def test_an_outage_is_told_within_half_an_hour_and_less_within_two(share: float, quarters: int):
    """Of a model with 25 calls in each quarter, of which one in a hundred fails else; in nine of ten cases."""
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(200):
        before = [Tried(25, int(rng.binomial(25, 0.01))) for _ in range(QUARTERS - quarters)]
        since = [Tried(25, int(rng.binomial(25, share))) for _ in range(quarters)]
        found += look(*before, *since) is not None
    assert found >= 180
