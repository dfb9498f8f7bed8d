"""Kept prompts: one a task type and day, for two weeks, and none where it is not allowed."""

from typing import Any

import pytest

from advisor.actions.samples import Member, do_choose_samples, do_forget_samples, do_keep_sample
from advisor.models import PromptSample
from komilion.common.clock import utc_now
from tests.people import Person, new_owner


@pytest.mark.django_db
def test_a_prompt_is_kept_without_what_a_database_refuses():
    person = new_owner("dora@example.com")
    do_choose_samples(Member(person.organization_id, person.email), allowed=True, now=utc_now())
    assert do_keep_sample(person.organization_id, "writing", "gen-1", "greet\x00 me", utc_now())
    assert PromptSample.objects.get().text == "greet me"


@pytest.mark.django_db
def test_one_is_kept_of_a_task_type_and_day_and_for_two_weeks(time_machine: Any):
    person: Person = new_owner("dora@example.com")
    mine = person.organization_id
    assert not do_keep_sample(mine, "writing", "gen-0", "x", utc_now()), "nobody was asked"
    do_choose_samples(Member(mine, person.email), allowed=True, now=utc_now())
    for day, said in ((1, True), (1, False), (2, True)):
        time_machine.move_to(f"2026-12-{day:02}T12:00:00+00:00", tick=False)
        assert do_keep_sample(mine, "writing", f"gen-{PromptSample.objects.count()}", "x", utc_now()) is said
    assert do_keep_sample(mine, "math", "gen-9", "x", utc_now())
    time_machine.move_to("2026-12-15T13:00:00+00:00", tick=False)
    assert do_forget_samples(utc_now()) == 1
    time_machine.move_to("2026-12-17T13:00:00+00:00", tick=False)
    assert do_forget_samples(utc_now()) == 2
    do_choose_samples(Member(mine, person.email), allowed=False, now=utc_now())
    assert not do_keep_sample(mine, "writing", "gen-8", "x", utc_now())
