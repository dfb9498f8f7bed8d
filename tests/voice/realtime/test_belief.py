"""What a provider says that an answer cost is believed as far as it can be true: its mistake is nobody's debt."""

import asyncio
from functools import partial
from typing import Any

import pytest

from tests.fakes.realtime import RealtimeScript
from tests.routing.books import only_row
from tests.stand import Gateway
from tests.voice.realtime.talking import Stand, eventually_equal, in_thread, talking

COUNTED = {"input": 5, "output": 3, "output_audio": 40}  # an empty configuration, 12 letters, 2 seconds
# What is said, and what is charged.
ABSURD: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "of sound": ({"output_tokens": 100_000, "output_token_details": {"audio_tokens": 100_000}}, COUNTED),
    "of text": ({"output_tokens": 100_000}, COUNTED),
    "of a conversation that nobody had": (
        {"input_tokens": 900_000, "output_tokens": 43},
        {"input": 2 * 13 + 4_096, "output": 43},  # as much as can be true
    ),
}
SOUND = {"output_token_details": {"audio_tokens": 40}}


def usage(**fields: Any) -> dict[str, Any]:
    return {"input_tokens": 5, **fields}


@pytest.mark.parametrize("kind", ABSURD)
def test_tokens_that_cannot_be_true_are_charged_as_far_as_they_can_be_and_raise_an_alarm(
    stand: Stand, gateway: Gateway, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    said, charged = ABSURD[kind]
    model = stand.model(RealtimeScript(usage=usage(**said), says="Hello there.", audio_ms=2_000))
    bob = gateway.tenant(credit="0.40")

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            cost = await talker.answer()
            assert cost["parts"][0]["usage"] == charged
        await eventually_equal(partial(stand.held_nano, bob), 0)
        row = await in_thread(lambda: only_row(bob))
        assert (row.usage, row.usage_source) == (charged, "estimated")

    asyncio.run(converse())
    alarms = [record for record in caplog.records if getattr(record, "alarm", "") == "impossible_usage"]
    assert [getattr(record, "model", "") for record in alarms] == [model]
    assert gateway.wallet(bob.email)["debt"] == "0.00"


@pytest.mark.parametrize(
    "reported",
    [
        usage(output_tokens=10_040, **SOUND),  # most of it thoughts
        usage(input_tokens=3_000, output_tokens=43, **SOUND),  # instructions of the provider's own
        usage(output_tokens=203, output_token_details={"audio_tokens": 200}),  # sound that was made and cut
    ],
)
def test_what_nobody_sees_of_an_answer_may_be_in_its_cost(
    stand: Stand, gateway: Gateway, reported: dict[str, Any]
) -> None:
    model = stand.model(RealtimeScript(usage=reported, audio_ms=2_000))
    bob = gateway.tenant(credit="5.00")

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            part = (await talker.answer())["parts"][0]["usage"]
            assert sum(part.values()) == reported["input_tokens"] + reported["output_tokens"]

    asyncio.run(converse())


@pytest.mark.parametrize("is_own", [True, False])
def test_an_answer_thinks_no_more_than_its_limit(stand: Stand, gateway: Gateway, is_own: bool) -> None:
    model = stand.model(RealtimeScript(usage=usage(output_tokens=1_040, **SOUND), audio_ms=2_000))
    bob = gateway.tenant(credit="5.00")

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            limit = {"max_output_tokens": 900}
            if not is_own:
                await talker.send("session.update", session={"type": "realtime", **limit})
            await talker.send("response.create", response=limit if is_own else {})
            assert (await talker.until("x_komilion.cost"))["parts"][0]["usage"]["output"] == 3
            await talker.send("response.create", response={"max_output_tokens": "inf"})
            assert (await talker.until("x_komilion.cost"))["parts"][0]["usage"]["output"] == 1_000

    asyncio.run(converse())
