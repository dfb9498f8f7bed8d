"""Minutes by `neo-mode`: of long transcripts in parts, charged once, and never at the price of the transcript."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from routing.gateway.inside import ChatRefused, Finished, TextDelta
from routing.gateway.services import Services
from tests.routing.books import usage_rows
from tests.routing.inside_process import vouch, with_services
from tests.stand import Tenant
from tests.voice.meetings.conftest import MINUTES, Meetings
from voice.meetings import summarizing
from voice.meetings.hearing import Payer
from voice.meetings.summarizing import Summary, summarize

LINE = "[00:00:00] Speaker 0: " + "word " * 190


def summary_of(who: Tenant, lines: list[str], name: str = "") -> Summary:
    async def run(services: Services) -> Summary:
        return await summarize(Payer(services, vouch(services, who)), lines, name)

    return with_services(run)


def test_a_short_one_takes_one_call(meetings: Meetings, writer: str):
    bob = meetings.gateway.tenant()
    summary = summary_of(bob, ["hello"])
    assert summary.minutes is not None
    assert summary.minutes.as_json() == MINUTES
    rows = usage_rows(bob)
    assert len(rows) == 1
    assert summary.cost_nano == rows[0].charge_nano
    assert summary.request_ids == [rows[0].request_id]


def test_a_long_one_is_read_in_parts_which_are_then_put_together(meetings: Meetings, writer: str):
    bob = meetings.gateway.tenant()
    summary = summary_of(bob, [LINE] * 30)
    assert summary.minutes is not None
    assert summary.minutes.as_json() == MINUTES
    assert len(usage_rows(bob)) == 4
    asked = meetings.gateway.calls_of(writer)[-4:]
    assert all(len(str(each)) < 40_000 for each in asked)
    assert summary.cost_nano == sum(row.charge_nano for row in usage_rows(bob))


def test_one_that_is_made_again_under_its_name_is_charged_once(meetings: Meetings, writer: str):
    bob = meetings.gateway.tenant()
    first, again = summary_of(bob, [LINE] * 15, "job-x"), summary_of(bob, [LINE] * 15, "job-x")
    assert first == again
    assert len(usage_rows(bob)) == 3


class Scripted:
    """Stands for `ask`: each call takes the next answer, the last one for ever."""

    def __init__(self, *answers: str | ChatRefused) -> None:
        self._answers = list(answers)
        self.keys: list[str] = []

    async def __call__(self, renew: Any, body: Any, services: Any, *, idempotency_key: str) -> AsyncIterator[Any]:
        self.keys.append(idempotency_key)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, ChatRefused):
            raise answer
        yield TextDelta(answer)
        yield Finished("gen-1", "stop", bill={"cost_nano_usd": 5})


def played(monkeypatch: pytest.MonkeyPatch, lines: int, *answers: str | ChatRefused) -> tuple[Summary, Scripted]:
    script = Scripted(*answers)
    monkeypatch.setattr(summarizing, "ask", script)
    monkeypatch.setattr(summarizing, "WAIT_S", 0)
    payer: Any = Payer(None, None)  # type: ignore[arg-type]
    return asyncio.run(summarize(payer, [LINE] * lines, "job")), script


REFUSED = ChatRefused(402, "insufficient_balance", "No credit.")
BUSY = ChatRefused(409, "idempotency_in_progress", "Running.")


def test_a_call_that_a_dead_process_had_begun_is_waited_for(monkeypatch):
    summary, script = played(monkeypatch, 1, BUSY, BUSY, "minutes")
    assert summary.minutes is not None
    assert summary.minutes.summary == "minutes"
    assert script.keys == ["job-1"] * 3


def test_but_not_for_ever(monkeypatch):
    summary, _ = played(monkeypatch, 1, BUSY)
    assert summary.trouble is not None
    assert summary.trouble.reason == "unavailable"


def test_where_the_parts_cannot_be_put_together_they_stand_in_a_row(monkeypatch):
    summary, _ = played(monkeypatch, 15, '{"summary": "one"}', '{"summary": "two"}', REFUSED)
    assert summary.minutes is not None
    assert summary.minutes.summary == "one\n\ntwo"
    assert summary.trouble is REFUSED
    assert summary.cost_nano == 10


def test_where_a_part_is_refused_there_are_none(monkeypatch):
    summary, _ = played(monkeypatch, 15, '{"summary": "one"}', REFUSED)
    assert (summary.minutes, summary.cost_nano) == (None, 5)


def test_models_that_write_on_and_on_are_put_in_a_row_in_the_end(monkeypatch):
    summary, script = played(monkeypatch, 30, "x" * 8_000)
    assert summary.minutes is not None
    assert len(summary.minutes.summary) == 8_000
    assert len(script.keys) == 3 + 4 * 3


def test_an_error_on_the_way_is_told(monkeypatch):
    from komilion.common.errors import LedgerUnavailable

    async def broken(*_: Any, **__: Any) -> AsyncIterator[Any]:
        raise LedgerUnavailable
        yield

    monkeypatch.setattr(summarizing, "ask", broken)
    payer: Any = Payer(None, None)  # type: ignore[arg-type]
    summary = asyncio.run(summarize(payer, ["x"]))
    assert summary.trouble is not None
    assert summary.trouble.reason == "ledger_unavailable"
