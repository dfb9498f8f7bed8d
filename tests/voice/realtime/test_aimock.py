"""The `openai` package's realtime client against our server, with a provider behind it that nobody here wrote."""

import asyncio
from typing import Any

import pytest

from tests.stand import Gateway
from tests.voice.realtime.talking import PRICES
from tests.voice.realtime.test_openai_client import connection, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(gateway: Gateway, aimock_url: str) -> str:
    """A realtime model at aimock."""
    gateway.add_provider("aimock", base_url=aimock_url)
    name = gateway.add_model("gpt-realtime", "acme/mocked", provider="aimock", kind="realtime", **PRICES)
    gateway.wait_for_catalog()
    return name


def said(text: str) -> Any:
    """An item of the user."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def test_a_text_turn(gateway: Gateway, model: str) -> None:
    alice = gateway.tenant(credit="5.00")

    async def converse() -> None:
        async with connection(gateway.url, alice.key, model) as connected:
            await connected.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            await connected.conversation.item.create(item=said("How are you?"))
            await connected.response.create()
            events = await until(connected, "response.done")
            text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            assert text == "I am fine, thank you."

    asyncio.run(converse())


def test_a_tool_call_and_its_answer(gateway: Gateway, model: str) -> None:
    alice = gateway.tenant(credit="5.00")

    async def converse() -> None:
        async with connection(gateway.url, alice.key, model) as connected:
            tools: Any = [{"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}]
            await connected.session.update(session={"type": "realtime", "tools": tools})
            await connected.conversation.item.create(item=said("What is the weather in Ghent?"))
            await connected.response.create()
            calls = (await until(connected, "response.done"))[-1].response.output
            assert [(call.type, call.name) for call in calls] == [("function_call", "weather")]
            output: Any = {"type": "function_call_output", "call_id": calls[0].call_id, "output": "rain"}
            await connected.conversation.item.create(item=output)
            await connected.response.create()
            events = await until(connected, "response.done")
            text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            assert text == "It rains in Ghent."

    asyncio.run(converse())
