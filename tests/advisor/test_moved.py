"""What is kept with an advice of the work that its pin moves, for its effect to be measured against."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from advisor.advice import Recommendation
from advisor.effect import Verdict, Week, compare, costs_before, judge
from advisor.evidence import Candidate, Tally
from advisor.moved import Moved, Signals
from advisor.recommend import recommend
from advisor.rules import Rules
from tests.advisor.made_up import candidate, evidence, landscape, tally

DEAR, CHEAP, NEW = candidate("acme/dear", 10.0), candidate("acme/cheap", 1.0), candidate("acme/new", 0.5)
MODELS = [DEAR, CHEAP, NEW]


def advised(tallies: Sequence[Tally], model: Candidate = DEAR) -> Recommendation:
    """The advice about the work of this model, and what the pin moves of it."""
    found = recommend(evidence(tallies), landscape(MODELS), [], Rules())
    (said,) = [said for said in found if (said.subject, said.model) == (model.id, NEW.id)]
    return said


def moved_of(said: Recommendation) -> Moved:
    assert said.moved is not None
    return said.moved


def verdict_after(work: Moved, calls: int) -> Verdict:
    """Two weeks of so many calls at the new model, as large as they were."""
    now = tally(NEW, calls, way="pinned")
    before = costs_before(work, {model.id: model for model in MODELS})
    assert before is not None
    week = Week("2026-W48", calls, round(now.charge_nano), compare(work, before, now), Signals())
    return judge([week, week])


def test_all_that_a_policy_answered_is_moved_each_model_with_its_part():
    mix = [tally(DEAR, 2_000, way="policy", policy="frugal"), tally(CHEAP, 18_000, way="policy", policy="frugal")]
    said = advised(mix)
    work = moved_of(said)
    assert {name: used.requests for name, used in work.models.items()} == {DEAR.id: 2_000, CHEAP.id: 18_000}
    assert work.answered == 20_000
    windows = 30 / 28
    assert work.low_nano == pytest.approx(said.saving.low_nano / windows, abs=1)
    assert work.high_nano == pytest.approx(said.saving.high_nano / windows, abs=1)
    assert {verdict_after(work, calls) for calls in (100, 5_000, 50_000)} == {Verdict.KEPT}


def test_calls_that_name_a_model_are_not_moved():
    both = [tally(DEAR, 2_000), tally(CHEAP, 20_000, way="policy", policy="frugal")]
    said = advised(both)
    work = moved_of(said)
    assert set(work.models) == {CHEAP.id}
    assert work.high_nano < said.saving.mid_nano, "most of what is saved, callers have to see to themselves"
    assert verdict_after(work, 5_000) is Verdict.KEPT


def test_where_all_calls_name_the_model_those_are_what_comes_to_the_pin():
    work = moved_of(advised([tally(DEAR)]))
    assert set(work.models) == {DEAR.id}
    assert verdict_after(work, 700) is Verdict.KEPT


def test_work_that_began_of_late_promises_as_much_for_each_call():
    def lately(by_week: Sequence[float]) -> Moved:
        known = tally(DEAR, way="policy", policy="frugal")
        return moved_of(advised([replace(known, by_week=by_week)]))

    nano = tally(DEAR).charge_nano
    steady, late = lately([nano / 4] * 4), lately([0.0, 0.0, nano / 2, nano / 2])
    assert sum((steady.low_nano, steady.high_nano)) == pytest.approx(sum((late.low_nano, late.high_nano)), rel=0.05)


def test_signals_are_those_of_the_work_that_is_moved():
    routed = replace(tally(CHEAP, 20_000, way="policy", policy="frugal"), failed=40, retried=10, votes=8.0, score=6.0)
    work = moved_of(advised([replace(tally(DEAR, 2_000), failed=100), routed]))
    assert work.signals == Signals(20_000, 40, 10, 8.0, 6.0, 0.0)
