"""What is learnt of a call after its answer: of a sample, without anybody waiting, never more than fits."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from django.db import OperationalError

from billing.actions.usage_notes import UsageNote
from routing.gateway.choice import afterwards as module
from routing.gateway.choice.afterwards import Afterwards, in_sample
from routing.selection.features import Question
from tests.async_waiting import eventually
from tests.routing.parsing import parse


class Rows:
    """In the place of the database."""

    def __init__(self) -> None:
        self.notes: list[UsageNote] = []
        self.failures = 0

    def write(self, notes: Sequence[UsageNote]) -> None:
        if self.failures:
            self.failures -= 1
            raise OperationalError("away")
        self.notes += notes


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Rows:
    found = Rows()
    monkeypatch.setattr(module, "_write", found.write)
    monkeypatch.setattr(module, "WRITE_AFTER_S", 0)
    monkeypatch.setattr(module, "MOST_PER_S", 100)
    settings.CLASSIFIED_SHARE = 1
    return found


def classify(question: Question) -> Mapping[str, Any] | None:
    return {"task_type": question.hint or "other"} if question.text != "unreadable" else None


def test_calls_are_classified_in_the_order_in_which_they_came(rows: Rows):
    async def go() -> None:
        later = Afterwards(classify)
        for number, hint in enumerate(("math", "writing", None)):
            later.note(f"gen-{number}", "2026-03-01 09:00:00", parse(taskHint=hint))
        assert rows.notes == []
        await eventually(lambda: len(rows.notes) == 3)
        later.note("gen-3", "2026-03-01 09:00:00", parse())
        await eventually(lambda: len(rows.notes) == 4)

    asyncio.run(go())
    assert [note.facts["task_type"] for note in rows.notes] == ["math", "writing", "other", "other"]
    assert rows.notes[0] == UsageNote("gen-0", "2026-03-01 09:00:00", {"task_type": "math"})


def test_what_cannot_be_read_is_left_out_and_a_database_that_is_away_costs_a_batch(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
):
    async def go() -> None:
        monkeypatch.setattr(module, "NOTES_AT_ONCE", 2)
        rows.failures = 1
        later = Afterwards(classify)
        for number in range(3):
            later.note(f"gen-{number}", "", parse())
        later.note("gen-3", "", parse(messages=[{"role": "user", "content": "unreadable"}]))
        later.note("gen-4", "", parse())
        await eventually(lambda: len(rows.notes) == 2)

    asyncio.run(go())
    assert [note.request_id for note in rows.notes] == ["gen-2", "gen-4"]


def test_the_queue_is_bounded(rows: Rows, monkeypatch: pytest.MonkeyPatch):
    async def go() -> None:
        monkeypatch.setattr(module, "QUEUE_MOST", 2)
        later = Afterwards(classify)
        for number in range(5):
            later.note(f"gen-{number}", "", parse())
        await eventually(lambda: len(rows.notes) == 2)

    asyncio.run(go())


def test_a_busy_process_looks_at_a_few_in_a_second(rows: Rows, monkeypatch: pytest.MonkeyPatch):
    async def go() -> None:
        now_s = [7.1]
        monkeypatch.setattr(module, "monotonic_s", lambda: now_s[0])
        monkeypatch.setattr(module, "MOST_PER_S", 2)
        later = Afterwards(classify)
        for number in range(5):
            later.note(f"gen-{number}", "", parse())
        now_s[0] = 8.0
        later.note("gen-5", "", parse())
        await eventually(lambda: len(rows.notes) == 3)

    asyncio.run(go())
    assert [note.request_id for note in rows.notes] == ["gen-0", "gen-1", "gen-5"]


@pytest.mark.parametrize(("share", "least", "most"), [(0, 0, 0), (0.1, 60, 140), (1, 1_000, 1_000)])
def test_the_sample_is_the_share_that_is_set(settings: Any, share: float, least: int, most: int):
    settings.CLASSIFIED_SHARE = share
    assert least <= sum(in_sample(f"gen-{number}") for number in range(1_000)) <= most
