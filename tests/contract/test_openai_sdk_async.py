"""The asynchronous half of the unmodified `openai` package against a live gateway, many calls at once too."""

import asyncio
from collections.abc import Awaitable, Callable

import openai
import pytest
from openai import AsyncOpenAI

from tests.contract.conftest import Person
from tests.fakes.replies import Reply
from tests.stand import Gateway, Tenant

ASK = [{"role": "user", "content": "What is quantum computing?"}]
AT_ONCE = 40


def run[T](gateway: Gateway, key: str, use: Callable[[AsyncOpenAI], Awaitable[T]]) -> T:
    """What `use` makes of a client that lives in a loop of its own."""

    async def main() -> T:
        async with AsyncOpenAI(api_key=key, base_url=f"{gateway.url}/v1", max_retries=0) as client:
            return await use(client)

    return asyncio.run(main())


def test_models(gateway: Gateway, alice: Tenant):
    model = gateway.add_model()

    async def use(client: AsyncOpenAI) -> tuple[list[str], str]:
        return [row.id async for row in client.models.list()], (await client.models.retrieve(model)).id

    listed, retrieved = run(gateway, alice.key, use)
    assert model in listed
    assert retrieved == model


def test_create_and_stream_say_the_same(gateway: Gateway, alice: Tenant):
    model = gateway.add_model("ok,frames=30")

    async def use(client: AsyncOpenAI) -> tuple[str, str]:
        whole = await client.chat.completions.create(model=model, messages=ASK)
        stream = await client.chat.completions.create(model=model, messages=ASK, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return whole.choices[0].message.content or "", "".join(pieces)

    whole, streamed = run(gateway, alice.key, use)
    assert whole == streamed
    assert len(whole.split()) == 30


def test_stream_helper_and_parse(gateway: Gateway, alice: Tenant):
    model = gateway.add_model("json")

    async def use(client: AsyncOpenAI) -> list[Person | None]:
        async with client.chat.completions.stream(model=model, messages=ASK, response_format=Person) as stream:
            streamed = await stream.get_final_completion()
        parsed = await client.chat.completions.parse(model=model, messages=ASK, response_format=Person)
        return [answer.choices[0].message.parsed for answer in (streamed, parsed)]

    assert run(gateway, alice.key, use) == [Person(name="Ada", age=36)] * 2


def test_tools(gateway: Gateway, alice: Tenant):
    model = gateway.add_model("tools")
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("a", "b")]

    async def use(client: AsyncOpenAI) -> list[str]:
        completion = await client.chat.completions.create(model=model, messages=ASK, tools=tools)
        return [call.function.name for call in completion.choices[0].message.tool_calls or []]

    assert run(gateway, alice.key, use) == ["a", "b"]


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("context-openai", openai.BadRequestError),
    ],
)
def test_errors(gateway: Gateway, alice: Tenant, script: str, kind: type[openai.APIStatusError]):
    model = gateway.add_model(script)

    async def use(client: AsyncOpenAI) -> None:
        await client.chat.completions.create(model=model, messages=ASK)

    with pytest.raises(kind):
        run(gateway, alice.key, use)


@pytest.mark.parametrize("stream", [False, True])
def test_many_at_once_have_ids_of_their_own(gateway: Gateway, alice: Tenant, stream: bool):
    model = gateway.add_model(Reply(before_head_s=0.1))

    async def one(client: AsyncOpenAI, number: int) -> tuple[str, str, str]:
        ask = [{"role": "user", "content": f"call={stream}-{number}"}]
        raw = await client.chat.completions.with_raw_response.create(model=model, messages=ask, stream=stream)
        if stream:
            (body_id,) = {chunk.id async for chunk in raw.parse()}
        else:
            body_id = raw.parse().id
        return body_id, raw.headers["x-request-id"], raw.headers["x-generation-id"]

    async def use(client: AsyncOpenAI) -> list[tuple[str, str, str]]:
        return await asyncio.gather(*(one(client, number) for number in range(AT_ONCE)))

    answers = run(gateway, alice.key, use)
    assert all(body_id == request_id == generation_id for body_id, request_id, generation_id in answers)
    assert len(set(answers)) == AT_ONCE
    assert len({call.call_id for call in gateway.calls_of(model)}) == AT_ONCE
