"""Receipts: small, complete, readable, and repeatable."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from routing.selection.choose import Choice, choose
from routing.selection.explain import RULES, explain, replay
from routing.selection.filters import Needs
from routing.selection.market import Facts, Floats, Market
from routing.selection.offsets import Feedback, Offsets
from routing.selection.policy import LOGIT_STEPS, Rule
from routing.selection.receipt import StoredReading, WrongMarket, pack, unpack, vote_on
from routing.selection.sessions import Sticky
from routing.selection.words import TASKS
from routing.selection.workflow import Wanted
from tests.routing.selection.stand_ins import Row, inputs, market, reading

LOGITS = {"a/cheap": 1.0, "b/fair": 2.07, "c/good": 2.33, "d/small": 3.0, "e/failing": 3.0}
NEEDS = Needs(
    20_000, 12_000, effort="high", capabilities=frozenset({"tools"}), open_offers=frozenset({("beta", "e/failing")})
)


@pytest.fixture
def five() -> Market:
    """Three that can serve the request, one that is too small, one that fails."""
    return market(
        Row("a/cheap", "alpha", input=10**9, output=10**9),
        Row("b/fair", "beta", input=5 * 10**9, output=5 * 10**9, price_id=7),
        Row("b/fair", "alpha", input=9 * 10**9, output=9 * 10**9),
        Row("c/good", "gamma", input=30 * 10**9, output=30 * 10**9, price_id=8),
        Row("d/small", "alpha", context=32_000 - 1),
        Row("e/failing", "beta"),
    )


def receipt(choice: Choice) -> dict[str, Any]:
    """As it comes back from the database."""
    stored: dict[str, Any] = json.loads(json.dumps(pack(choice)))
    return stored


def told(choice: Choice) -> dict[str, Any]:
    """The receipt in words, as it goes into an answer."""
    whole: dict[str, Any] = json.loads(json.dumps(explain(receipt(choice), choice.market.facts)))
    return whole


def test_a_receipt_tells_everything(five: Market) -> None:
    whole = told(
        choose(
            inputs(five, LOGITS, needs=NEEDS, weights="w1", hint="coding", workflow=Wanted("tools", "web_search")),
        )
    )
    assert whole["chosen"] == "b/fair"
    assert whole["fallbacks"] == ["c/good", "a/cheap"]
    assert (whole["policy"], whole["policy_version"], whole["rule"]) == ("balanced", 1, "cheapest_above_floor")
    assert whole["why"] == RULES["cheapest_above_floor"]
    assert whole["weights"] == "w1"
    assert whole["market"] == five.fingerprint
    assert whole["best"] == "c/good"
    assert whole["propensity"] == 1.0
    assert whole["task"]["likely"] == "math"
    assert whole["task"]["hint"] == "coding"
    assert sum(whole["task"]["posterior"].values()) == pytest.approx(1.0, abs=0.01)
    assert next(iter(whole["task"]["posterior"])) == "math"
    assert whole["difficulty"] == {
        "logit": 0.25,
        "reasons": [
            {"feature": "digits", "weight": 0.4},
            {"feature": "code_fence", "weight": 0.2},
            {"feature": "length", "weight": -0.1},
        ],
    }
    assert whole["request"] == {
        "input_tokens": 20_000,
        "max_output_tokens": 12_000,
        "choices": 1,
        "effort": "high",
        "capabilities": ["tools"],
    }
    assert (whole["workflow"], whole["workflow_wanted"], whole["workflow_reason"]) == ("direct", "tools", "web_search")
    assert [(each["model"], each["verdict"]) for each in whole["candidates"]] == [
        ("b/fair", "chosen"),
        ("c/good", "fallback 1"),
        ("a/cheap", "fallback 2"),
        ("d/small", "filtered: context 32000 > 31999"),
        ("e/failing", "filtered: its provider is failing"),
    ]
    chosen = whole["candidates"][0]
    p = 1 / (1 + np.exp(-2.07))
    assert chosen["p"] == pytest.approx(p, abs=2e-4)
    assert chosen["interval"] == pytest.approx([1 / (1 + np.exp(-2.07 + z)) for z in (0.25632, -0.25632)], abs=2e-4)
    assert chosen["bound"] == pytest.approx(1 / (1 + np.exp(-2.07 + 0.16832)), abs=2e-4)
    assert chosen["provider"] == "beta"
    assert isinstance(chosen["expected_cost_nano_usd"], int)
    assert chosen["expected_latency_s"] > 0
    assert "expected_cost_nano_usd" not in whole["candidates"][3]


def test_models_that_were_neither_chosen_nor_a_fallback_are_told_why() -> None:
    rows = [Row(f"f/{n}", "delta", input=(50 + n) * 10**9, output=10**9) for n in range(3)]
    wide = market(*rows, *(Row(f"a/{n}", "alpha", input=n * 10**9, output=0) for n in range(1, 4)))
    logits = {f"f/{n}": 3.0 for n in range(3)} | {f"a/{n}": -2.0 for n in range(1, 4)}
    whole = told(choose(inputs(wide, logits)))
    verdicts = {each["model"]: each["verdict"] for each in whole["candidates"]}
    assert verdicts["f/0"] == "chosen"
    assert sorted(verdicts.values()).count("below floor") == 2
    many = market(*(Row(f"a/{n}", input=n * 10**9, output=0) for n in range(1, 7)))
    whole = told(choose(inputs(many, [1.0] * 6)))
    assert [each["verdict"] for each in whole["candidates"]][4:] == ["not the cheapest"] * 2


def test_the_counterfactual_says_what_more_quality_would_have_cost(five: Market) -> None:
    whole = told(choose(inputs(five, LOGITS, needs=NEEDS)))
    assert whole["counterfactual"] == "premium would have taken c/good at 6.0 x the cost for +2 points"
    dear = told(choose(inputs(five, LOGITS, needs=NEEDS, policy="premium")))
    assert dear["counterfactual"] == "balanced would have taken b/fair at 0.2 x the cost for -2 points"
    same = told(choose(inputs(five, LOGITS | {"b/fair": 4.0}, needs=NEEDS)))
    assert same["counterfactual"] == "premium would have taken the same model"
    assert told(choose(inputs(five, None, needs=NEEDS)))["counterfactual"] is None


def test_the_counterfactual_of_a_free_model_and_of_a_single_point() -> None:
    two = market(Row("a/free", input=0, output=0), Row("b/dear", input=10**9, output=0))
    whole = told(choose(inputs(two, [2.20, 2.32], needs=Needs(1_000))))
    assert whole["counterfactual"] == "premium would have taken b/dear for $0.00125 instead of nothing for +1 point"


def test_what_the_bounds_are_compared_with_is_told(five: Market) -> None:
    for policy, share in (("frugal", 0.85), ("balanced", 0.95)):
        whole = told(choose(inputs(five, LOGITS, needs=NEEDS, policy=policy)))
        bounds = {each["model"]: each for each in whole["candidates"] if "expected_cost_nano_usd" in each}
        assert whole["best_bound"] == max(each["bound"] for each in bounds.values())
        assert whole["floor"] == pytest.approx(share * whole["best_bound"], abs=1e-4)
        admitted = [each for each in bounds.values() if each["bound"] >= whole["floor"]]
        assert min(admitted, key=lambda each: each["expected_cost_nano_usd"])["model"] == whole["chosen"]
    blind = told(choose(inputs(five, None, needs=NEEDS)))
    assert (blind["best_bound"], blind["floor"]) == (None, None)


@pytest.mark.parametrize(("dear", "words"), [(340, "0.0029"), (20, "0.05"), (100_000, "0.00001"), (5, "0.2")])
def test_a_small_ratio_keeps_two_figures(dear: int, words: str) -> None:
    two = market(Row("a/cheap", input=10**9, output=0), Row("b/dear", input=dear * 10**9, output=0))
    whole = told(choose(inputs(two, [2.2, 2.4], needs=Needs(1_000), policy="premium")))
    assert whole["counterfactual"].startswith(f"balanced would have taken a/cheap at {words} x the cost for -")


def test_no_difference_is_no_number() -> None:
    two = market(Row("a/cheap", input=10**9, output=0), Row("b/dear", input=3 * 10**9, output=0))
    given = inputs(two, [2.2, 2.203], needs=Needs(1_000), policy="premium", pin="b/dear")
    assert told(choose(given))["counterfactual"].endswith("at 0.3 x the cost for no difference in points")


def test_a_pin_is_told(five: Market) -> None:
    pinned = told(choose(inputs(five, LOGITS, needs=NEEDS, pin="a/cheap")))
    assert pinned["pin"] == {"model": "a/cheap", "verdict": "pinned"}
    assert pinned["rule"] == "pinned"
    assert pinned["counterfactual"].startswith("balanced would have taken b/fair at 5.0 x the cost")
    small = told(choose(inputs(five, LOGITS, needs=NEEDS, pin="d/small")))
    assert small["pin"] == {"model": "d/small", "verdict": "filtered: context 32000 > 31999"}
    gone = told(choose(inputs(five, LOGITS, needs=NEEDS, pin="z/gone")))
    assert gone["pin"] == {"model": "z/gone", "verdict": "filtered: it cannot be called now"}
    assert gone["rule"] == small["rule"] == "pin_filtered"


def test_a_session_is_told() -> None:
    two = market(Row("a/a", "alpha", cache_read=0), Row("b/b", "beta", input=999_000_000))
    choice = choose(inputs(two, [1.0, 1.0], needs=Needs(10_000), session=Sticky("a/a", "alpha", 9_000, 0.0)))
    whole = told(choice)
    assert whole["rule"] == "session_kept"
    assert whole["session"]["model"] == "a/a"
    assert whole["session"]["cost_without_cache_nano_usd"] > whole["candidates"][0]["expected_cost_nano_usd"]


def test_a_degraded_choice_is_told(five: Market) -> None:
    whole = told(choose(inputs(five, None, needs=NEEDS, reading=None)))
    assert whole["rule"] == "selection_degraded"
    assert (whole["task"], whole["difficulty"], whole["best"]) == (None, None, None)
    assert "p" not in whole["candidates"][0]
    assert "workflow" not in whole
    assert replay(receipt(choose(inputs(five, None, needs=NEEDS))), five.facts, Scorer(five), "").same


def test_a_direct_workflow_wants_nothing_more(five: Market) -> None:
    whole = told(choose(inputs(five, LOGITS, workflow=Wanted("direct", "plain"))))
    assert whole["workflow"] == "direct"
    assert "workflow_wanted" not in whole


def test_every_rule_has_words() -> None:
    assert set(RULES) == set(Rule.__value__.__args__)


def test_a_receipt_of_sixty_candidates_is_small() -> None:
    many = market(*(Row(f"maker/model-{n:02}", input=n * 123_456_789) for n in range(60)))
    choice = choose(inputs(many, np.linspace(-2, 3, 60).tolist(), weights="2026-11-29"))
    assert len(json.dumps(pack(choice), separators=(",", ":"))) <= 1_650


def test_a_receipt_holds_no_word_of_anybody(five: Market) -> None:
    """Numbers, base64 and names of models, features and rules."""
    assert set(receipt(choose(inputs(five, LOGITS, needs=NEEDS)))) == {
        *("version", "market", "weights", "policy", "policy_version", "rule", "ranked", "needs", "table", "propensity"),
        *("best", "best_price", "reading"),
    }


def test_the_price_that_savings_go_by_is_frozen(five: Market) -> None:
    choice = choose(inputs(five, LOGITS, needs=NEEDS))
    assert choice.best_offer is not None
    assert choice.best_offer.price.id == receipt(choice)["best_price"] == 8


def test_facts_are_stored_as_json_and_read_again(five: Market) -> None:
    stored = msgspec.json.encode(five.facts)
    facts = msgspec.json.decode(stored, type=Facts)
    assert facts == five.facts
    assert facts.fingerprint == five.fingerprint
    with pytest.raises(WrongMarket):
        unpack(receipt(choose(inputs(five, LOGITS))), market(Row("a/a")).facts)


@pytest.mark.parametrize("damage", [{"table": "AAAA"}, {"policy": 5}, {"needs": None}])
def test_a_damaged_receipt_is_refused(five: Market, damage: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        unpack(receipt(choose(inputs(five, LOGITS))) | damage, five.facts)


class Scorer:
    """Scores by one number of the reading's vector, as the weights would by all of them."""

    def __init__(self, market: Market, drift: float = 0.0) -> None:
        self._size = len(market.models)
        self._drift = drift

    def score(self, read: StoredReading) -> Floats:
        logits = np.arange(self._size) + read.known[len(TASKS)] + self._drift
        return np.array([logits, np.full(self._size, 0.2)], np.float32)


