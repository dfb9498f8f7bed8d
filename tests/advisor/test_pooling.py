"""What many organizations show of a model, so that none of them decides it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.pooling import CALLS_OF_ONE, Lengths, Periods, pool_health, pool_lengths


def lengths(mean: float, calls: int = 100, spread: float = 0.5) -> Lengths:
    """So many answers with this mean and standard deviation of the logarithm."""
    return Lengths(calls, mean * calls, (mean * mean + spread * spread) * calls)


def periods(
    calls: int = 100, failed: int = 0, before: int = 100, failed_before: int = 0, late: float = 0.0, ms: float = 7.0
) -> Periods:
    after, earlier = lengths(ms + late, calls), lengths(ms, before)
    return Periods(
        calls, failed, calls, after.logs, after.squares, before, failed_before, before, earlier.logs, earlier.squares
    )


def test_lengths_of_one_or_two_organizations_say_nothing():
    assert pool_lengths([lengths(5.0)] * 2) is None


def test_lengths_are_the_mean_of_those_who_agree():
    found = pool_lengths([lengths(5.0 + number / 100) for number in range(-10, 11)])
    assert found is not None
    assert found.log_mean == pytest.approx(5.0)
    assert 0 < found.error < 0.05
    assert found.calls == 21 * 100


@given(st.lists(st.floats(4.0, 6.0), min_size=3, max_size=20), st.floats(0.0, 12.0), st.integers(1, 10**9))
def test_nobody_moves_a_length_out_of_the_range_of_the_others(others, wild, calls):
    found = pool_lengths([*map(lengths, others), lengths(wild, calls)])
    assert found is not None
    assert min(others) - 1e-9 <= found.log_mean <= max(others) + 1e-9
    assert found.error < 2.0
    assert found.calls <= (len(others) + 1) * CALLS_OF_ONE


def test_the_error_is_wider_where_organizations_differ():
    alike = pool_lengths([lengths(5.0)] * 9)
    unlike = pool_lengths([lengths(5.0 + number / 4) for number in range(-4, 5)])
    assert alike is not None
    assert unlike is not None
    assert unlike.error > 3 * alike.error


def test_health_needs_calls_of_late_and_before():
    assert pool_health([]) is None
    assert pool_health([periods(calls=0), periods(calls=0)]) is None
    assert pool_health([periods(before=0)]) is None


def test_a_model_that_fails_for_all_fails():
    found = pool_health([periods(failed=30)] * 8)
    assert found is not None
    assert (found.calls, found.failed, found.calls_before, found.failed_before) == (800, 240, 800, 0)


@pytest.mark.parametrize("others", [1, 3, 4, 8])
def test_one_organization_whose_calls_all_fail_warns_nobody(others):
    found = pool_health([periods(failed=1)] * others + [periods(calls=10**6, failed=10**6)])
    assert found is not None
    assert found.failed / found.calls == pytest.approx(0.01, abs=0.005)


def test_four_of_many_are_not_enough_and_five_are():
    well, ill = [periods()] * 10, periods(failed=50)
    four, five = pool_health([*well, *[ill] * 4]), pool_health([*well, *[ill] * 5])
    assert four is not None
    assert five is not None
    assert (four.failed, five.failed) == (0, 250)


def test_what_failed_before_counts_as_it_was():
    found = pool_health([periods()] * 9 + [periods(failed_before=100)])
    assert found is not None
    assert (found.failed, found.failed_before) == (0, 100)


def test_an_organization_alone_is_its_own_measure():
    found = pool_health([periods(failed=7, late=0.3)])
    assert found is not None
    assert (found.failed, found.log_ms_mean - found.log_ms_before) == (7, pytest.approx(0.3))


def test_delays_are_compared_within_each_organization():
    """Those with short answers call more of late: the model is as quick as it was."""
    short, long = periods(calls=200, before=20, ms=5.0), periods(calls=20, before=200, ms=9.0)
    found = pool_health([short, long] * 5)
    assert found is not None
    assert found.log_ms_mean == pytest.approx(found.log_ms_before)
    assert found.log_ms_error > 0


def test_a_delay_goes_as_far_as_five_organizations_see_it():
    few = pool_health([periods(late=0.1)] * 9 + [periods(late=5.0)] * 4)
    all_ = pool_health([periods(late=0.7)] * 9)
    assert few is not None
    assert all_ is not None
    assert few.log_ms_mean - few.log_ms_before == pytest.approx(0.1)
    assert all_.log_ms_mean - all_.log_ms_before == pytest.approx(0.7)


def test_without_answers_in_both_periods_there_is_no_delay():
    silent = Periods(10, 10, 0, 0.0, 0.0, 10, 0, 10, 70.0, 490.0)
    found = pool_health([silent] * 6)
    assert found is not None
    assert (found.failed, found.log_ms_mean, found.log_ms_before, found.log_ms_error) == (60, 0.0, 0.0, 0.0)


def test_an_organization_with_one_answer_brings_a_wide_error():
    one = pool_lengths([Lengths(1, 5.0, 25.0)] * 3)
    assert one is not None
    assert one.error == pytest.approx(math.sqrt(1 / 3))
