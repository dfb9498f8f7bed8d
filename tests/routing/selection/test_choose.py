"""Which model is chosen, by which rule, and which come next."""

import numpy as np
import pytest
from msgspec.structs import replace

from komilion.common.errors import ProviderUnavailable
from routing.selection.choose import choose, pin_for
from routing.selection.filters import Needs, feasible
from routing.selection.live import Live, LiveView
from routing.selection.market import Market
from routing.selection.offsets import Feedback, Offsets
from routing.selection.policy import bounds
from routing.selection.sessions import Sticky
from tests.routing.selection.stand_ins import Row, inputs, market, reading

# Bounds with the error of 0.2 that the stand-ins have: good .897, fair .870 (above .95 of it), poor .792 (above .85).
GOOD, FAIR, POOR, HOPELESS = 2.33, 2.07, 1.5, -1.0


def priced(price: int) -> dict[str, int]:
    """Input and output at this many dollars per million."""
    return {"input": price * 10**9, "output": price * 10**9}


@pytest.fixture
def four() -> Market:
    """From a free one to a dear one, each at a provider of its own."""
    return market(
        Row("a/hopeless", "alpha", **priced(0)),
        Row("b/poor", "beta", **priced(1)),
        Row("c/fair", "gamma", **priced(5)),
        Row("d/good", "delta", **priced(20)),
    )


LOGITS = {"a/hopeless": HOPELESS, "b/poor": POOR, "c/fair": FAIR, "d/good": GOOD}


def test_the_bounds_are_those_of_the_example() -> None:
    low = bounds(np.array([GOOD, FAIR, POOR]), np.full(3, 0.2))
    assert low[0] * 0.95 < low[1] < low[0] - 0.01
    assert low[0] * 0.85 < low[2] < low[0] * 0.95


@pytest.mark.parametrize(
    ("policy", "model", "rule"),
    [
        ("frugal", "b/poor", "cheapest_above_floor"),
        ("balanced", "c/fair", "cheapest_above_floor"),
        ("premium", "d/good", "best"),
    ],
)
def test_each_policy_takes_the_cheapest_above_its_floor(four: Market, policy: str, model: str, rule: str) -> None:
    choice = choose(inputs(four, LOGITS, policy=policy))
    assert (choice.models[0], choice.decision.rule) == (model, rule)


def test_an_error_that_is_wide_counts_against_a_model(four: Market) -> None:
    given = inputs(four, LOGITS, policy="frugal")
    assert given.quality is not None
    errors = given.quality[1].copy()
    errors[1] = 1.5
    assert choose(replace(given, quality=np.array([given.quality[0], errors]))).models[0] == "c/fair"


def test_premium_gives_a_tie_to_the_cheaper(four: Market) -> None:
    choice = choose(inputs(four, LOGITS | {"c/fair": GOOD - 0.05}, policy="premium"))
    assert (choice.models[0], choice.decision.rule) == ("c/fair", "tie_to_cheaper")
    assert choice.best_offer is not None
    assert choice.best_offer.model_id == "d/good"


def test_premium_never_falls_below_the_floor_of_balanced() -> None:
    """Where all are bad, 0.01 is more than a twentieth of the best."""
    two = market(Row("a/worse", **priced(1)), Row("b/bad", **priced(9)))
    logits = {"a/worse": -2.58, "b/bad": -2.48}
    low = bounds(np.array(list(logits.values())), np.full(2, 0.2))
    assert low[0] > low[1] - 0.01
    assert low[0] < 0.95 * low[1]
    assert choose(inputs(two, logits, policy="premium")).models[0] == "b/bad"


def test_equal_cost_goes_to_the_faster_then_to_the_first_id() -> None:
    rows = [Row("a/slow", tokens_per_s=10), Row("b/fast", tokens_per_s=90), Row("c/fast", tokens_per_s=90)]
    choice = choose(inputs(market(*rows), [1.0, 1.0, 1.0]))
    assert (choice.models[0], choice.decision.rule) == ("b/fast", "tie_to_faster")
    alike = choose(inputs(market(*rows[1:]), [1.0, 1.0]))
    assert (alike.models[0], alike.decision.rule) == ("b/fast", "cheapest_above_floor")


