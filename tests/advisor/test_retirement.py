"""Where pins go whose models end."""

from dataclasses import replace
from datetime import timedelta

import pytest

from advisor.retirement import Move, move_of
from advisor.upgrades import Terms, Use
from tests.advisor.made_up import NANO, TODAY, candidate, landscape

ENDS = TODAY + timedelta(days=7)
OLD = replace(candidate("one/old", 2.0), sunset_on=ENDS, successor="one/new")
NEW = candidate("one/new", 2.0)
ANYBODY = Terms({})


def test_a_pin_stays_until_a_week_before_its_models_end():
    assert move_of("one/new", landscape([NEW]), ANYBODY) is None
    later = replace(OLD, sunset_on=ENDS + timedelta(days=1))
    assert move_of("one/old", landscape([later, NEW]), ANYBODY) is None


def test_then_it_goes_to_the_successor():
    found = move_of("one/old", landscape([OLD, NEW]), Terms({}, keys=[frozenset({"one/old", "one/new"})]))
    assert found == Move("one/new", "one/old ends on 2026-11-30; one/new is its successor")


@pytest.mark.parametrize(
    ("successor", "may_call", "reason"),
    [
        (None, None, "has no successor"),
        (NEW, frozenset({"one/old"}), "your keys may call"),
        (replace(NEW, sunset_on=TODAY + timedelta(days=90)), None, "not there to stay"),
        (candidate("one/new", 2.0, capabilities="tools"), None, "cannot do all"),
        (replace(NEW, context_length=64_000), None, "cannot do all"),
        (candidate("one/new", 2.1), None, "costs more"),
        (replace(NEW, prices={**NEW.prices, "output": 9 * NANO}), None, "costs more"),
    ],
)
def test_or_to_the_policy_where_the_successor_will_not_do(successor, may_call, reason):
    old = OLD if successor else replace(OLD, successor=None)
    found = move_of("one/old", landscape([old, *([successor] if successor else [])]), Terms({}, keys=[may_call]))
    assert found is not None
    assert found.model is None
    assert reason in found.reason


def test_what_the_calls_do_not_use_may_cost_more_and_long_prompts_cost_what_their_tier_does():
    images = replace(NEW, prices={**NEW.prices, "input_image": 9 * NANO})
    longer = replace(NEW, tiers=((1_000, {**NEW.prices, "input": 9 * NANO}),))
    for successor, tokens, is_taken in (
        (images, {"input": 1_000.0}, True),
        (images, {"input_image": 1_000.0}, False),
        (longer, {"input": 1_000.0}, True),
        (longer, {"input": 1_001.0}, False),
    ):
        found = move_of("one/old", landscape([OLD, successor]), Terms({}, use=Use(tokens, 1.0)))
        assert found is not None
        assert (found.model is not None) is is_taken


def test_a_model_that_has_ended_already_leaves_its_pins_to_the_policy():
    for successor in (None, "one/gone", "one/new"):
        gone = replace(landscape([NEW]), retired={"one/old": successor})
        found = move_of("one/old", gone, ANYBODY)
        assert found is not None
        assert found.model is None
    assert move_of("one/never", landscape([NEW]), ANYBODY) is not None
