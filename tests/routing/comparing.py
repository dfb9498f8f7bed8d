"""Comparisons as a test asks for them and reads them."""

import asyncio
import json
from decimal import Decimal
from typing import Any

from tests.fakes.client import PROMPT, Answer, call
from tests.routing.answers import key_of
from tests.routing.books import usage_rows
from tests.stand import Gateway, Tenant
from tests.waiting import wait_until

COMPARE = "/api/compare"


SEPARATE = {"object", "results", "diff"}


def compare(gateway: Gateway, tenant: Tenant, models: list[str], **body: Any) -> Answer:
    return call(gateway.url, COMPARE, tenant.key, {"models": models, "messages": PROMPT, **body})


def summary(answer: Answer) -> dict[str, Any]:
    """The last frame, with amounts as they are written."""
    assert answer.status == 200, answer.body
    assert answer.events[-1] == "[DONE]"
    found: dict[str, Any] = json.loads(answer.events[-2], parse_float=Decimal)
    assert found["object"] == "compare.summary"
    return found


def frames_of(answer: Answer, index: int) -> list[dict[str, Any]]:
    return [frame for frame in answer.frames if frame.get("index") == index]


def text_of(answer: Answer, index: int) -> str:
    lists = [frame.get("choices") for frame in frames_of(answer, index)]
    deltas = [choice["delta"] for choices in lists if isinstance(choices, list) for choice in choices if choice != 5]
    return "".join(delta.get("content") or "" for delta in deltas if isinstance(delta, dict) and "tool" not in delta)


def limited_key(tenant: Tenant, limits: dict[str, int]) -> str:
    """Another key of the tenant's, with limits of its own."""
    made = key_of(tenant)
    type(made.row).objects.filter(pk=made.row.pk).update(limits=limits)
    return made.secret


async def no_messages(*_: Any) -> Any:
    """Of a client that says and takes nothing."""
    await asyncio.Event().wait()


def rows_by_model(tenant: Tenant, count: int) -> dict[str, Any]:
    wait_until(lambda: len(usage_rows(tenant)) == count, what="the usage rows")
    return {row.model: row for row in usage_rows(tenant)}