def test_a_model_is_called_where_it_is_cheapest_and_elsewhere_next() -> None:
    rows = [
        Row("a/a", "dear", **priced(9)),
        Row("a/a", "cheap", **priced(1)),
        Row("a/a", "slow", **priced(3), tokens_per_s=1),
        Row("a/a", "fast", **priced(3), tokens_per_s=50),
    ]
    choice = choose(inputs(market(*rows), [1.0]))
    assert [offer.provider for offer in choice.attempts[0]] == ["cheap", "slow", "fast", "dear"]
    assert choice.decision.rule == "only_candidate"
    equal = choose(inputs(market(*rows[2:]), [1.0]))
    assert equal.table.providers == [equal.market.provider_codes[1]]


def test_the_fallbacks_are_what_the_policy_takes_of_the_rest(four: Market) -> None:
    assert choose(inputs(four, LOGITS, policy="balanced")).models == ("c/fair", "d/good", "b/poor", "a/hopeless")
    assert choose(inputs(four, LOGITS, policy="frugal")).models == ("b/poor", "c/fair", "d/good", "a/hopeless")
    assert choose(inputs(four, LOGITS, policy="premium")).models == ("d/good", "c/fair", "b/poor", "a/hopeless")


def test_fallbacks_prefer_a_provider_that_was_not_asked() -> None:
    rows = [Row(f"a/{n}", "alpha", **priced(n + 1)) for n in range(3)] + [Row("b/b", "beta", **priced(9))]
    assert choose(inputs(market(*rows), [1.0] * 4)).models == ("a/0", "b/b", "a/1", "a/2")


def test_at_most_three_fallbacks() -> None:
    many = market(*(Row(f"a/{n}", **priced(n)) for n in range(9)))
    assert len(choose(inputs(many, [1.0] * 9)).models) == 4


def test_a_pin_wins_over_the_policy(four: Market) -> None:
    choice = choose(inputs(four, LOGITS, policy="premium", pin="a/hopeless"))
    assert (choice.models[0], choice.decision.rule) == ("a/hopeless", "pinned")
    assert choice.models[1] == "d/good"


def test_a_pin_loses_to_a_hard_filter(four: Market) -> None:
    needs = Needs(200, open_offers=frozenset({("alpha", "a/hopeless")}))
    choice = choose(inputs(four, LOGITS, needs=needs, pin="a/hopeless"))
    assert (choice.models[0], choice.decision.rule) == ("c/fair", "pin_filtered")


def test_a_pin_on_what_cannot_be_called_is_told_and_passed_over(four: Market) -> None:
    choice = choose(inputs(four, LOGITS, pin="z/gone"))
    assert (choice.models[0], choice.decision.rule) == ("c/fair", "pin_filtered")


def test_the_pin_is_that_of_the_likeliest_task() -> None:
    pins = {"math": "a/a", "writing": "b/b"}
    assert pin_for(pins, reading("math")) == "a/a"
    assert pin_for(pins, reading("vision")) is None
    assert pin_for(pins, None) is None


def test_a_session_stays_where_its_prefix_is_cached() -> None:
    """The other is a little cheaper, but not than the cached prefix."""
    two = market(
        Row("a/cheaper", "alpha", input=900_000_000, output=1_000_000_000),
        Row("b/cached", "beta", input=1_000_000_000, output=1_000_000_000, cache_read=100_000_000),
    )
    needs, session = Needs(20_000), Sticky("b/cached", "beta", 19_000, 0.0)
    assert choose(inputs(two, [1.0, 1.0], needs=needs)).models[0] == "a/cheaper"
    kept = choose(inputs(two, [1.0, 1.0], needs=needs, session=session))
    assert (kept.models[0], kept.decision.rule) == ("b/cached", "session_kept")
    dropped = choose(inputs(two, [3.0, 0.0], needs=needs, session=session))
    assert (dropped.models[0], dropped.decision.rule) == ("a/cheaper", "cheapest_above_floor")


def test_a_session_whose_model_is_the_cheapest_anyway_is_no_rule_of_its_own() -> None:
    two = market(Row("a/a", **priced(1), cache_read=0), Row("b/b", **priced(9)))
    choice = choose(inputs(two, [1.0, 1.0], needs=Needs(20_000), session=Sticky("a/a", "alpha", 19_000, 0.0)))
    assert choice.decision.rule == "cheapest_above_floor"


