"""What operators can see of a conversation, while it runs and when somebody asks about it."""

import asyncio
import logging
import re
from functools import partial

import httpx
import pytest
from django.contrib import admin
from django.test import RequestFactory

from billing.admin import UsageRowAdmin
from billing.models import UsageRow
from tests.async_waiting import eventually
from tests.stand import Tenant
from tests.voice.realtime.talking import Stand, eventually_equal, talking


def test_operators_see_who_held_a_conversation_how_it_ended_and_what_it_cost_but_not_a_word(
    stand: Stand, alice: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="voice.realtime.consumer")
    model = stand.model()
    session_ids: list[str] = []

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            session_ids.append(talker.of("session.created")[0]["session"]["id"])
            page = await asyncio.to_thread(httpx.get, f"{stand.gateway.url}/metrics")
            assert re.search(r"^komilion_open_voice_sessions [1-9]", page.text, re.MULTILINE)
            await talker.answer()
        await eventually_equal(partial(stand.held_nano, alice), 0)
        await eventually(lambda: len(told()) > 1)

    def told() -> list[logging.LogRecord]:
        return [record for record in caplog.records if getattr(record, "session_id", "") == session_ids[0]]

    asyncio.run(converse())
    opened, ended = told()
    assert (opened.message, opened.session_id, opened.model) == ("voice session opened", session_ids[0], model)
    assert (ended.message, ended.code, ended.reason) == ("voice session ended", 1000, "client_left")
    assert ended.cost_nano_usd > 0
    assert ended.seconds >= 0
    page = httpx.get(f"{stand.gateway.url}/metrics")
    assert 'komilion_voice_sessions_total{code="1000",reason="client_left"}' in page.text
    seen = UsageRowAdmin(UsageRow, admin.site).get_search_results(
        RequestFactory().get("/"), UsageRow.objects.all(), session_ids[0]
    )[0]
    assert [row.charge_nano for row in seen] == [ended.cost_nano_usd]
    assert {row.key_id for row in seen} == {ended.key_id}
