"""Typical prompts: kept after the answer, redacted, one a task type and day, only where it is allowed."""

from typing import Any

import pytest

from advisor.actions.samples import Member, do_choose_samples
from advisor.models import PromptSample
from advisor.sampling import text_of
from komilion.common.clock import utc_now
from routing.selection.features import question_of
from tests.fakes.replies import Reply
from tests.routing.books import organization_id
from tests.routing.choosing import BEST
from tests.routing.comparing import compare
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

PROMPT = "Write a Python function that greets ann@example.com, please"
ASKED = [{"role": "user", "content": PROMPT}]
SUM = [{"role": "user", "content": "Solve for x: 3x^2 - 12x + 9 = 0. Show each step of the computation."}]


@pytest.fixture(scope="module", autouse=True)
def _models(gateway: Gateway) -> None:
    gateway.add_model(Reply(), BEST, input_price="5.00", output_price="25.00")


def kept(organization: int) -> list[Any]:
    return list(PromptSample.objects.filter(organization_id=organization))


def ask(gateway: Gateway, tenant: Tenant, model: str = "neo-mode", task: str = "coding") -> None:
    gateway.chat(tenant, model, messages=ASKED if task == "coding" else SUM, taskHint=task)


def test_the_first_prompt_of_a_task_type_is_kept_redacted(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    alice, charlie = gateway.tenant(), gateway.tenant()
    mine, others = organization_id(alice), organization_id(charlie)
    ask(gateway, alice)  # whoever was here before: the process has read by now who allows it
    do_choose_samples(Member(mine, "alice"), allowed=True, now=utc_now())
    monkeypatch.setattr("advisor.sampling.LOOK_EVERY_S", 0.0)

    def asked() -> bool:
        for tenant in (alice, charlie):
            ask(gateway, tenant)
        return bool(kept(mine))

    wait_until(asked)
    assert [row.text for row in kept(mine)] == ["Write a Python function that greets [email], please"]
    assert kept(others) == []
    do_choose_samples(Member(mine, "alice"), allowed=False, now=utc_now())
    assert kept(mine) == []


def test_no_prompt_of_a_comparison_or_of_a_call_that_names_its_model_is_kept(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("advisor.sampling.LOOK_EVERY_S", 0.0)
    alice, charlie = gateway.tenant(), gateway.tenant()
    mine, others = organization_id(alice), organization_id(charlie)
    for organization in (mine, others):
        do_choose_samples(Member(organization, "somebody"), allowed=True, now=utc_now())

    def charlies_are_kept(*tasks: str) -> bool:
        ask(gateway, charlie, task=tasks[-1])
        return len(kept(others)) == len(tasks)

    wait_until(lambda: charlies_are_kept("coding"))  # by now the process knows what both allow
    ask(gateway, alice, BEST)
    assert compare(gateway, alice, ["neo-mode", BEST], messages=ASKED, taskHint="coding").status == 200
    wait_until(lambda: charlies_are_kept("coding", "math"))  # which is kept after what came before
    assert kept(mine) == []


def test_of_a_long_prompt_the_beginning_is_kept_up_to_a_whole_word():
    found = text_of(question_of("a " * 495 + "ann.lee@example.com " + "b" * 1_000))
    assert found.endswith("a a")
    assert text_of(question_of("short")) == "short"