def test_a_session_at_a_provider_that_fails_has_no_discount() -> None:
    two = market(Row("a/a", "alpha", **priced(1), cache_read=0), Row("b/b", "beta", **priced(3)))
    needs = Needs(20_000, open_offers=frozenset({("alpha", "a/a")}))
    choice = choose(inputs(two, [1.0, 1.0], needs=needs, session=Sticky("a/a", "alpha", 19_000, 0.0)))
    assert (choice.models, choice.decision.rule) == (("b/b",), "only_candidate")


@pytest.mark.parametrize("policy", ["frugal", "balanced", "premium"])
def test_without_scores_the_cheapest_that_can_is_taken_whatever_the_policy(four: Market, policy: str) -> None:
    needs = Needs(200, open_offers=frozenset({("alpha", "a/hopeless")}))
    choice = choose(inputs(four, None, needs=needs, policy=policy))
    assert (choice.models[0], choice.decision.rule) == ("b/poor", "selection_degraded")
    assert choice.best_offer is None


def test_without_a_reading_nothing_else_is_believed_either(four: Market) -> None:
    given = inputs(four, LOGITS, reading=None, session=Sticky("d/good", "delta", 10_000, 0.0))
    assert choose(given).decision.rule == "selection_degraded"
    assert choose(given).expected_cost_nano == 0


def test_scores_of_another_market_count_as_none(four: Market) -> None:
    given = replace(inputs(four, LOGITS), quality=np.zeros((2, 3), np.float32))
    assert choose(given).decision.rule == "selection_degraded"


def test_a_pin_holds_where_nothing_could_be_scored(four: Market) -> None:
    choice = choose(inputs(four, None, pin="d/good"))
    assert (choice.models[0], choice.decision.rule) == ("d/good", "pinned")


def test_a_model_without_a_number_is_as_bad_as_can_be(four: Market) -> None:
    choice = choose(inputs(four, LOGITS | {"c/fair": float("nan"), "a/hopeless": float("-inf")}))
    assert choice.models[0] == "d/good"


def test_nothing_feasible_is_an_error(four: Market) -> None:
    with pytest.raises(ProviderUnavailable):
        choose(
            inputs(four, LOGITS, needs=Needs(1, open_offers=frozenset((o.provider, o.model_id) for o in four.offers)))
        )


def test_feedback_moves_the_choice(four: Market) -> None:
    offsets = Offsets()
    revision = four.facts.models[four.index["c/fair"]].revision
    for number in range(20):
        for _ in range(20):
            offsets.note(Feedback(revision, "math", 0.25, 0.88, 0.0, f"organization {number}"), 1_000.0)
    view = offsets.view(four, 1_000.0)
    assert choose(inputs(four, LOGITS)).models[0] == "c/fair"
    assert choose(inputs(four, LOGITS, offsets=view)).models[0] == "d/good"
    hard = inputs(four, LOGITS, offsets=view, reading=reading(difficulty=2.0))
    assert choose(hard).models[0] == "c/fair"


def test_figures_of_another_market_are_not_read(four: Market) -> None:
    other = market(*(Row(f"x/{n}") for n in range(4)))
    offsets = Offsets()
    offsets.note(Feedback(other.facts.models[2].revision, "math", 0.25, 0.9, 0.0, "a"), 0.0)
    alien = inputs(four, LOGITS, offsets=offsets.view(other, 0.0), live=LiveView(other, Live(), 0.0))
    assert choose(alien).table.logits is not None
    assert choose(alien).offsets is None
    assert choose(alien).models == choose(inputs(four, LOGITS)).models


def test_measured_lengths_change_the_cost() -> None:
    two = market(Row("a/terse", **priced(2)), Row("b/wordy", **priced(1)))
    live = Live()
    for number in range(200):
        live.wrote(("b/wordy", "math"), f"organization {number % 8}", 10.0, 0.0)
    assert choose(inputs(two, [1.0, 1.0])).models[0] == "b/wordy"
    assert choose(inputs(two, [1.0, 1.0], live=LiveView(two, live, 0.0))).models[0] == "a/terse"


def test_the_limit_of_the_answer_is_a_part_of_the_cost(four: Market) -> None:
    short = choose(inputs(four, LOGITS, needs=Needs(200, max_output_tokens=1))).expected_cost_nano
    assert short == pytest.approx(201 * 5_000 * 1.25, rel=0.001)


def test_the_filtered_set_is_that_of_the_inputs(four: Market) -> None:
    given = inputs(four, LOGITS)
    assert choose(given).market is four
    assert given.filtered.bits == feasible(four, Needs(200)).bits
