"""The arithmetic of chance, against draws and against what is known in closed form."""

import numpy as np
import pytest
from scipy import stats

from advisor.statistics import (
    Normal,
    Outcomes,
    bar,
    normal_cdf,
    probability_higher,
    probability_raised,
    reaches,
    relative_error,
    scaled,
    wilson_low,
)


def test_the_normal_distribution():
    for value in (-3.0, -0.5, 0.0, 1.28, 4.0):
        assert normal_cdf(value) == pytest.approx(stats.norm.cdf(value), abs=1e-12)


def test_the_probability_of_a_promise_is_what_draws_say():
    known, other = Normal(2.0, 0.4), Normal(1.8, 0.3)
    rng = np.random.default_rng(1)
    one, two = rng.normal(2.0, 0.4, 400_000), rng.normal(1.8, 0.3, 400_000)
    assert reaches(other, bar(known, lambda x: x - 0.5)) == pytest.approx((two >= one - 0.5).mean(), abs=0.003)
    curved = reaches(other, bar(known, lambda x: 0.3 * x**2))
    assert curved == pytest.approx((two >= 0.3 * one**2).mean(), abs=0.003)


def test_the_grid_of_a_log_normal_factor_has_its_mean_and_its_ends():
    values = Outcomes(scaled(-0.02, 0.2))
    assert values.mean == pytest.approx(1.0, abs=0.002)
    low, high = values.ends
    assert low == pytest.approx(np.exp(-0.02 - 1.2816 * 0.2), abs=0.02)
    assert high == pytest.approx(np.exp(-0.02 + 1.2816 * 0.2), abs=0.02)
    assert scaled(0.5, 0.0) == pytest.approx([np.exp(0.5)])


def test_a_mean_outside_of_its_ends_is_stated_at_the_end():
    outcomes = Outcomes(np.array([0.0] * 95 + [1_000.0] * 5))
    assert outcomes.mean == outcomes.ends[1] == 0.0
    assert outcomes.above_nothing == 0.05


def test_a_rate_that_is_higher_beyond_chance():
    draws = np.random.default_rng(2)
    now, before = draws.beta(60.5, 940.5, 400_000), draws.beta(30.5, 970.5, 400_000)
    found = probability_higher((60, 1_000), (30, 1_000), 0.02)
    assert found == pytest.approx((now - before > 0.02).mean(), abs=0.02)


def test_wilsons_interval_and_none_of_it():
    expected = stats.binomtest(10, 50).proportion_ci(0.95, method="wilson").low
    assert wilson_low(10, 50) == pytest.approx(expected, abs=1e-4)
    assert wilson_low(0, 0) == 0.0


def test_weeks_that_vary_say_so_and_few_weeks_lean_on_the_assumption():
    assert relative_error([], 0.25, 4) == 0.25
    assert relative_error([0.0, 0.0], 0.25, 4) == 0.25
    assert relative_error([1.0, 1.0, 1.0, 1.0], 0.25, 4) < 0.25
    assert relative_error([1.0, 5.0, 0.2, 3.0], 0.25, 4) > 0.4


def test_what_two_sources_say_together_is_surer_than_either():
    both = Normal(0.0, 0.3).and_also(Normal(1.0, 0.1))
    assert 0.85 < both.mean < 1.0
    assert both.error < 0.1
    assert Normal(1.0, 0.5).moved(100.0, 4.0, most=0.5).mean == 1.5


def _raised(hits: tuple[int, int], before: tuple[int, int]) -> float:
    return probability_raised(hits, before, lambda rates: np.maximum(2 * rates, rates + 0.05))


@pytest.mark.parametrize(
    ("hits", "before"), [((5, 50), (1, 200)), ((9, 60), (3, 40)), ((700, 9_000), (90, 4_000)), ((3, 3), (0, 0))]
)
def test_how_likely_a_rate_is_raised_is_what_draws_say(hits: tuple[int, int], before: tuple[int, int]):
    rng = np.random.default_rng(3)
    now, then = (rng.beta(k + 0.5, n - k + 0.5, 400_000) for k, n in (hits, before))
    assert _raised(hits, before) == pytest.approx((now >= np.maximum(2 * then, then + 0.05)).mean(), abs=0.003)


def test_far_out_it_holds_too():
    """Without an error before: the tail of one beta distribution, in closed form."""
    exact = stats.beta.sf(0.05, 9.5, 42.5)
    sure = probability_raised((9, 51), (0, 10_000), lambda rates: np.full_like(rates, 0.05))
    assert 1 - sure == pytest.approx(1 - exact, rel=0.02)


def test_more_than_ten_thousand_tries_say_no_more():
    assert _raised((70, 1_000), (10_000, 1_000_000)) == pytest.approx(_raised((70, 1_000), (100, 10_000)))
