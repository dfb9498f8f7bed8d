"""Who may open a voice session, in which ways, and how whoever may not is told."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.stand import Gateway, Tenant
from tests.voice.realtime.opening import bearer, refusal
from tests.voice.realtime.talking import Stand, Talker, talking

ANSWER_NANO = 14_196_000


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


@pytest.fixture(scope="module")
def model(stand: Stand) -> str:
    """A model that answers."""
    return stand.model()


def test_without_a_key_it_is_401(stand: Stand, model: str) -> None:
    status, error = asyncio.run(refusal(stand, f"/v1/realtime?model={model}"))
    assert (status, error["code"]) == (401, "invalid_api_key")


def test_a_key_that_does_not_exist_is_401(stand: Stand, model: str) -> None:
    headers = bearer("ck_0000")
    assert asyncio.run(refusal(stand, f"/v1/realtime?model={model}", additional_headers=headers))[0] == 401


def test_two_keys_that_differ_are_401(stand: Stand, alice: Tenant, model: str) -> None:
    headers = {**bearer(alice.key), "api-key": "ck_other"}
    assert asyncio.run(refusal(stand, f"/v1/realtime?model={model}", additional_headers=headers))[0] == 401


def test_an_unknown_model_is_400_and_names_the_nearest(stand: Stand, alice: Tenant, model: str) -> None:
    path = f"/v1/realtime?model={model}x"
    status, error = asyncio.run(refusal(stand, path, additional_headers=bearer(alice.key)))
    assert (status, error["code"]) == (400, "model_not_found")
    assert model in error["message"]


def test_no_model_is_400(stand: Stand, alice: Tenant) -> None:
    status, error = asyncio.run(refusal(stand, "/v1/realtime", additional_headers=bearer(alice.key)))
    assert (status, error["param"]) == (400, "model")


def test_an_empty_wallet_is_402_before_anything_reaches_the_provider(stand: Stand, gateway: Gateway) -> None:
    poor = gateway.tenant(credit="0.005")
    model = stand.model()
    path = f"/v1/realtime?model={model}"
    status, error = asyncio.run(refusal(stand, path, additional_headers=bearer(poor.key)))
    assert (status, error["code"]) == (402, "insufficient_balance")
    assert not stand.sessions_of(model)


def test_an_address_where_nothing_is_is_404(stand: Stand) -> None:
    assert asyncio.run(refusal(stand, "/ws/voice/nothing"))[0] == 404


def test_a_session_takes_one_parallel_slot_and_gives_it_back(stand: Stand, gateway: Gateway, model: str) -> None:
    tenant = gateway.tenant(credit="10.00", tier="free")  # 8 at the same time

    async def converse() -> None:
        open_ones = [talking(stand, tenant.key, model) for _ in range(5)]
        for opened in open_ones:
            await opened.__aenter__()
            await asyncio.sleep(0.25)  # no more than 5 a second
        await asyncio.sleep(1)
        more = [talking(stand, tenant.key, model) for _ in range(3)]
        for opened in more:
            await opened.__aenter__()
        path = f"/v1/realtime?model={model}"
        status, error = await refusal(stand, path, additional_headers=bearer(tenant.key))
        assert (status, error["reason"]) == (429, "too_many_parallel_requests")
        await open_ones.pop().__aexit__(None, None, None)
        async with asyncio.timeout(5):
            while True:
                try:
                    async with talking(stand, tenant.key, model):
                        break
                except InvalidStatus:
                    await asyncio.sleep(0.3)
        for opened in (*open_ones, *more):
            await opened.__aexit__(None, None, None)

    asyncio.run(converse())


def test_a_provider_that_cannot_be_reached_is_503_and_holds_nothing(stand: Stand, gateway: Gateway) -> None:
    tenant = gateway.tenant(credit="1.00")
    gateway.add_provider("rt-nowhere", base_url="http://127.0.0.1:9/v1")
    prices = {"audio_input_price": "32", "audio_output_price": "64"}
    model = gateway.add_model("x", "acme/nowhere", provider="rt-nowhere", kind="realtime", **prices)
    gateway.wait_for_catalog()
    path = f"/v1/realtime?model={model}"
    status, error = asyncio.run(refusal(stand, path, additional_headers=bearer(tenant.key)))
    assert (status, error["code"]) == (503, "provider_unavailable")
    assert gateway.wallet(tenant.email)["available"] == "1.00"


def test_a_browser_is_told_by_an_event_since_it_sees_no_status(stand: Stand, model: str) -> None:
    async def converse() -> None:
        path = stand.url(f"/v1/realtime?model={model}")
        async with connect(path, origin="https://example.com", subprotocols=["realtime"]) as socket:
            talker = Talker(socket)
            assert await talker.until_closed() == 4401
            assert talker.events[0]["error"]["code"] == "invalid_api_key"

    asyncio.run(converse())


def test_a_browser_gives_its_key_as_a_sub_protocol(stand: Stand, alice: Tenant, model: str) -> None:
    async def converse() -> None:
        path = stand.url(f"/v1/realtime?model={model}")
        words = ["realtime", f"openai-insecure-api-key.{alice.key}"]
        async with connect(path, origin="https://example.com", subprotocols=words) as socket:
            assert socket.subprotocol == "realtime"
            talker = Talker(socket)
            await talker.until("session.created")
            await talker.answer()

    asyncio.run(converse())
