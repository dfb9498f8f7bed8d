"""Cache writes that last an hour: charged at their price wherever the mark stands, or the mark is not forwarded."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from routing.gateway.cache_marks import NOTE
from routing.providers.usage import read_usage
from tests.fakes.client import Answer
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.books import only_row
from tests.stand import DRAINING, Gateway

HOUR = {"type": "ephemeral", "ttl": "1h"}
PLAIN = [{"role": "user", "content": "Hello"}]
PART = [{"role": "user", "content": [{"type": "text", "text": "Hello", "cache_control": HOUR}]}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
BODIES = {
    "part": {"messages": PART},
    "message": {"messages": [{**PLAIN[0], "cache_control": HOUR}]},
    "tool": {"messages": PLAIN, "tools": [{**TOOL, "cache_control": HOUR}]},
    "deep": {"messages": [{**PLAIN[0], "more": [{"cache_control": {**HOUR, "x": 1}}]}]},
}
WRITES = {"prompt_tokens_details": {"cache_write_tokens": 20}}
APART = {"cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5}}


def told(details: Mapping[str, Any]) -> Reply:
    def declared(whole: Tokens) -> dict[str, Any]:
        return {"prompt_tokens": whole.prompt, "completion_tokens": whole.completion, **details}

    return Reply(usage=Tokens(25, 12), declared=declared)


def add_caching(gateway: Gateway, reply: Reply, *, hour: bool = True, provider: str = DRAINING) -> str:
    """A model whose offer has prices for cache writes; returns its id."""
    from routing.actions.catalog import OfferSpec, do_put_offer

    name = gateway.add_model(reply, provider=provider, capabilities="tools")
    components = {"input": 3 * 10**9, "cache_write": 4 * 10**9, "output": 15 * 10**9}
    if hour:
        components["cache_write_1h"] = 6 * 10**9
    do_put_offer(
        OfferSpec(name, provider, components, upstream_id=gateway._upstream_ids[name], capabilities=("tools",))
    )
    gateway.wait_for_catalog()
    return name


def ask(gateway: Gateway, model: str, **body: object) -> tuple[Answer, dict[str, int]]:
    """The answer, and the usage that was charged."""
    tenant = gateway.tenant()
    answer = gateway.chat(tenant, model, **body)
    assert answer.status == 200, answer.body
    return answer, only_row(tenant).usage


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_writes_of_an_hour_have_their_price(gateway: Gateway, name: str, stream: bool):
    model = add_caching(gateway, told(WRITES))
    answer, usage = ask(gateway, model, **BODIES[name], stream=stream)
    assert usage == {"input": 5, "cache_write_1h": 20, "output": 12}
    note = (answer.frames[-1] if stream else answer.json)["x_komilion"]
    cost = 5 * 3_000 + 20 * 6_000 + 12 * 15_000
    assert note["cost_nano_usd"] == cost + cost // 4
    assert "'ttl': '1h'" in str(gateway.calls_of(model)[0].body)
    assert NOTE not in note["adjusted"]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": PLAIN},
        {"messages": [{"role": "user", "content": '{"cache_control": {"ttl":"1h"}}'}]},
        {"messages": [{**PLAIN[0], "cache_control": {"type": "ephemeral", "ttl": "5m"}}]},
        {"messages": PLAIN, "tools": [{**TOOL, "function": {"name": "f", "parameters": {"ttl": "1h"}}}]},
    ],
    ids=["no mark", "quoted", "five minutes", "another ttl"],
)
def test_other_writes_have_the_usual_price(gateway: Gateway, body: dict[str, Any]):
    _, usage = ask(gateway, add_caching(gateway, told(WRITES)), **body)
    assert usage == {"input": 5, "cache_write": 20, "output": 12}


def test_a_provider_that_tells_them_apart_is_believed(gateway: Gateway):
    _, usage = ask(gateway, add_caching(gateway, told(APART)), messages=PART)
    assert usage == {"input": 5, "cache_write": 15, "cache_write_1h": 5, "output": 12}


def test_impossible_usage_stays_impossible(gateway: Gateway):
    _, usage = ask(gateway, add_caching(gateway, told({"prompt_tokens": -1})), messages=PART)
    assert set(usage) == {"input", "output"}


@pytest.mark.parametrize("name", BODIES)
def test_an_offer_without_a_price_for_it_gets_no_such_mark(gateway: Gateway, name: str):
    model = add_caching(gateway, told(WRITES), hour=False)
    body = copy.deepcopy(BODIES[name])
    answer, usage = ask(gateway, model, **body)
    assert usage == {"input": 5, "cache_write": 20, "output": 12}
    assert answer.json["x_komilion"]["adjusted"] == [NOTE]
    sent = str(gateway.calls_of(model)[0].body)
    assert "cache_control" in sent
    assert "1h" not in sent


def test_the_next_offer_gets_it_by_its_own_price(gateway: Gateway):
    first = add_caching(gateway, Reply(status=503), hour=False)
    second = add_caching(gateway, told(WRITES))
    tenant = gateway.tenant()
    answer = gateway.chat(tenant, first, models=[second], messages=PART)
    assert only_row(tenant).usage == {"input": 5, "cache_write_1h": 20, "output": 12}
    assert answer.json["x_komilion"]["adjusted"] == []


def test_a_provider_that_takes_unknown_parameters_gets_the_mark_of_the_whole_request(gateway: Gateway):
    passing = gateway.add_provider("passes-marks", "--pass-unknown")
    first = add_caching(gateway, Reply(status=503))
    second = add_caching(gateway, told(WRITES), provider=passing)
    third = add_caching(gateway, told(WRITES), provider=passing, hour=False)
    tenant = gateway.tenant()
    assert gateway.chat(tenant, first, models=[second], messages=PLAIN, cache_control=HOUR).status == 200
    assert only_row(tenant).usage == {"input": 5, "cache_write_1h": 20, "output": 12}
    answer, usage = ask(gateway, third, messages=PLAIN, cache_control=HOUR)
    assert usage == {"input": 5, "cache_write": 20, "output": 12}
    assert NOTE in answer.json["x_komilion"]["adjusted"]


@pytest.mark.parametrize("place", ["beside the totals", "in their details"])
def test_reading_writes_that_are_told_apart(place: str):
    totals = {"prompt_tokens": 25, "completion_tokens": 12}
    raw = {**totals, **APART} if place == "beside the totals" else {**totals, "prompt_tokens_details": APART}
    report = read_usage(raw)
    assert report is not None
    assert report.usage is not None
    assert report.tells_writes_apart
    assert (report.usage.input, report.usage.cache_write, report.usage.cache_write_1h) == (5, 15, 5)
