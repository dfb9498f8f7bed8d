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
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

PROMPT = "Write a Python function that greets ann@example.com, please"


@pytest.fixture(scope="module", autouse=True)
def _models(gateway: Gateway) -> None:
    gateway.add_model(Reply(), BEST, input_price="5.00", output_price="25.00")


def kept(organization: int) -> list[Any]:
    return list(PromptSample.objects.filter(organization_id=organization))


def test_the_first_prompt_of_a_task_type_is_kept_redacted(gateway: Gateway, monkeypatch: pytest.MonkeyPatch):
    alice, charlie = gateway.tenant(), gateway.tenant()
    mine, others = organization_id(alice), organization_id(charlie)

    def ask(tenant: Tenant) -> None:
        gateway.chat(tenant, "neo-mode", messages=[{"role": "user", "content": PROMPT}], taskHint="coding")

    ask(alice)  # whoever was here before: the process has read by now who allows it
    do_choose_samples(Member(mine, "alice"), allowed=True, now=utc_now())
    monkeypatch.setattr("advisor.sampling.LOOK_EVERY_S", 0.0)

    def asked() -> bool:
        for tenant in (alice, charlie):
            ask(tenant)
        return bool(kept(mine))

    wait_until(asked)
    assert [row.text for row in kept(mine)] == ["Write a Python function that greets [email], please"]
    assert kept(others) == []
    do_choose_samples(Member(mine, "alice"), allowed=False, now=utc_now())
    assert kept(mine) == []


def test_of_a_long_prompt_the_beginning_is_kept_up_to_a_whole_word():
    found = text_of(question_of("a " * 495 + "ann.lee@example.com " + "b" * 1_000))
    assert found.endswith("a a")
    assert text_of(question_of("short")) == "short"
