"""What holds of recommendations whatever the evidence and the market are."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from advisor.advice import PINS
from advisor.brief import Said
from advisor.evidence import Evidence, Health, KeyFact, Landscape
from advisor.recommend import recommend
from advisor.rules import Rules
from tests.advisor.made_up import NANO, TODAY, candidate, evidence, landscape, tally

MAKERS = ("one", "two", "three")
TASKS = ("summarization", "tool-use", "vision", "data-extraction", "math", "writing", "other")
CAPABILITIES = ("tools", "vision", "json_schema")
RULES = Rules()


@st.composite
def models(draw):
    found = []
    for number in range(draw(st.integers(2, 7))):
        model = candidate(
            f"{draw(st.sampled_from(MAKERS))}/m{number}",
            draw(st.floats(0.05, 20)),
            draw(st.floats(0.5, 4)),
            draw(st.floats(0.1, 0.6)),
            " ".join(draw(st.sets(st.sampled_from(CAPABILITIES)))),
        )
        ends = draw(st.none() | st.integers(1, 90))
        found.append(
            replace(
                model,
                sunset_on=None if ends is None else TODAY + timedelta(days=ends),
                successor=draw(st.sampled_from([None, "one/m0", "two/m1"])),
                is_reasoning=draw(st.booleans()),
                first_seen_on=TODAY - timedelta(days=draw(st.integers(0, 300))),
                context_length=draw(st.sampled_from([1_500, 128_000])),
            )
        )
    return found


@st.composite
def healths(draw):
    calls, before = draw(st.integers(1, 20_000)), draw(st.integers(0, 60_000))
    return Health(
        calls,
        draw(st.integers(0, calls)),
        before,
        draw(st.integers(0, before)),
        draw(st.floats(6, 10)),
        draw(st.floats(6, 10)),
        draw(st.floats(0.01, 0.5)),
    )


@st.composite
def scenes(draw) -> tuple[Evidence, Landscape]:
    market = draw(models())
    tallies = []
    for model in market[: draw(st.integers(1, 4))]:
        for task in draw(st.sets(st.sampled_from(TASKS), min_size=1, max_size=4)):
            way = draw(st.sampled_from(["named", "policy", "pinned"]))
            policy = "" if way == "named" else draw(st.sampled_from(["frugal", "balanced", "premium"]))
            base = tally(model, draw(st.integers(50, 200_000)), task, way, policy)
            votes = draw(st.integers(0, 100))
            tallies.append(
                replace(
                    base,
                    by_week=[base.charge_nano * share for share in draw(weeks)],
                    difficulty=draw(st.floats(-1, 1)),
                    votes=votes,
                    score=votes * draw(st.floats(0, 1)),
                )
            )
    ids = [model.id for model in market]
    keys = [
        KeyFact(number, "key", TODAY - timedelta(days=age), None, None, NANO, spent, TODAY + timedelta(days=9), NANO)
        for number, (age, spent) in enumerate(draw(st.lists(st.tuples(st.integers(0, 300), st.integers(0, NANO)))))
    ]
    may_call = draw(st.none() | st.sets(st.sampled_from(ids)).map(frozenset))
    pins = draw(st.dictionaries(st.sampled_from(TASKS), st.sampled_from(ids)))
    health = draw(st.dictionaries(st.sampled_from(ids), healths()))
    return evidence(tallies, keys, may_call=may_call, pins=pins), landscape(market, health)


weeks = st.sampled_from([(0.25, 0.25, 0.25, 0.25), (0.0, 0.0, 0.4, 0.6), (0.1, 0.4, 0.3, 0.2), (0.5, 0.5, 0.0, 0.0)])


@given(scenes())
def test_whatever_is_seen_the_advice_keeps_its_bounds(scene):
    seen, market = scene
    found = recommend(seen, market, [], RULES)
    assert len(found) <= RULES.most_a_week
    pinned = [said.task for said in found if said.kind in PINS and said.model]
    assert len(pinned) == len(set(pinned))
    for said in found:
        assert said.saving.low_nano <= said.saving.mid_nano <= said.saving.high_nano
        assert 0 <= said.confidence <= 1
        assert said.expires_on is not None
        assert said.expires_on > market.today
        if said.model:
            assert seen.may_call is None or said.model in seen.may_call
            assert seen.pins.get(said.task) != said.model != said.subject
            assert market.models[said.model].sunset_on is None


@given(scenes(), st.randoms(use_true_random=False))
def test_the_order_of_tallies_and_keys_is_nothing(scene, random):
    seen, market = scene
    tallies, keys = list(seen.tallies), list(seen.keys)
    random.shuffle(tallies)
    random.shuffle(keys)
    shuffled = replace(seen, tallies=tallies, keys=keys)
    assert recommend(shuffled, market, [], RULES) == recommend(seen, market, [], RULES)


@given(scenes(), st.data())
def test_a_model_that_is_dearer_and_worse_than_another_changes_nothing(scene, data):
    seen, market = scene
    twin = market.models[data.draw(st.sampled_from(sorted(market.models)))]
    worse = replace(
        twin,
        id=f"{twin.maker}/worse",
        prices={bucket: price * 2 for bucket, price in twin.prices.items()},
        strength={task: strength - 0.5 for task, strength in twin.strength.items()},
    )
    outputs = {(worse.id, task): output for (model, task), output in market.outputs.items() if model == twin.id}
    health = {worse.id: market.health[twin.id]} if twin.id in market.health else {}
    larger = replace(
        market,
        models={**market.models, worse.id: worse},
        outputs={**market.outputs, **outputs},
        health={**market.health, **health},
    )
    may_call = seen.may_call
    if may_call is not None and twin.id in may_call:
        may_call = may_call | {worse.id}
    before, after = recommend(seen, market, [], RULES), recommend(replace(seen, may_call=may_call), larger, [], RULES)
    in_use = {tally.model for tally in seen.tallies} | set(seen.pins.values())
    if twin.id not in in_use:
        assert after == before
    assert all(said.model != worse.id for said in after if said.saving.mid_nano > 0) or twin.id in in_use


@given(scenes())
def test_what_was_said_this_week_is_not_said_again(scene):
    seen, market = scene
    found = recommend(seen, market, [], RULES)
    year, week, _ = market.today.isocalendar()
    history = [
        Said(f"{year}-W{week}", said.kind, said.subject, said.task, said.model, "open", said.saving.mid_nano)
        for said in found
    ]
    again = recommend(seen, market, history, RULES)
    assert not {said.identity for said in found} & {said.identity for said in again}


@given(scenes())
def test_a_day_later_the_same_evidence_says_the_same_but_for_dates(scene):
    """No clock takes part: only the landscape's date does."""
    seen, market = scene
    assert recommend(seen, market, [], RULES) == recommend(seen, market, [], RULES)
    later = replace(market, today=market.today + timedelta(days=700), models={})
    assert all(said.model == "" for said in recommend(seen, later, [], RULES))
