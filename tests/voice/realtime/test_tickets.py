"""Tickets and client secrets: what they say, what they open, once, and what their holder is not told."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.fakes.client import call
from tests.fakes.realtime import RealtimeScript
from tests.routing.test_session_tokens import token_of
from tests.stand import Gateway, Tenant
from tests.voice.realtime.opening import bearer, refusal
from tests.voice.realtime.talking import Stand, Talker, eventually_equal

ANSWER_NANO = 14_196_000


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


@pytest.fixture(scope="module")
def model(stand: Stand) -> str:
    """A model that answers."""
    return stand.model()


def ticket(stand: Stand, tenant: Tenant, **body: Any) -> Any:
    """The answer of `POST /api/voice/realtime`."""
    return call(stand.gateway.url, "/api/voice/realtime", tenant.key, body)


def socket_of(stand: Stand, url: str) -> str:
    """The URL of a ticket, at the server of the test."""
    return stand.url(url[url.index("/ws/") :])


def test_a_ticket_that_would_fill_redis_is_refused(stand: Stand, alice: Tenant, model: str) -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "description": "x" * 300_000}}
    answer = ticket(stand, alice, policy="premium", tools=[tool])
    assert (answer.status, answer.json["error"]["reason"]) == (413, "payload_too_large")


def test_a_ticket_opens_one_session_with_what_was_asked_for(stand: Stand, alice: Tenant, model: str) -> None:
    answer = ticket(stand, alice, voice="marin", instructions="Be brief.", policy="premium")
    assert answer.status == 200
    session = answer.json

    async def converse() -> None:
        async with connect(socket_of(stand, session["url"])) as socket:
            talker = Talker(socket)
            created = await talker.until("session.created")
            assert created["session"]["audio"]["output"]["voice"] == "marin"
            assert created["session"]["instructions"] == "Be brief."
            await talker.send("session.update", session=session["sessionConfig"])
            await talker.until("session.updated")
            await talker.answer()
        status, _ = await refusal(stand, session["url"][session["url"].index("/ws/") :])
        assert status == 401

    asyncio.run(converse())


def test_a_policy_s_next_model_answers_where_its_first_cannot_be_reached(stand: Stand, alice: Tenant) -> None:
    best = stand.model(RealtimeScript(refuses_connections=99), audio_output_price="999")
    session = ticket(stand, alice, policy="premium").json
    assert session["model"] == best

    async def converse() -> None:
        async with connect(socket_of(stand, session["url"])) as socket:
            talker = Talker(socket)
            created = await talker.until("session.created")
            assert created["session"]["model"] != best
            cost = await talker.answer()
            assert cost["parts"][0]["model"] == created["session"]["model"]

    asyncio.run(converse())


@pytest.mark.parametrize(
    ("wish", "is_told"), [({}, False), ({"showBalance": False}, False), ({"showBalance": True}, True)]
)
def test_whoever_holds_a_ticket_is_told_the_cost_and_the_balance_where_the_ticket_says_so(
    stand: Stand, gateway: Gateway, model: str, wish: dict[str, bool], is_told: bool
) -> None:
    bob = gateway.tenant(credit="0.20")
    url = ticket(stand, bob, policy="balanced", **wish).json["url"]

    async def converse() -> None:
        async with connect(socket_of(stand, url)) as socket:
            talker = Talker(socket)
            with suppress(ConnectionClosed):
                while True:
                    await talker.answer()
            assert (talker.close_code or await talker.until_closed()) == 4402
        costs, (warning,) = talker.of("x_komilion.cost"), talker.of("x_komilion.low_balance")
        assert costs
        assert {"balance_usd" in event for event in costs} == {is_told}
        assert warning["percent_left"] == 20
        assert ("balance_usd" in warning) is is_told
        assert talker.cost_nano() == costs[-1]["session_cost_nano_usd"]
        assert "$" not in talker.events[-1]["error"]["message"]

    asyncio.run(converse())


def test_whoever_is_refused_with_a_ticket_is_not_told_what_the_wallet_has(stand: Stand, gateway: Gateway) -> None:
    bob = gateway.tenant(credit="0.005")
    model = stand.model()
    headers, path = secret_for(stand, bob, model), f"/v1/realtime?model={model}"
    _, error = asyncio.run(refusal(stand, path, additional_headers=headers))
    assert error["code"] == "insufficient_balance"
    assert "$" not in error["message"]
    _, error = asyncio.run(refusal(stand, path, additional_headers=bearer(bob.key)))
    assert "$0.005" in error["message"]


def test_a_ticket_says_what_it_is_for(stand: Stand, alice: Tenant, model: str) -> None:
    session = ticket(stand, alice).json
    assert set(session) == {
        *("url", "token", "expiresAt", "sessionConfig", "model", "audioFormat", "maxSeconds"),
        *("estimatedCostPerMinute", "estimatedCostPerMinuteNanoUsd"),
    }
    assert session["url"].startswith("ws://")
    assert session["url"].endswith(f"/ws/voice/realtime?token={session['token']}")
    assert session["audioFormat"] == {"encoding": "pcm16", "sampleRate": 24_000, "channels": 1}
    assert session["maxSeconds"] == 3_600
    assert 0 < session["estimatedCostPerMinuteNanoUsd"] < 500_000_000


def test_a_ticket_has_what_is_said_written_down_where_the_provider_can_and_tells_what_that_costs(
    stand: Stand, alice: Tenant
) -> None:
    stand.model()
    plain = ticket(stand, alice).json
    assert "transcription" not in plain["sessionConfig"]["audio"]["input"]
    for name, price in (("dear-scribe", "0.0002"), ("cheap-scribe", "0.0001")):
        prices = {"input_price": "0", "output_price": "0", "second_price": price}
        stand.gateway.add_model(name, f"acme/{name}", provider=stand.provider, kind="transcription", **prices)
    stand.gateway.wait_for_catalog()
    session = ticket(stand, alice).json
    assert session["sessionConfig"]["audio"]["input"]["transcription"] == {"model": "acme/cheap-scribe"}
    added = session["estimatedCostPerMinuteNanoUsd"] - plain["estimatedCostPerMinuteNanoUsd"]
    assert 1_000_000 < added < 60 * 125_000  # some of a minute's seconds

    async def converse() -> None:
        async with connect(socket_of(stand, session["url"])) as socket:
            talker = Talker(socket)
            await talker.until("session.created")
            await talker.send("session.update", session=session["sessionConfig"])
            await talker.until("session.updated")
            await talker.say(200)
            await talker.say(400, loud=False)
            written = await talker.until("conversation.item.input_audio_transcription.completed")
            assert written["transcript"] == "What the caller said."

    asyncio.run(converse())


def test_the_token_of_a_ticket_also_opens_the_session_as_a_bearer(stand: Stand, alice: Tenant, model: str) -> None:
    token = ticket(stand, alice).json["token"]

    async def converse() -> None:
        async with connect(stand.url("/ws/voice/realtime"), additional_headers=bearer(token)) as socket:
            await Talker(socket).until("session.created")

    asyncio.run(converse())


def test_a_ticket_dies_with_the_key_that_made_it(stand: Stand, gateway: Gateway, model: str) -> None:
    from tests.voice.realtime.test_faults import revoke

    tenant = gateway.tenant(credit="5.00")
    url = ticket(stand, tenant).json["url"]
    revoke(tenant)
    assert asyncio.run(refusal(stand, url[url.index("/ws/") :]))[0] == 401


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"policy": "cheap"}, "policy"),
        ({"voice": "elvis"}, "voice"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
        ({"temperature": 1}, "temperature"),
    ],
)
def test_a_ticket_for_what_is_not_there_is_400(
    stand: Stand, alice: Tenant, model: str, body: dict[str, Any], param: str
) -> None:
    answer = ticket(stand, alice, **body)
    assert answer.status == 400
    assert answer.json["error"]["param"] == param


def test_a_client_secret_opens_one_session(stand: Stand, alice: Tenant, model: str) -> None:
    body = {"session": {"type": "realtime", "model": model, "instructions": "Be brief."}}
    answer = call(stand.gateway.url, "/v1/realtime/client_secrets", alice.key, body)
    assert answer.status == 200
    secret = answer.json
    assert secret["value"].startswith("ek_")
    assert secret["session"]["model"] == model

    async def converse() -> None:
        words = ["realtime", f"openai-insecure-api-key.{secret['value']}"]
        async with connect(stand.url(f"/v1/realtime?model={model}"), subprotocols=words) as socket:
            created = await Talker(socket).until("session.created")
            assert created["session"]["instructions"] == "Be brief."

    asyncio.run(converse())


def secret_for(stand: Stand, tenant: Tenant, model: str) -> dict[str, str]:
    """The header of a client secret that opens one session at a model."""
    body = {"session": {"type": "realtime", "model": model}}
    return bearer(call(stand.gateway.url, "/v1/realtime/client_secrets", tenant.key, body).json["value"])


def recredit(tenant: Tenant, amount_nano: int) -> None:
    """As an operator would."""
    from billing.actions.corrections import Correction, do_correct
    from tests.voice.realtime.test_faults import key_of

    organization_id = key_of(tenant).organization_id
    do_correct(Correction(f"recredit-{tenant.email}", "recredit", organization_id, amount_nano, "test"), actor="test")


def test_a_token_is_not_used_up_by_a_session_that_could_not_be_opened(stand: Stand, gateway: Gateway) -> None:
    tenant = gateway.tenant(credit="0.005")
    model = stand.model(RealtimeScript(refuses_connections=1))
    headers, path = secret_for(stand, tenant, model), f"/v1/realtime?model={model}"
    assert asyncio.run(refusal(stand, path, additional_headers=headers))[0] == 402
    recredit(tenant, 5_000_000_000)
    assert asyncio.run(refusal(stand, path, additional_headers=headers))[0] == 503

    async def converse() -> None:
        async with connect(stand.url(path), additional_headers=headers) as socket:
            await Talker(socket).until("session.created")
        assert (await refusal(stand, path, additional_headers=headers))[0] == 401

    asyncio.run(converse())


def test_of_those_who_use_a_token_at_the_same_time_one_gets_a_session(stand: Stand, gateway: Gateway) -> None:
    tenant = gateway.tenant(credit="5.00")
    model = stand.model()
    headers, path = secret_for(stand, tenant, model), f"/v1/realtime?model={model}"

    async def attempt() -> int:
        try:
            async with connect(stand.url(path), additional_headers=headers) as socket:
                await Talker(socket).until("session.created")
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    async def converse() -> None:
        outcomes = await asyncio.gather(*(attempt() for _ in range(4)))
        assert sorted(outcomes) == [101, 401, 401, 401]
        await eventually_equal(partial(stand.held_nano, tenant), 0)

    asyncio.run(converse())


@pytest.mark.parametrize(
    "body",
    [
        {"session": {"type": "realtime"}},
        {"session": {"type": "transcription", "model": "whisper-1"}},
        {"session": {"type": "realtime", "model": "acme/talker-1"}, "expires_after": {"seconds": 5}},
        {"session": {"type": "realtime", "model": "acme/talker-1"}, "more": 1},
    ],
)
def test_a_client_secret_for_nonsense_is_400(stand: Stand, alice: Tenant, body: dict[str, Any]) -> None:
    assert call(stand.gateway.url, "/v1/realtime/client_secrets", alice.key, body).status == 400


def test_a_page_of_ours_makes_a_ticket_for_the_person_who_looks_at_it(stand: Stand, gateway: Gateway) -> None:
    stand.model()
    erin = gateway.tenant(credit="5.00")
    answer = call(stand.gateway.url, "/api/voice/realtime", token_of(erin.email), {})
    assert answer.status == 200

    async def converse() -> None:
        async with connect(socket_of(stand, answer.json["url"])) as socket:
            talker = Talker(socket)
            await talker.until("session.created")
            cost = await talker.answer()
            assert cost["cost_nano_usd"] > 0
            assert cost["balance_nano_usd"] == 5_000_000_000 - cost["cost_nano_usd"]

    asyncio.run(converse())
