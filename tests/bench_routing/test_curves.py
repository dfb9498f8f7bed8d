"""Cost against quality: hulls, areas, the cost of equal quality."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.routing.curves import curve_of, hull, single_models

POINTS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30)


def test_the_area_of_two_models_is_the_mean_of_their_quality() -> None:
    curve = hull(np.array([1.0, 3.0]), np.array([0.4, 0.8]))
    assert curve.area(1, 3) == pytest.approx(0.6)
    assert curve.cost_of(0.6) == pytest.approx(2)
    assert curve.cost_of(0.9) is None
    assert curve.cost_of(0.1) == 1


def test_a_dear_and_bad_model_adds_nothing() -> None:
    curve = hull(np.array([1.0, 3.0, 5.0]), np.array([0.4, 0.8, 0.1]))
    assert curve.quality.tolist() == [0.4, 0.8]
    assert curve.area(1, 5) == pytest.approx(0.7)


def test_one_model_alone_has_its_quality() -> None:
    assert hull(np.array([2.0]), np.array([0.7])).area(2, 2) == pytest.approx(0.7)


@given(POINTS)
def test_a_hull_rises_ever_less_and_covers_every_point(points: list[tuple[int, int]]) -> None:
    cost, quality = (np.array(values, float) for values in zip(*points, strict=True))
    curve = hull(cost, quality)
    slopes = np.diff(curve.quality) / np.diff(curve.cost)
    assert (slopes > 0).all()
    assert (np.diff(slopes) <= 1e-9).all()
    assert (np.interp(cost, curve.cost, curve.quality) >= quality - 1e-9).all()


def test_who_knows_the_outcomes_gets_the_best_for_the_least() -> None:
    generator = np.random.default_rng(0)
    score = (generator.random((200, 2)) < [0.5, 0.8]).astype(float)
    paid = np.tile([1.0, 10.0], (200, 1))
    oracle, mixing = curve_of(score, paid, score, paid), single_models(score, paid)
    assert oracle.quality[-1] == pytest.approx(score.max(1).mean())
    assert oracle.area(1, 10) > mixing.area(1, 10)
    constant = np.tile(score.mean(0), (200, 1))
    assert curve_of(constant, paid, score, paid).area(1, 10) == pytest.approx(mixing.area(1, 10))