def scored_by(five: Market) -> Choice:
    """A choice whose scores came from that scorer, with feedback on one model."""
    read = reading()
    offsets = Offsets()
    offsets.note(Feedback(five.facts.models[2].revision, "math", 0.25, 0.7, 0.0, "alice"), 0.0)
    stored = StoredReading(read.regime, read.known, read.difficulty, read.reasons)
    given = inputs(five, [0.0] * 5, reading=read, offsets=offsets.view(five, 0.0), weights="w1")
    return choose(replace(given, quality=Scorer(five).score(stored)))


def test_a_market_that_was_kept_without_what_quality_goes_by_keeps_its_fingerprint() -> None:
    older = {"id": "a/a", "revision": "a/a@1", "context_length": 8_192, "providers": ["alpha"]}
    kept = msgspec.convert({"models": [older]}, Facts)
    assert json.loads(msgspec.json.encode(kept)) == {"models": [older]}
    seeing = Facts((replace(kept.models[0], has_vision=True),))
    assert seeing.fingerprint != kept.fingerprint


def test_replay_finds_the_same(five: Market) -> None:
    choice = scored_by(five)
    again = replay(receipt(choice), five.facts, Scorer(five), "w1")
    assert again.same
    assert again.chosen == choice.models[0]


def test_replay_says_what_differs(five: Market) -> None:
    stored = receipt(scored_by(five))
    drifted = replay(stored, five.facts, Scorer(five, drift=0.5), "w2")
    assert not drifted.same
    assert drifted.differences[0] == "weights: w1 then, w2 now"
    assert "c/good: logit 1.000 then, 1.500 now" in drifted.differences
    changed = replay(stored | {"ranked": [1], "rule": "best"}, five.facts, None, "w1")
    assert [difference.split(":")[0] for difference in changed.differences] == ["models", "rule"]
    fewer = replay(stored, five.facts, Scorer(market(Row("a/a"))), "w1")
    assert fewer.differences == ("candidates: 5 then, 1 now",)


def test_an_offset_is_told_and_taken_off_again_for_the_next_vote(five: Market) -> None:
    choice = scored_by(five)
    candidates = {each["model"]: each for each in told(choice)["candidates"]}
    assert candidates["c/good"]["offset"] == pytest.approx(-0.7 / (0.09 + 16), abs=1e-3)
    assert "offset" not in candidates["a/cheap"]
    vote = vote_on(unpack(receipt(choice), five.facts), "c/good", 0.5, "bob")
    assert vote is not None
    assert vote.probability == pytest.approx(1 / (1 + np.exp(-1.0)), abs=1 / LOGIT_STEPS)
    assert (vote.task, vote.difficulty, vote.organization, vote.score) == ("math", 0.25, "bob", 0.5)
    assert vote.revision == five.facts.models[2].revision


def test_there_is_nothing_to_learn_of_an_answer_that_was_not_scored(five: Market) -> None:
    degraded = unpack(receipt(choose(inputs(five, None))), five.facts)
    assert vote_on(degraded, "a/cheap", 1.0, "alice") is None
    whole = unpack(receipt(choose(inputs(five, LOGITS))), five.facts)
    assert vote_on(whole, "z/unknown", 1.0, "alice") is None
