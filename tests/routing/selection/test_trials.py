"""A newer model on trial answers a share of a pin's calls, and no call fails for it."""

from math import isfinite, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from komilion.common.ids import new_request_id
from routing.selection.choose import choose
from routing.selection.explain import explain, replay
from routing.selection.filters import Needs
from routing.selection.market import Market
from routing.selection.receipt import pack
from routing.selection.trials import BASIS_POINTS, Trial, trial_for
from tests.routing.selection.stand_ins import Row, inputs, market
from tests.routing.selection.test_choice_properties import Case, cases

OLD, NEW, OTHER = "acme/one", "acme/two", "zeta/good"
LOGITS = {OLD: 1.0, NEW: 1.0, OTHER: 3.0}
TRIED, PINNED = f"pinned; trial of {NEW}", "pinned"


def failing(*names: str) -> Needs:
    return Needs(200, open_offers=frozenset(("acme", name) for name in names))


@pytest.fixture
def three() -> Market:
    return market(Row(OLD, "acme"), Row(NEW, "acme"), Row(OTHER, "zeta"))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, BASIS_POINTS))
def test_the_share_of_many_requests_is_the_trials_share_within_the_error_of_sampling(basis_points: int) -> None:
    trial, calls = Trial(NEW, basis_points), 2_000
    taken = sum(trial.takes(new_request_id()) for _ in range(calls))
    share = basis_points / BASIS_POINTS
    assert abs(taken / calls - share) <= 5 * sqrt(share * (1 - share) / calls)


@given(st.text(min_size=1), st.integers(0, BASIS_POINTS))
def test_a_request_that_is_asked_about_again_goes_the_same_way(request_id: str, basis_points: int) -> None:
    trials = {"math": Trial(NEW, basis_points)}
    assert trial_for(trials, "math", request_id) == trial_for(trials, "math", request_id)


@given(st.text(min_size=1), st.integers(0, BASIS_POINTS), st.integers(0, BASIS_POINTS))
def test_a_larger_share_keeps_all_that_the_smaller_had(request_id: str, one: int, other: int) -> None:
    if Trial(NEW, min(one, other)).takes(request_id):
        assert Trial(NEW, max(one, other)).takes(request_id)


def test_only_requests_that_are_carried_out_and_of_that_task_type_are_tried() -> None:
    trials = {"math": Trial(NEW, BASIS_POINTS)}
    assert trial_for(trials, "math", "gen-1") == NEW
    assert trial_for(trials, "math", "") is None
    assert trial_for(trials, "writing", "gen-1") is None
    assert trial_for({}, "math", "gen-1") is None


def test_the_trial_answers_in_the_pins_place_and_the_pin_is_next(three: Market) -> None:
    choice = choose(inputs(three, LOGITS, pin=OLD, trial=NEW))
    assert (choice.models, choice.decision.rule) == ((NEW, OLD, OTHER), "pinned")


@pytest.mark.parametrize("logits", [LOGITS, None])
@pytest.mark.parametrize(
    ("needs", "models", "rule"),
    [
        (failing(NEW), (OLD, OTHER), "pinned"),
        (failing(OLD), (NEW, OTHER), "pinned"),
        (Needs(200, allowed=frozenset({OLD, OTHER})), (OLD, OTHER), "pinned"),
        (Needs(200, allowed=frozenset({NEW})), (NEW,), "pinned"),
    ],
)
def test_where_the_trial_cannot_serve_the_pin_does(
    three: Market, logits: dict[str, float] | None, needs: Needs, models: tuple[str, ...], rule: str
) -> None:
    choice = choose(inputs(three, logits, pin=OLD, trial=NEW, needs=needs))
    assert (choice.models, choice.decision.rule) == (models, rule)


def test_where_neither_can_the_policy_chooses(three: Market) -> None:
    choice = choose(inputs(three, LOGITS, pin=OLD, trial=NEW, needs=failing(OLD, NEW)))
    assert (choice.models, choice.decision.rule) == ((OTHER,), "pin_filtered")


def test_a_trial_of_what_cannot_be_called_is_passed_over(three: Market) -> None:
    choice = choose(inputs(three, LOGITS, pin=OLD, trial="acme/gone"))
    assert choice.models[0] == OLD


@pytest.mark.parametrize(
    ("more", "verdict", "of_trial"),
    [
        ({"trial": NEW}, TRIED, "chosen"),
        ({"trial": NEW, "needs": failing(NEW)}, PINNED, "filtered: its provider is failing"),
        ({"trial": "acme/gone"}, PINNED, "filtered: it cannot be called now"),
        ({}, PINNED, None),
    ],
)
def test_the_receipt_tells_both_and_decides_the_same_again(
    three: Market, more: dict[str, object], verdict: str, of_trial: str | None
) -> None:
    packed = pack(choose(inputs(three, LOGITS, pin=OLD, **more)))
    told = explain(packed, three.facts)
    assert (told["rule"], told["pin"]["model"], told["pin"]["verdict"]) == ("pinned", OLD, verdict)
    assert told["pin"].get("trial") == (None if of_trial is None else {"model": more["trial"], "verdict": of_trial})
    assert ("on trial" in told["why"]) is (verdict == TRIED)
    assert "would have taken" in told["counterfactual"]
    assert replay(packed, three.facts, None, "").same


def test_a_trial_without_a_pin_is_none(three: Market) -> None:
    choice = choose(inputs(three, LOGITS, trial=NEW))
    assert choice.decision.rule != "pinned"
    assert "trial" not in pack(choice)


@settings(deadline=None)
@given(cases(), st.data())
def test_whatever_is_on_trial_a_call_is_answered_as_well_as_without_it(case: Case, data: st.DataObject) -> None:
    ids = [*sorted({row.model for row in case.rows}), "z/gone"]
    pin, trial = data.draw(st.permutations(ids))[:2]
    given = replace(case.inputs("balanced"), pin=pin)
    without, tried = choose(given), choose(replace(given, trial=trial))
    feasible = {model for model, cost in zip(ids, without.table.costs.tolist(), strict=False) if isfinite(cost)}
    expected = [model for model in (trial, pin) if model in feasible]
    assert list(tried.models[: len(expected)]) == expected
    assert set(tried.models) <= feasible
    assert len(set(tried.models)) == len(tried.models) == len(without.models)
    if trial not in feasible:
        assert tried.models == without.models
    assert replay(pack(tried), tried.market.facts, None, "").same
