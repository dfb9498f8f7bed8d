"""One prompt that cannot be kept takes no other with it."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from advisor import sampling
from komilion.common.tasks import all_done
from routing.gateway.choice.learning import Finished
from routing.gateway.forms import CHATS
from routing.providers.base import ChatRequest


def finished(task: str, prompt: str) -> Finished:
    """As much of a call as is looked at."""
    chat = ChatRequest("neo-mode", [{"role": "user", "content": prompt}], {})
    about = {"selected": SimpleNamespace(task=task), "caller": SimpleNamespace(organization_id=7)}
    return cast("Finished", SimpleNamespace(request_id=f"gen-{task}", endpoint=CHATS[0], chat=chat, **about))


def test_a_prompt_that_cannot_be_kept_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    kept: list[str] = []

    def keep(_: int, task: str, __: str, text: str, ___: Any) -> None:
        if task == "coding":
            raise ValueError(f"cannot store {text}")
        kept.append(text)

    monkeypatch.setattr(sampling, "organizations_that_allow_samples", lambda: frozenset({7}))
    monkeypatch.setattr(sampling, "do_keep_sample", keep)

    async def calls() -> None:
        sampler = sampling.Sampler()
        sampler.hear(finished("writing", "before anybody was known to allow it"))
        await all_done(timeout_s=10)
        for task in ("coding", "writing", "math"):
            sampler.hear(finished(task, f"about {task}"))
        await all_done(timeout_s=10)

    with caplog.at_level(logging.WARNING):
        asyncio.run(calls())
    assert kept == ["about writing", "about math"]
    (record,) = caplog.records
    assert (record.getMessage(), record.error) == ("prompt not kept", "ValueError")  # type: ignore[attr-defined]
    assert "about coding" not in caplog.text
