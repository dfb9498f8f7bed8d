"""Which newer model may take a pin's place, and what stands against it: plain values."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from advisor.evidence import Candidate, Landscape
from advisor.upgrades import TRY_SUCCESSOR_DAYS, Terms, Use, candidate_for, closed_gate

TODAY = date(2026, 11, 2)
PRICES = {"input": 3_000_000_000, "output": 15_000_000_000}


def model(name: str, **more: Any) -> Candidate:
    known: dict[str, Any] = {
        "maker": name.partition("/")[0],
        "prices": PRICES,
        "tiers": (),
        "capabilities": frozenset({"tools"}),
        "context_length": 100_000,
        "max_output": 8_000,
        "strength": {},
        "error": {},
        "first_seen_on": TODAY,
        "line": name,
    }
    return Candidate(id=name, **{**known, **more})


def landscape(*models: Candidate) -> Landscape:
    return Landscape({each.id: each for each in models}, {}, {}, TODAY)


OLD, NEW = model("acme/one", line="acme/two"), model("acme/two")
TERMS = Terms(PRICES)


def test_the_newest_of_the_line_is_what_a_pin_may_move_to():
    here = landscape(OLD, NEW, model("zeta/one", line="acme/two"))
    assert candidate_for("acme/one", here) == NEW
    assert candidate_for("acme/two", here) is None
    assert candidate_for("zeta/one", here) is None  # another maker's
    assert candidate_for("acme/none", here) is None
    assert candidate_for("acme/one", landscape(OLD)) is None  # it has no provider here


@pytest.mark.parametrize(("days", "is_tried"), [(TRY_SUCCESSOR_DAYS, True), (TRY_SUCCESSOR_DAYS + 1, False)])
def test_the_successor_of_a_model_that_ends_soon_is_tried_in_time(days: int, is_tried: bool):
    ending = model("acme/one", sunset_on=TODAY + timedelta(days=days), successor="acme/next")
    found = candidate_for("acme/one", landscape(ending, model("acme/next")))
    assert (found is not None) is is_tried
    assert candidate_for("acme/one", landscape(replace(ending, successor=None))) is None


def test_nothing_stands_against_a_model_that_is_as_good_in_everything():
    assert closed_gate(OLD, NEW, TERMS) == ""


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ({"sunset_on": TODAY}, "about to end itself"),
        ({"deprecated_on": TODAY}, "about to end itself"),
        ({"capabilities": frozenset()}, "cannot do what acme/one can: tools"),
        ({"context_length": 99_999}, "takes 99999 tokens at most, acme/one 100000"),
        ({"max_output": 7_999}, "writes 7999 tokens"),
        ({"prices": PRICES | {"output": 15_000_000_001}}, "costs $15.000000001 per million units of output"),
    ],
)
def test_what_it_lacks_or_costs_closes_a_gate(new: dict[str, Any], words: str):
    assert words in closed_gate(OLD, replace(NEW, **new), TERMS)


def test_a_dearer_bucket_counts_only_where_the_calls_use_it():
    dear = replace(NEW, prices=PRICES | {"cache_read": 4_000_000_000})
    assert closed_gate(OLD, dear, TERMS) == ""
    cached = Use({"input": 10.0, "cache_read": 10.0, "output": 1.0}, 1.0)
    assert "cache_read" in closed_gate(OLD, dear, Terms(PRICES, use=cached))  # which costs what input does
    assert closed_gate(OLD, replace(NEW, prices=PRICES), Terms(PRICES, use=cached)) == ""
    images = Use({"input_image": 1.0}, 1.0)
    with_images = replace(NEW, prices=PRICES | {"input_image": 1})
    assert "nothing is allowed" in closed_gate(OLD, with_images, Terms(PRICES, use=images))


def test_the_price_is_that_of_prompts_as_long_as_the_calls_are():
    tiered = replace(NEW, tiers=((50_000, PRICES | {"input": 6_000_000_000}),))
    assert closed_gate(OLD, tiered, Terms(PRICES, use=Use({"input": 100_000.0}, 2.0))) == ""
    assert "of input" in closed_gate(OLD, tiered, Terms(PRICES, use=Use({"input": 120_000.0}, 2.0)))


def test_where_the_pinned_model_costs_more_for_long_prompts_the_ceiling_is_higher_by_as_much():
    double = ((50_000, {"input": 6_000_000_000, "output": 15_000_000_000}),)
    old, long = replace(OLD, tiers=double), Use({"input": 120_000.0}, 2.0)
    assert closed_gate(old, replace(NEW, tiers=double), Terms(PRICES, use=long)) == ""
    assert closed_gate(old, replace(NEW, tiers=double), Terms({}, use=long)) == ""
    dearer = replace(NEW, tiers=((50_000, PRICES | {"input": 6_000_000_001}),))
    assert "where $6.00 is allowed" in closed_gate(old, dearer, Terms(PRICES, use=long))
    half = Terms(PRICES | {"input": 1_500_000_000}, use=long)  # somebody set it lower
    assert "where $3.00 is allowed" in closed_gate(old, replace(NEW, tiers=double), half)


def test_a_key_that_may_call_the_old_one_alone_closes_a_gate():
    both, old, other = frozenset({OLD.id, NEW.id}), frozenset({OLD.id}), frozenset({"zeta/one"})
    assert closed_gate(OLD, NEW, Terms(PRICES, keys=[None, both, other])) == ""
    assert "a key that may call acme/one" in closed_gate(OLD, NEW, Terms(PRICES, keys=[None, both, old]))


def test_what_keys_may_call_is_what_one_of_them_may():
    assert Terms({}).may_call is None
    assert Terms({}, keys=[frozenset({"a/a"}), None]).may_call is None
    assert Terms({}, keys=[frozenset({"a/a"}), frozenset({"b/b"})]).may_call == {"a/a", "b/b"}
