"""Trials of upgrades: bad models are found soon, good ones are let alone however often one looks."""

import numpy as np
import pytest

from advisor.canary import BASIS_POINTS, STEPS, Arm, Pair, Stage, Verdict, evidence_of, judge, mixed
from advisor.rules import Rules
from bench.advisor_sim import trials

RULES = Rules()
FIRST = STEPS[0]


def arm(calls, failed=0, **other) -> Arm:
    return Arm(calls=calls, failed=failed, **other)


def timed(calls, log_ms, spread=0.8) -> Arm:
    return Arm(calls=calls, timed=calls, log_ms=calls * log_ms, log_ms_square=calls * (log_ms**2 + spread**2))


def against(pairs, signal) -> float:
    """How much speaks against the newer model in this, as a logarithm."""
    return mixed(evidence_of(pairs, RULES)[signal])


def stage(calls=200, hours=6.0, share=FIRST) -> Stage:
    return Stage(share, calls, hours)


def test_a_step_needs_calls_and_hours_or_a_long_wait():
    pairs = [Pair(FIRST, arm(4_000, 40), arm(200, 2))]
    assert judge(pairs, stage(200, 6.0), RULES).step == "next_step"
    assert judge(pairs, stage(200, 5.9), RULES).step == "go_on"
    assert judge(pairs, stage(199, 6.0), RULES).step == "go_on"
    assert judge(pairs, stage(3, 8.0), RULES) == Verdict(
        "next_step", "nothing speaks against it after 8 hours and 3 calls"
    )
    assert judge([], stage(0, 0.0), RULES) == Verdict("go_on", "0 of 200 calls, 0 of 6 hours")


def test_the_larger_share_asks_for_more():
    pairs = [Pair(FIRST, arm(4_000, 40), arm(200, 2)), Pair(STEPS[1], arm(1_000, 10), arm(1_000, 10))]
    assert judge(pairs, stage(1_000, 24.0, STEPS[1]), RULES).step == "next_step"
    assert judge(pairs, stage(1_000, 12.0, STEPS[1]), RULES).step == "go_on"
    assert judge(pairs, stage(100, 72.0, STEPS[1]), RULES).step == "go_on"


@pytest.mark.parametrize(
    ("signal", "words"),
    [("failed", "fails"), ("retried", "tried again"), ("cut", "is cut"), ("disliked", "voted down")],
)
def test_worse_is_said_with_its_figures(signal, words):
    pairs = [Pair(FIRST, Arm(calls=3_800, **{signal: 76}), Arm(calls=200, **{signal: 24}))]
    verdict = judge(pairs, stage(), RULES)
    assert verdict.step == "worse"
    assert words in verdict.reason
    assert "12.0% (24 of 200)" in verdict.reason
    assert "2.0% (76 of 3800)" in verdict.reason


def test_a_slower_model_is_found_and_a_faster_one_is_not():
    slow = [Pair(FIRST, timed(3_000, 8.0), timed(200, 8.9))]
    verdict = judge(slow, stage(), RULES)
    assert verdict.step == "worse"
    assert "7.3 s where the older one takes 3.0 s" in verdict.reason
    assert against([Pair(FIRST, timed(3_000, 8.0), timed(200, 5.0))], "slow") < 0
    assert against([Pair(FIRST, timed(300_000, 8.0), timed(20_000, 0.5))], "slow") < 0
    assert against([Pair(FIRST, timed(3_000, 8.0), timed(49, 9.9))], "slow") == 0


def test_an_outage_that_hits_both_speaks_against_neither():
    pairs = [Pair(FIRST, arm(3_800, 1_900), arm(200, 100))]
    assert judge(pairs, stage(), RULES).step == "next_step"


def test_what_was_seen_at_several_shares_counts_together():
    first = Pair(FIRST, arm(950, 10), arm(50, 3))
    second = Pair(STEPS[1], arm(100, 2), arm(100, 12))
    alone = against([first], "failed"), against([second], "failed")
    assert against([first, second], "failed") > max(alone)


def trial(rng, natures, hourly=2_000, looks=60):
    """Whether the new model was called worse, and after how many of its calls; looked at every few calls."""
    old_rate, new_rate = natures
    old, new = Arm(), Arm()
    share = FIRST / BASIS_POINTS
    for _ in range(looks):
        calls = int(rng.poisson(hourly / 10))
        of_new = int(rng.binomial(calls, share))
        rate_now = 0.3 if rng.random() < 0.03 else 0.0  # hours in which everything fails
        old = Arm(old.calls + calls - of_new, old.failed + int(rng.binomial(calls - of_new, old_rate + rate_now)))
        new = Arm(new.calls + of_new, new.failed + int(rng.binomial(of_new, new_rate + rate_now)))
        if judge([Pair(FIRST, old, new)], stage(0, 0.0), RULES).step == "worse":
            return new.calls
    return None


def test_an_equal_model_is_rarely_called_worse_however_often_one_looks():
    rng = np.random.default_rng(11)
    alarms = sum(trial(rng, (0.03, 0.03)) is not None for _ in range(400))
    assert alarms <= 0.05 * 400


def test_ten_points_more_failures_are_found_within_a_few_hundred_calls():
    rng = np.random.default_rng(12)
    found = [trial(rng, (0.02, 0.12)) for _ in range(100)]
    assert None not in found
    assert np.median(found) < 150
    assert max(found) < 400


def test_whole_trials_stop_what_is_bad_within_a_day_and_let_through_what_is_good():
    ended = trials.run(seed=5, pools=[[100.0], [600.0], [3_000.0]], count=100)
    bad = [one for one in ended if one.fault not in {"", trials.BY_VOTES}]
    good = [one for one in ended if not one.fault]
    assert all(one.rolled_back_after_h is not None and one.rolled_back_after_h <= 24 for one in bad)
    assert sum(one.rolled_back_after_h is not None for one in good) <= 0.05 * len(good)
    assert all(one.moved_after_h is not None for one in good if one.rolled_back_after_h is None)
