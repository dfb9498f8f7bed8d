"""Typical prompts: kept after the answer, redacted, one a task type and day, only where it is allowed."""

from typing import Any

import pytest

from advisor.actions.samples import Member, do_choose_samples, do_forget_samples, do_keep_sample
from advisor.models import PromptSample
from advisor.sampling import text_of
from komilion.common.clock import utc_now
from routing.selection.features import question_of
from tests.fakes.replies import Reply
from tests.people import Person, new_owner
from tests.routing.books import organization_id
from tests.routing.choosing import BEST
from tests.stand import Gateway
from tests.waiting import wait_until

PROMPT = "Write a Python function that greets ann@example.com, please"


@pytest.fixture(scope="module", autouse=True)
def _models(gateway: Gateway) -> None:
    gateway.add_model(Reply(), BEST, input_price="5.00", output_price="25.00")


def kept(organization: int) -> list[Any]:
    return list(PromptSample.objects.filter(organization_id=organization))


def test_the_first_prompt_of_a_task_type_is_kept_redacted(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("advisor.sampling.LOOK_EVERY_S", 0.0)
    alice, charlie = gateway.tenant(), gateway.tenant()
    mine, others = organization_id(alice), organization_id(charlie)
    do_choose_samples(Member(mine, "alice"), allowed=True, now=utc_now())

    def asked() -> bool:
        for tenant in (alice, charlie):
            gateway.chat(tenant, "neo-mode", messages=[{"role": "user", "content": PROMPT}], taskHint="coding")
        return bool(kept(mine))

    wait_until(asked)
    assert [row.text for row in kept(mine)] == ["Write a Python function that greets [email], please"]
    assert kept(others) == []
    do_choose_samples(Member(mine, "alice"), allowed=False, now=utc_now())
    assert kept(mine) == []


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


def test_of_a_long_prompt_the_beginning_is_kept_up_to_a_whole_word():
    found = text_of(question_of("a " * 495 + "ann.lee@example.com " + "b" * 1_000))
    assert found.endswith("a a")
    assert text_of(question_of("short")) == "short"
