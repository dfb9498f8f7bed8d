"""What is said to an organization, and what is not."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from advisor.advice import Kind, Recommendation
from advisor.brief import Said
from advisor.evidence import Health, KeyFact
from advisor.recommend import recommend
from advisor.rules import Rules
from tests.advisor.made_up import NANO, TASK, TODAY, candidate, evidence, landscape, tally

DEAR, CHEAP = candidate("one/dear", 2.0), candidate("two/cheap", 0.5)
HEALTHY = Health(calls=5_000, failed=50, calls_before=15_000, failed_before=150, log_ms_mean=8.0, log_ms_before=8.0)


def advice(tallies, models=(DEAR, CHEAP), history=(), health=None, **other) -> list[Recommendation]:
    return recommend(evidence(tallies, **other), landscape(models, health), history, Rules())


def kinds(found: list[Recommendation]) -> list[Kind]:
    return [said.kind for said in found]


def said(kind=Kind.CHEAPER, weeks_ago=1, state="open", saving_nano=50 * NANO, subject="one/dear", task=TASK) -> Said:
    year, week, _ = (TODAY - timedelta(weeks=weeks_ago)).isocalendar()
    return Said(f"{year}-W{week:02}", kind, subject, task, "two/cheap", state, saving_nano)


def test_the_same_work_by_a_cheaper_model_that_keeps_the_promise():
    [found] = advice([tally(DEAR)])
    assert (found.kind, found.subject, found.task, found.model) == (Kind.CHEAPER, "one/dear", TASK, "two/cheap")
    # 72 dollars in 28 days are 77 a month, of which a quarter stays: about 58 are saved.
    assert 0 < found.saving.low_nano < found.saving.mid_nano < found.saving.high_nano
    assert 52 * NANO < found.saving.mid_nano < 60 * NANO
    assert found.confidence >= 0.9
    assert found.evidence["calls"] == 20_000
    assert {"tokenizer", "named", "little_known"} <= set(found.risks)
    assert found.expires_on == date(2026, 12, 14)


def test_silence_where_the_cheaper_model_is_worse_or_little_is_known_of_it():
    assert advice([tally(DEAR)], [DEAR, candidate("two/cheap", 0.5, strength=1.2)]) == []
    assert advice([tally(DEAR)], [DEAR, candidate("two/cheap", 0.5, strength=2.2, error=1.0)]) == []


def test_silence_where_little_is_done_or_has_ended_or_has_just_begun():
    assert advice([tally(DEAR, calls=150)]) == []
    charge = tally(DEAR).charge_nano
    assert advice([replace(tally(DEAR), by_week=[charge / 3] * 3 + [0.0])]) == []
    assert advice([replace(tally(DEAR), by_week=[0.0] * 3 + [charge])]) == []
    assert advice([replace(tally(DEAR), seen=5)]) == []


def test_nothing_that_no_key_may_call_or_that_ends_or_that_is_pinned_already():
    assert advice([tally(DEAR)], may_call=frozenset({"one/dear"})) == []
    assert advice([tally(DEAR)], pins={TASK: "two/cheap"}) == []
    for ending in ({"deprecated_on": TODAY}, {"sunset_on": TODAY + timedelta(days=200)}):
        assert advice([tally(DEAR)], [DEAR, replace(CHEAP, **ending)]) == []


@pytest.mark.parametrize(
    ("task", "lacks"),
    [("tool-use", "vision json_schema"), ("data-extraction", "tools vision"), ("vision", "tools json_schema")],
)
def test_nothing_that_cannot_do_what_the_calls_need(task, lacks):
    assert advice([tally(DEAR, task=task)], [DEAR, candidate("two/cheap", 0.5, capabilities=lacks)]) == []
    assert kinds(advice([tally(DEAR, task=task)])) == [Kind.CHEAPER]


def test_images_need_a_model_that_sees_whatever_the_task_type():
    with_images = replace(tally(DEAR), tokens={"input": 2e7, "input_image": 1e6, "output": 4e6})
    assert advice([with_images], [DEAR, candidate("two/cheap", 0.5, capabilities="tools")]) == []


def test_what_the_model_in_use_lacks_is_evidently_not_needed():
    plain = candidate("one/dear", 2.0, capabilities="tools")
    models = [plain, candidate("two/cheap", 0.5, capabilities="")]
    assert kinds(advice([tally(plain, task="data-extraction")], models)) == [Kind.CHEAPER]


def test_a_context_that_the_mean_prompt_half_fills_has_no_room():
    assert advice([tally(DEAR)], [DEAR, replace(CHEAP, context_length=1_900)]) == []


def test_a_missing_price_for_what_is_used_leaves_a_model_out():
    blind = replace(CHEAP, prices={"input": CHEAP.prices["input"]})
    assert advice([tally(DEAR)], [DEAR, blind]) == []


def test_a_cache_that_the_other_model_lacks_is_counted():
    cached = replace(tally(DEAR), tokens={"input": 1e6, "cache_read": 1.9e7, "output": 4e6})
    cached = replace(cached, charge_nano=1e6 * 2e3 + 1.9e7 * 200 + 4e6 * 8e3, by_week=[9.45e9] * 4)
    [with_cache] = advice([cached])
    without = replace(CHEAP, prices={name: CHEAP.prices[name] for name in ("input", "output")})
    [found] = advice([cached], [DEAR, without])
    assert found.saving.mid_nano < with_cache.saving.mid_nano - 5 * NANO
    # One that caches only what is marked, where nobody marks anything, caches nothing either.
    marked = replace(CHEAP, prices={**CHEAP.prices, "cache_write": CHEAP.prices["input"]})
    assert advice([cached], [DEAR, marked])[0].saving == found.saving


def test_a_tier_of_prices_counts_for_the_mean_call():
    tiered = replace(CHEAP, tiers=((900, {"input": 5 * NANO, "output": 20 * NANO}),))
    assert advice([tally(DEAR)], [DEAR, tiered]) == []


def test_a_model_that_writes_more_saves_less():
    [found] = advice([tally(DEAR)])
    [wordy] = recommend(evidence([tally(DEAR)]), landscape([DEAR, CHEAP], lengths={"two/cheap": 6.0}), [], Rules())
    assert wordy.saving.mid_nano < found.saving.mid_nano
    thinking = replace(CHEAP, is_reasoning=True)
    unmeasured = replace(landscape([DEAR, thinking]), outputs={})
    [thinks] = recommend(evidence([tally(DEAR)]), unmeasured, [], Rules())
    assert thinks.saving.mid_nano < found.saving.mid_nano
    assert {"length", "slower"} <= set(thinks.risks)


def test_what_a_policy_chose_is_left_alone_where_it_would_not_take_the_cheaper_one():
    routed = tally(DEAR, way="policy", policy="premium")
    assert advice([routed], [DEAR, candidate("two/cheap", 0.5, strength=2.2)]) == []
    balanced = tally(DEAR, way="policy", policy="balanced")
    assert kinds(advice([balanced])) == [Kind.CHEAPER]  # as good: only the lengths or caches of these calls tell


def test_a_policys_promise_is_towards_the_best_model_not_towards_its_own_choice():
    used, best = candidate("one/dear", 2.0, strength=3.2), candidate("one/best", 9.0, strength=4.0)
    models = [used, best, candidate("two/cheap", 0.5, strength=2.6)]
    assert kinds(advice([tally(used)], models)) == [Kind.CHEAPER]
    assert advice([tally(used, way="policy", policy="balanced")], models) == []


def test_work_that_began_within_the_window_goes_on_as_it_did_since():
    charge = tally(DEAR).charge_nano
    [steady] = advice([tally(DEAR)])
    [young] = advice([replace(tally(DEAR), by_week=[0.0, 0.0, charge / 2, charge / 2])])
    assert young.saving.mid_nano == pytest.approx(2 * steady.saving.mid_nano, rel=0.02)


def test_a_pin_moves_all_that_a_policy_answers_so_that_counts_too():
    [alone] = advice([tally(DEAR)])
    other = candidate("two/other", 0.2, strength=1.0)
    assert advice([tally(DEAR), tally(other, way="policy", policy="balanced")], [DEAR, CHEAP, other]) != [alone]


def test_steps_down_do_not_add_up():
    second = candidate("two/second", 1.0, strength=1.9)
    third = candidate("two/third", 0.2, strength=1.9)
    pinned = tally(second, way="pinned", policy="balanced")
    assert kinds(advice([pinned], [DEAR, second, third])) == [Kind.CHEAPER]
    before = replace(said(state="accepted", weeks_ago=20), model="two/second")
    assert advice([pinned], [DEAR, second, third], [before]) == []


def test_votes_move_both_models_where_both_got_some():
    models = [DEAR, candidate("two/cheap", 0.5, strength=2.1)]
    rated = replace(tally(DEAR), votes=100.0, score=60.0)
    assert kinds(advice([rated], models)) == kinds(advice([tally(DEAR)], models))
    loved = replace(tally(models[1], calls=3_000), votes=300.0, score=297.0)
    hated = replace(tally(models[1], calls=3_000), votes=300.0, score=60.0)
    content = replace(tally(DEAR), votes=300.0, score=277.0)
    assert Kind.CHEAPER in kinds(advice([content, loved], models))
    assert Kind.CHEAPER not in kinds(advice([content, hated], models))


def test_a_better_model_at_no_higher_cost():
    better = candidate("one/better", 1.65, strength=4.0)
    [found] = advice([tally(DEAR)], [DEAR, better])
    assert (found.kind, found.model) == (Kind.BETTER, "one/better")
    assert found.evidence["quality_then"] > found.evidence["quality_now"]
    assert advice([tally(DEAR)], [DEAR, candidate("one/better", 2.2, strength=4.0)]) == []


def test_a_model_that_is_new_here_is_announced_as_such():
    new = replace(CHEAP, first_seen_on=TODAY - timedelta(days=5))
    assert kinds(advice([tally(DEAR)], [DEAR, new])) == [Kind.NEW_MODEL]
    assert advice([tally(CHEAP)], [CHEAP, replace(DEAR, first_seen_on=TODAY)]) == []


def test_of_two_near_ones_the_surer_is_advised():
    surer = candidate("two/surer", 0.52, strength=2.6)
    less_sure = candidate("two/cheap", 0.5, strength=2.3)
    assert advice([tally(DEAR)], [DEAR, less_sure])[0].model == "two/cheap"
    assert advice([tally(DEAR)], [DEAR, surer, less_sure])[0].model == "two/surer"


def test_a_model_that_fails_more_than_before_and_what_does_not():
    ill = replace(HEALTHY, failed=600)
    [found] = advice([tally(DEAR)], [DEAR, candidate("one/other", 2.1)], health={"one/dear": ill})
    assert (found.kind, found.model) == (Kind.FAILING, "one/other")
    assert found.evidence["failed_share"] == 0.12
    assert "dearer" in found.risks
    assert found.expires_on == TODAY + timedelta(days=7)
    assert advice([tally(DEAR)], [DEAR], health={"one/dear": ill}) == []
    assert advice([tally(CHEAP)], [CHEAP], health={"two/cheap": HEALTHY}) == []


def test_a_failing_model_is_no_alternative():
    ill = replace(HEALTHY, failed=600)
    assert advice([tally(DEAR)], health={"one/dear": HEALTHY, "two/cheap": ill}) == []


def test_a_model_that_has_become_slow_and_a_faster_one():
    slow = replace(HEALTHY, log_ms_mean=9.0, log_ms_error=0.05)
    models = [DEAR, candidate("one/other", 2.0)]
    [found] = advice([tally(DEAR)], models, health={"one/dear": slow, "one/other": HEALTHY})
    assert (found.kind, found.model) == (Kind.SLOW, "one/other")
    assert advice([tally(DEAR)], models, health={"one/dear": slow}) == []  # nobody knows how fast the other is


def test_a_model_that_ends_its_date_and_its_successor():
    ending = replace(DEAR, sunset_on=TODAY + timedelta(days=40), successor="one/next")
    [found] = advice([tally(ending)], [ending, candidate("one/next", 2.0), CHEAP])
    assert (found.kind, found.model) == (Kind.ENDING, "one/next")
    assert found.evidence["ends_on"] == "2027-01-02"
    assert found.expires_on == ending.sunset_on
    weak = candidate("one/next", 2.0, strength=1.0)
    [found] = advice([tally(ending)], [ending, weak, CHEAP])
    assert (found.model, found.evidence["successor"]) == ("two/cheap", "one/next")
    later = replace(ending, sunset_on=TODAY + timedelta(days=61))
    assert Kind.ENDING not in kinds(advice([tally(later)], [later, CHEAP]))


def test_a_model_that_ends_and_nothing_in_its_place():
    ending = replace(DEAR, sunset_on=TODAY + timedelta(days=10))
    [found] = advice([tally(ending, calls=30)], [ending])
    assert (found.kind, found.model) == (Kind.ENDING, "")


def test_an_end_that_is_near_is_said_again_a_far_one_pauses():
    ending = replace(DEAR, sunset_on=TODAY + timedelta(days=13))
    before = [said(Kind.ENDING)]
    assert kinds(advice([tally(ending)], [ending], before)) == [Kind.ENDING]
    far = replace(DEAR, sunset_on=TODAY + timedelta(days=40))
    assert advice([tally(far)], [far], before) == []
    assert advice([tally(ending)], [ending], [said(Kind.ENDING, weeks_ago=0)]) == []


def test_a_model_that_has_ended_already():
    market = replace(landscape([CHEAP]), retired={"one/dear": "two/cheap"})
    [found] = recommend(evidence([tally(DEAR)]), market, [], Rules())
    assert (found.kind, found.model, found.evidence["successor"]) == (Kind.ENDING, "", "two/cheap")


def cached(model, calls=20_000):
    base = tally(model, calls)
    return replace(base, tokens={"input": 1_500.0 * calls, "cache_read": 2_500.0 * calls, "output": 200.0 * calls})


def long_prompts(model=DEAR, calls=20_000):
    base = tally(model, calls)
    charge = calls * (4_000 * 2e3 + 200 * 8e3)
    tokens = {"input": 4_000.0 * calls, "output": 200.0 * calls}
    return replace(base, tokens=tokens, charge_nano=charge, by_week=[charge / 4] * 4)


def test_caching_is_advised_where_like_prompts_are_cached_elsewhere():
    other = candidate("three/other", 2.0)
    found = advice([long_prompts(), cached(other)], [DEAR, other])
    assert (Kind.CACHING, "one/dear") in [(one.kind, one.subject) for one in found]
    [one] = [one for one in found if one.kind == Kind.CACHING]
    assert one.evidence["cached_share_elsewhere"] == 0.625
    assert one.model == ""
    assert advice([long_prompts(), tally(other)], [DEAR, other]) == []  # nothing shows that prompts repeat
    costly = replace(DEAR, prices={**DEAR.prices, "cache_read": DEAR.prices["input"]})
    assert advice([long_prompts(), cached(other)], [costly, other]) == []


def test_answers_that_are_far_longer_than_elsewhere():
    long = replace(tally(DEAR), tokens={"input": 2e7, "output": 2e7}, charge_nano=2e11, by_week=[5e10] * 4)
    [found] = advice([long], [DEAR])
    assert (found.kind, found.model) == (Kind.SHORTER, "")
    assert found.evidence["usual_ratio"] > 4
    shorter = replace(long, tokens={"input": 2e7, "output": 8e6}, charge_nano=1.04e11)
    assert advice([shorter], [DEAR]) == []
    assert kinds(advice([replace(shorter, cut=500)], [DEAR])) == [Kind.SHORTER]


def key(**changed) -> KeyFact:
    return replace(KeyFact(5, "old", date(2026, 1, 1), date(2026, 8, 1), None), **changed)


def test_a_key_that_nobody_uses():
    [found] = advice([], keys=[key(), key(key_id=6, last_used_on=None, made_on=date(2026, 7, 1))])
    assert (found.kind, found.subject) == (Kind.UNUSED_KEY, "6")
    assert found.evidence == {"name": "old", "days": 145, "was_used": 0, "keys": 2}
    assert advice([], keys=[key(last_used_on=TODAY - timedelta(days=59)), key(made_on=TODAY, last_used_on=None)]) == []


def capped(spent: int, daily: int) -> KeyFact:
    cap = {"cap_nano": 100 * NANO, "spent_nano": spent * NANO, "daily_nano": daily * NANO}
    return key(last_used_on=TODAY, period_ends_on=date(2026, 12, 1), **cap)


def test_a_cap_that_ends_calls_before_its_period_ends():
    [found] = advice([], keys=[capped(spent=80, daily=10)])
    assert (found.kind, found.subject, found.expires_on) == (Kind.CAP_SOON, "5", date(2026, 12, 1))
    assert found.evidence["reached_on"] == "2026-11-25"
    for quiet in (capped(spent=30, daily=7), capped(spent=100, daily=10), capped(spent=50, daily=0)):
        assert advice([], keys=[quiet]) == []
    assert advice([], keys=[key(last_used_on=TODAY)]) == []


@pytest.mark.parametrize(
    ("before", "is_said"),
    [
        (said(weeks_ago=2), False),
        (said(weeks_ago=3), True),
        (said(weeks_ago=3, state="over"), True),
        (said(weeks_ago=7, state="dismissed", saving_nano=1), False),
        (said(weeks_ago=8, state="dismissed", saving_nano=20 * NANO), True),
        (said(weeks_ago=8, state="dismissed", saving_nano=40 * NANO), False),
        (said(weeks_ago=7, state="accepted"), False),
        (said(kind=Kind.BETTER, weeks_ago=1), False),  # the same topic
        (said(kind=Kind.FAILING, weeks_ago=1), True),
        (said(weeks_ago=1, task="math"), True),
    ],
)
def test_what_was_said_pauses_and_what_was_dismissed_pauses_for_longer(before, is_said):
    assert bool(advice([tally(DEAR)], history=[before])) == is_said


def test_at_most_five_what_has_a_date_first_then_by_worth():
    tasks = ("math", "writing", "other", "roleplay", "reasoning", "translation")
    busy = [tally(DEAR, calls=20_000 + 1_000 * i, task=task) for i, task in enumerate(tasks)]
    found = advice(busy, keys=[capped(spent=80, daily=10)])
    assert kinds(found) == [Kind.CAP_SOON] + [Kind.CHEAPER] * 4
    assert [one.task for one in found[1:]] == ["translation", "reasoning", "roleplay", "other"]


def test_one_pin_a_task_type():
    second = candidate("one/second", 2.0)
    found = advice([tally(DEAR), tally(second, calls=30_000)], [DEAR, second, CHEAP])
    assert [(one.subject, one.task) for one in found] == [("one/second", TASK)]
