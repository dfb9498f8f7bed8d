"""What holds of every choice, whatever the market, the scores, the session, the feedback and the filters."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import orjson
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from routing.selection.choose import Choice, choose
from routing.selection.explain import explain, replay
from routing.selection.filters import Needs, feasible
from routing.selection.offsets import LARGEST_OFFSET, Feedback, Offsets
from routing.selection.policy import threshold
from routing.selection.receipt import pack
from routing.selection.sessions import Sticky
from routing.selection.words import POLICIES, TASKS
from tests.routing.selection.stand_ins import Row, inputs, market, reading

CAPABILITIES = ("tools", "vision", "json_schema", "reasoning")
PROVIDERS = ("alpha", "beta", "gamma")
ADDED = "zzz/dominated"
CONTEXTS = (8_000, 32_000, 128_000, 1_000_000)

prices = st.integers(0, 20).map(lambda n: n * 250_000_000)
capability_sets = st.frozensets(st.sampled_from(CAPABILITIES))


@st.composite
def models(draw: st.DrawFn) -> list[Row]:
    """Up to seven models with up to three offers each."""
    rows = []
    for number in range(draw(st.integers(1, 7))):
        for provider in draw(st.lists(st.sampled_from(PROVIDERS), min_size=1, unique=True)):
            tier = draw(st.none() | st.tuples(prices, prices))
            rows.append(
                Row(
                    f"maker/{number}",
                    provider,
                    input=draw(prices),
                    output=draw(prices),
                    cache_read=draw(st.none() | prices),
                    context=draw(st.sampled_from(CONTEXTS)),
                    capabilities=draw(capability_sets),
                    tiers=() if tier is None else ((4_000, {"input": tier[0], "output": tier[1]}),),
                    tokens_per_s=draw(st.none() | st.sampled_from((5, 50))),
                )
            )
    return rows


@dataclass(frozen=True)
class Case:
    """A market and one request, with scores by model id."""

    rows: list[Row]
    logits: dict[str, float]
    rest: dict[str, Any]
    votes: list[tuple[str, float]]

    def inputs(self, policy: str, rows: list[Row] | None = None, logits: dict[str, float] | None = None) -> Any:
        """Everything made anew, as another process would."""
        here = market(*(rows or self.rows))
        offsets = Offsets()
        for model, score in self.votes:
            revision = here.facts.models[here.index[model]].revision
            for number in range(8):
                offsets.note(Feedback(revision, "math", 0.25, 0.5, score, str(number)), 0.0)
        view = offsets.view(here, 0.0) if self.votes else None
        return inputs(here, logits or self.logits, policy=policy, offsets=view, **self.rest)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rows = draw(models())
    ids = sorted({row.model for row in rows})
    pairs = st.sampled_from([(row.provider, row.model) for row in rows])
    needs = Needs(
        input_tokens=draw(st.sampled_from((10, 3_000, 30_000, 200_000))),
        max_output_tokens=draw(st.none() | st.sampled_from((1, 100, 4_000))),
        choices=draw(st.integers(1, 2)),
        effort=draw(st.none() | st.sampled_from(("none", "high"))),
        capabilities=draw(capability_sets) if draw(st.booleans()) else frozenset(),
        allowed=draw(st.none() | st.frozensets(st.sampled_from(ids), min_size=1)),
        open_offers=draw(st.frozensets(pairs, max_size=3)),
    )
    assume(feasible(market(*rows), needs).bits)
    last = draw(st.none() | pairs)
    rest = {
        "needs": needs,
        "reading": reading(draw(st.sampled_from(TASKS)), difficulty=0.25),
        "session": None if last is None else Sticky(last[1], last[0], draw(st.sampled_from((500, 2_500, 25_000))), 0.0),
        "error": draw(st.sampled_from((0.0, 0.2, 1.0))),
    }
    logit = st.sampled_from((-3.0, -1.0, 0.0, 0.9, 1.0, 1.05, 2.0, 4.0)) | st.floats(-6, 6, width=32)
    votes = st.lists(st.tuples(st.sampled_from(ids), st.sampled_from((0.0, 1.0))), max_size=3)
    return Case(rows, {model: draw(logit) for model in ids}, rest, draw(votes))


policies = st.sampled_from(POLICIES)


def all_feasible(choice: Choice) -> bool:
    """Whether no attempt goes to a filtered offer, and the first goes to the cheapest offer that is not."""
    filtered = choice.inputs.filtered
    index = choice.market.offer_index
    offers = [offer for attempt in choice.attempts for offer in attempt]
    return all(filtered.bits >> index[offer.provider, offer.model_id] & 1 for offer in offers)


@given(cases(), policies)
@settings(deadline=None)
def test_what_is_filtered_is_never_attempted(case: Case, policy: str) -> None:
    choice = choose(case.inputs(policy))
    assert all_feasible(choice)
    assert len(set(choice.models)) == len(choice.models) <= 4
    assert all(choice.attempts)


@given(cases())
@settings(deadline=None)
def test_expected_cost_never_rises_from_premium_to_balanced_to_frugal(case: Case) -> None:
    frugal, balanced, premium = (choose(case.inputs(policy)).expected_cost_nano for policy in POLICIES)
    assert frugal <= balanced <= premium


@given(cases(), policies)
@settings(deadline=None)
def test_the_choice_reaches_the_promise_and_nothing_cheaper_does(case: Case, policy: str) -> None:
    choice = choose(case.inputs(policy))
    table, chosen = choice.table, choice.decision.ranked[0]
    assert table.logits is not None
    assert table.errors is not None
    low = 1 / (1 + np.exp(-(table.logits / 1_024 - 0.8416 * table.errors / 1_024)))
    is_left = np.isfinite(table.costs)
    at_least = threshold(policy, low[is_left].max()) - 1e-12
    assert low[chosen] >= at_least
    assert table.costs[chosen] == table.costs[is_left & (low >= at_least)].min()


@given(cases(), policies)
@settings(deadline=None)
def test_the_same_input_and_state_give_the_same_choice_and_receipt(case: Case, policy: str) -> None:
    first, again = choose(case.inputs(policy)), choose(case.inputs(policy))
    assert first.decision == again.decision
    assert pack(first) == pack(again)


@given(cases(), policies, st.data())
@settings(deadline=None)
def test_adding_a_dominated_model_changes_nothing(case: Case, policy: str, data: st.DataObject) -> None:
    """Not better than one that can serve the request, at the same offers for the same or more."""
    before = choose(case.inputs(policy))
    feasible_ids = [m.id for m, cost in zip(before.market.models, before.table.costs, strict=True) if np.isfinite(cost)]
    better = data.draw(st.sampled_from(feasible_ids))
    dearer = data.draw(st.sampled_from((0, 0, 250_000_000)))
    added = [
        replace(
            row,
            model=ADDED,
            input=row.input + dearer,
            output=row.output + dearer,
            tiers=tuple((above, {k: v + dearer for k, v in price.items()}) for above, price in row.tiers),
        )
        for row in case.rows
        if row.model == better
    ]
    worse = (
        case.logits[better] - data.draw(st.sampled_from((0.0, 0.5, 3.0))) - (2 * LARGEST_OFFSET if case.votes else 0)
    )
    needs: Needs = case.rest["needs"]
    opened = {(provider, ADDED) for provider, model in needs.open_offers if model == better}
    needs = msgspec.structs.replace(
        needs,
        allowed=None if needs.allowed is None else needs.allowed | {ADDED},
        open_offers=needs.open_offers | opened,
    )
    case = replace(case, rest=case.rest | {"needs": needs})
    after = choose(case.inputs(policy, case.rows + added, case.logits | {ADDED: worse}))
    assert after.models[0] == before.models[0]
    assert after.expected_cost_nano == before.expected_cost_nano
    assert (after.best_offer is None) == (before.best_offer is None)
    if after.best_offer is not None and before.best_offer is not None:
        assert after.best_offer.model_id == before.best_offer.model_id


@given(cases(), policies)
@settings(deadline=None)
def test_a_model_whose_breakers_are_open_is_not_chosen(case: Case, policy: str) -> None:
    chosen = choose(case.inputs(policy)).models[0]
    needs: Needs = case.rest["needs"]
    opened = needs.open_offers | {(row.provider, row.model) for row in case.rows if row.model == chosen}
    after = replace(case, rest=case.rest | {"needs": msgspec.structs.replace(needs, open_offers=opened)})
    assume(feasible(market(*case.rows), after.rest["needs"]).bits)
    assert chosen not in choose(after.inputs(policy)).models


@given(cases(), policies)
@settings(deadline=None)
def test_without_scores_nothing_cheaper_is_left(case: Case, policy: str) -> None:
    choice = choose(msgspec.structs.replace(case.inputs(policy), quality=None))
    assert choice.decision.rule == "selection_degraded"
    assert choice.expected_cost_nano == choice.table.costs.min()


@given(cases(), policies, st.booleans(), st.data())
@settings(deadline=None)
def test_a_receipt_tells_and_repeats_the_choice(case: Case, policy: str, is_scored: bool, data: st.DataObject) -> None:
    pin = data.draw(st.none() | st.sampled_from([row.model for row in case.rows] + ["gone/away"]))
    made = msgspec.structs.replace(case.inputs(policy), pin=pin, weights="w")
    choice = choose(made if is_scored else msgspec.structs.replace(made, quality=None))
    facts = choice.market.facts
    stored = orjson.loads(orjson.dumps(pack(choice)))
    again = replay(stored, facts, None, "w")
    assert again.differences == ()
    assert again.chosen == choice.models[0]
    told = explain(stored, facts)
    orjson.dumps(told)
    assert (told["chosen"], *told["fallbacks"]) == choice.models
    assert told["rule"] == choice.decision.rule
    excluded = {c["model"]: c["verdict"] for c in told["candidates"] if c["verdict"].startswith("filtered")}
    assert excluded == made.filtered.reasons()
    assert len(told["candidates"]) == len(choice.market.models)
