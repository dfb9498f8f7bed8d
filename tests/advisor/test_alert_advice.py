"""What is recommended in place of a model that is in trouble now."""

from dataclasses import replace
from datetime import timedelta
from math import log

from advisor.advice import Kind
from advisor.alarms import Alarm
from advisor.brief import Brief, Said
from advisor.evidence import Health
from advisor.kinds.alerts import advise, was_answered, without
from advisor.rules import Rules
from advisor.weeks import week_of
from tests.advisor.made_up import TODAY, candidate, evidence, landscape, tally

LARGE, MEDIUM, SMALL = candidate("acme/large", 3.0), candidate("acme/medium", 2.9), candidate("zeta/small", 3.1)
FAILING = Alarm(Kind.FAILING, LARGE.id, 0.9995, {"failed_share": 0.4, "failed_share_before": 0.01, "now_calls": 60})


def brief(*models, tasks=("summarization",), health=None, **known) -> Brief:
    found = landscape([LARGE, *models], health)
    return Brief(evidence([tally(LARGE, task=task) for task in tasks], **known), found, [], Rules())


def test_a_model_that_keeps_the_promise_is_recommended_for_each_task_type():
    found = advise(brief(MEDIUM, tasks=("summarization", "writing")), FAILING)
    assert [(said.kind, said.subject, said.task, said.model) for said in found] == [
        (Kind.FAILING, LARGE.id, "summarization", MEDIUM.id),
        (Kind.FAILING, LARGE.id, "writing", MEDIUM.id),
    ]
    assert (found[0].evidence["days"], found[0].evidence["calls"]) == (28, 20_000)
    assert found[0].expires_on == TODAY + timedelta(days=7)


def test_three_task_types_at_most():
    tasks = ("summarization", "writing", "math", "translation")
    assert len(advise(brief(MEDIUM, tasks=tasks), FAILING)) == 3


def test_what_does_not_keep_the_promise_is_not_recommended():
    other = replace(MEDIUM, strength=dict.fromkeys(MEDIUM.strength, -2.0))
    assert advise(brief(other), FAILING) == []


def test_what_the_keys_may_not_call_is_not_recommended():
    assert advise(brief(MEDIUM, may_call=frozenset({LARGE.id})), FAILING) == []


def test_another_model_in_trouble_is_not_recommended():
    both = brief(MEDIUM, SMALL)
    assert advise(both, FAILING)[0].model == MEDIUM.id
    ill = frozenset({LARGE.id, MEDIUM.id})
    assert advise(without(both, ill, LARGE.id), FAILING)[0].model == SMALL.id
    assert advise(without(both, ill | {SMALL.id}, LARGE.id), FAILING) == []


def test_work_of_other_models_is_left_alone():
    assert advise(brief(MEDIUM), replace(FAILING, model=MEDIUM.id)) == []


def test_instead_of_a_slow_model_a_faster_one_is_recommended():
    slow = Alarm(Kind.SLOW, LARGE.id, 0.9995, {"log_ms": log(9_000), "log_ms_before": log(2_000)})
    measured = Health(5_000, 5, 5_000, 5)
    health = {
        MEDIUM.id: replace(measured, log_ms_mean=log(8_000)),
        SMALL.id: replace(measured, log_ms_mean=log(2_500)),
    }
    assert [said.model for said in advise(brief(MEDIUM, SMALL, health=health), slow)] == [SMALL.id]
    assert advise(brief(MEDIUM, SMALL), slow) == []


def test_instead_of_a_model_that_ends_its_successor_is_recommended():
    ends_on = TODAY + timedelta(days=12)
    large = replace(LARGE, sunset_on=ends_on, successor=SMALL.id)
    ending = Alarm(Kind.ENDING, LARGE.id, 1.0, {"ends_on": ends_on.isoformat(), "successor": SMALL.id})
    known = Brief(evidence([tally(LARGE)]), landscape([large, MEDIUM, SMALL]), [], Rules())
    (found,) = advise(known, ending)
    assert (found.kind, found.model, found.expires_on) == (Kind.ENDING, SMALL.id, ends_on)


def test_what_was_answered_in_this_week_is_not_said_again():
    answered = [
        Said(week_of(TODAY), Kind.FAILING, LARGE.id, "writing", MEDIUM.id, "dismissed", 0),
        Said(week_of(TODAY - timedelta(weeks=1)), Kind.FAILING, LARGE.id, "summarization", MEDIUM.id, "accepted", 0),
    ]
    both = replace(brief(MEDIUM, tasks=("summarization", "writing")), history=answered)
    assert [said.task for said in advise(both, FAILING)] == ["summarization"]
    assert was_answered(replace(brief(MEDIUM, tasks=("writing",)), history=answered), FAILING)
    assert not was_answered(both, FAILING)
    assert not was_answered(both, replace(FAILING, model=MEDIUM.id))
