"""The `openai` package's own realtime client, unchanged, against our server."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.exceptions import InvalidStatus

from tests.fakes.realtime import RealtimeScript
from tests.stand import Gateway, Tenant
from tests.voice.realtime.talking import Stand, sound


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


@asynccontextmanager
async def connection(url: str, key: str, model: str) -> AsyncIterator[AsyncRealtimeConnection]:
    """As the package's documentation says."""
    async with (
        AsyncOpenAI(api_key=key, base_url=f"{url}/v1") as client,
        client.realtime.connect(model=model) as connected,
    ):
        yield connected


async def until(connected: AsyncRealtimeConnection, kind: str) -> list[Any]:
    """The events up to the first of that type."""
    events: list[Any] = []
    async with asyncio.timeout(10):
        async for event in connected:
            events.append(event)
            if event.type == kind:
                return events
    raise AssertionError(f"closed before {kind}")


def test_a_text_turn(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(says="I am fine."))

    async def converse() -> None:
        async with connection(stand.gateway.url, alice.key, model) as connected:
            await connected.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            content = [{"type": "input_text", "text": "How are you?"}]
            await connected.conversation.item.create(item={"type": "message", "role": "user", "content": content})
            await connected.response.create()
            events = await until(connected, "response.done")
            text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            assert text == "I am fine."
            assert events[-1].response.usage.output_tokens == 150

    asyncio.run(converse())


def test_an_audio_turn(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(audio_ms=400))

    async def converse() -> None:
        async with connection(stand.gateway.url, alice.key, model) as connected:
            audio: Any = {"input": {"turn_detection": None}, "output": {"voice": "marin"}}
            await connected.session.update(session={"type": "realtime", "audio": audio})
            for _ in range(10):
                await connected.input_audio_buffer.append(audio=sound(20, loud=True))
            await connected.input_audio_buffer.commit()
            await connected.response.create()
            events = await until(connected, "response.done")
            spoken = b"".join(
                base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta"
            )
            assert len(spoken) == 400 * 48
            assert [event.session.audio.output.voice for event in events if event.type == "session.updated"] == [
                "marin"
            ]

    asyncio.run(converse())


def test_a_tool_call(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(call=("weather", '{"city": "Ghent"}'), says="Rain."))

    async def converse() -> None:
        async with connection(stand.gateway.url, alice.key, model) as connected:
            tools: Any = [{"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}]
            await connected.session.update(session={"type": "realtime", "tools": tools})
            await connected.response.create()
            (call,) = (await until(connected, "response.done"))[-1].response.output
            assert (call.type, call.name, call.arguments) == ("function_call", "weather", '{"city": "Ghent"}')
            item: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
            await connected.conversation.item.create(item=item)
            await connected.response.create()
            events = await until(connected, "response.done")
            assert events[-1].response.output[0].content[0].transcript == "Rain."

    asyncio.run(converse())


def test_an_interruption(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(audio_ms=60_000, pause_s=0.01))

    async def converse() -> None:
        async with connection(stand.gateway.url, alice.key, model) as connected:
            await connected.response.create()
            await until(connected, "response.output_audio.delta")
            await connected.input_audio_buffer.append(audio=sound(20, loud=True))
            events = await until(connected, "response.done")
            assert events[-1].response.status == "cancelled"
            await connected.conversation.item.truncate(item_id="item_1", content_index=0, audio_end_ms=40)
            await until(connected, "conversation.item.truncated")

    asyncio.run(converse())


def test_the_cost_of_an_answer_is_an_event_like_any_other(stand: Stand, alice: Tenant) -> None:
    model = stand.model()

    async def converse() -> None:
        async with connection(stand.gateway.url, alice.key, model) as connected:
            await connected.response.create()
            cost = (await until(connected, "x_komilion.cost"))[-1]
            assert (cost.cost_usd, cost.cost_nano_usd) == (0.014196, 14_196_000)

    asyncio.run(converse())


def test_a_wrong_key_is_a_status_of_the_handshake(stand: Stand) -> None:
    async def converse() -> None:
        async with connection(stand.gateway.url, "ck_wrong", "acme/any"):
            raise AssertionError("connected")

    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(converse())
    assert refused.value.response.status_code == 401
