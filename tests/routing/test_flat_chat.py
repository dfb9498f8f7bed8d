"""`POST /api/chat`: flat JSON in, flat JSON out, the same call in between."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.fakes.client import PROMPT, Answer, call
from tests.fakes.journal import Tokens
from tests.fakes.replies import Reply
from tests.routing.answers import assert_error
from tests.routing.books import assert_in_order, charge_of, only_row
from tests.stand import Gateway, Tenant

PATH = "/api/chat"
CHARGE = charge_of(Tokens(25, 12))


def ask(gateway: Gateway, tenant: Tenant, headers: dict[str, str] | None = None, **body: Any) -> Answer:
    return call(gateway.url, PATH, tenant.key, body, headers)


def test_a_message_gets_a_reply_and_its_bill(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    answer = ask(gateway, tenant, model=model, message="What is quantum computing?")
    assert answer.status == 200
    assert list(answer.json) == ["reply", "model", "provider", "cost", "cost_nano_usd", "usage", "id"]
    assert answer.json["reply"].startswith("Quantum computing uses")
    assert (answer.json["model"], answer.json["provider"]) == (model, "up")
    assert answer.json["usage"]["completion_tokens"] == 12
    assert "cost" not in answer.json["usage"]
    exact = json.loads(answer.body, parse_float=Decimal)
    assert exact["cost"] * 10**9 == exact["cost_nano_usd"] == CHARGE
    assert "E" not in str(exact["cost"])
    assert answer.json["id"] == answer.headers["x-request-id"]
    assert answer.headers["x-komilion-model"] == model
    row = only_row(tenant)
    assert (row.endpoint, row.request_id, row.streamed) == ("chat", answer.json["id"], False)
    (sent,) = gateway.calls_of(model)
    assert sent.body["messages"] == PROMPT
    assert_in_order(gateway, tenant, CHARGE)


@pytest.mark.parametrize("said", [{"message": "hi"}, {"messages": [{"role": "user", "content": "hi"}]}])
def test_everything_it_takes_reaches_the_provider(gateway: Gateway, said: dict):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    ask(gateway, tenant, model=model, system="Be brief.", temperature=0.5, max_tokens=77, stream=False, **said)
    (sent,) = gateway.calls_of(model)
    assert sent.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    assert (sent.body["temperature"], sent.body["max_tokens"]) == (0.5, 77)


def test_what_it_does_not_take_is_dropped_and_named(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    answer = ask(gateway, tenant, model=model, message="hi", conversation_id="c-1", n=3)
    assert answer.json["adjusted"] == [
        {"param": "conversation_id", "action": "dropped"},
        {"param": "n", "action": "dropped"},
    ]
    (sent,) = gateway.calls_of(model)
    assert "n" not in sent.body


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"message": "hi", "stream": True}, "stream"),
        ({}, "message"),
        ({"message": "hi", "messages": PROMPT}, "message"),
        ({"message": 5}, "message"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"message": "hi", "system": ["be brief"]}, "system"),
        ({"message": "hi", "temperature": "warm"}, "temperature"),
        ({"message": "hi", "model": None}, "model"),
    ],
)
def test_a_bad_request_names_the_field(gateway: Gateway, alice: Tenant, model: str, body: dict, param: str):
    answer = ask(gateway, alice, **{"model": model, **body})
    assert_error(answer, PATH, 400, "invalid_request_error", "invalid_request")
    assert answer.json["error"]["param"] == param


def test_a_refusal_is_the_reply(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply(refusal="I cannot say."))
    assert ask(gateway, tenant, model=model, message="hi").json["reply"] == "I cannot say."


def test_nothing_said_is_an_empty_reply(gateway: Gateway):
    body = {"choices": [{"message": {"role": "assistant", "content": None}, "finish_reason": "length"}]}
    usage = {"prompt_tokens": 5, "completion_tokens": 5}
    model = gateway.add_model(Reply(body=json.dumps({**body, "usage": usage}).encode()))
    assert ask(gateway, gateway.tenant(), model=model, message="hi").json["reply"] == ""


def test_it_is_repeated_by_its_idempotency_key(gateway: Gateway):
    tenant, model = gateway.tenant(), gateway.add_model(Reply())
    first, again = (ask(gateway, tenant, {"Idempotency-Key": "k"}, model=model, message="hi") for _ in range(2))
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true"
    assert_in_order(gateway, tenant, CHARGE)


@pytest.mark.parametrize("path", ["/v1/chat", "/api/v1/chat", "/api/gateway/chat"])
def test_it_is_there_under_api_only(gateway: Gateway, alice: Tenant, path: str):
    assert call(gateway.url, path, alice.key, {"message": "hi"}).status == 404
