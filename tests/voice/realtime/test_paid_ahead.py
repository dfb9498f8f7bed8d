"""Nothing goes up that is not paid for, and who leaves while the provider works pays for what it was given."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.async_waiting import eventually
from tests.fakes.realtime import RealtimeScript
from tests.stand import Gateway, Tenant
from tests.voice.realtime.talking import Stand, Talker, eventually_equal, in_thread, sound, talking

ANSWER_NANO = 14_196_000
SMALL = {
    "input_tokens": 5,
    "output_tokens": 125,
    "input_token_details": {"text_tokens": 5},
    "output_token_details": {"audio_tokens": 100, "text_tokens": 25},
}
BESIDE = {"conversation": "none"}
CHEAP = {"audio_input_price": "0.01", "audio_output_price": "0.01", "output_price": "0.01"}
TEN_SECONDS = "A" * 640_000  # of silence
NEVER_S = 600


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


def scribe(stand: Stand, name: str) -> str:
    """A model that transcribes for $0.0001 a second; its id."""
    prices = {"input_price": "0", "output_price": "0", "second_price": "0.0001"}
    stand.gateway.add_model(name, f"acme/{name}", provider=stand.provider, kind="transcription", **prices)
    stand.gateway.wait_for_catalog()
    return f"acme/{name}"


async def push_to_talk(talker: Talker, **heard: Any) -> None:
    """Have the client say when a turn is over."""
    config = {"type": "realtime", "audio": {"input": {"turn_detection": None, **heard}}}
    await talker.send("session.update", session=config)
    await talker.until("session.updated")


def test_answers_that_are_asked_for_all_at_once_are_all_held_for_before_they_are_asked_for(
    stand: Stand, gateway: Gateway
) -> None:
    bob = gateway.tenant(credit="0.05")
    model = stand.model(RealtimeScript(usage=SMALL, cancelled_usage=SMALL, audio_ms=60_000, pause_s=0.05))

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            with suppress(ConnectionClosed):
                for _ in range(8):
                    await talker.send("response.create", response=BESIDE)
            assert await talker.until_closed() == 4402
            assert talker.events[-1]["error"]["code"] == "insufficient_balance"
            asked = stand.sessions_of(model)[0].types().count("response.create")
            assert 1 <= asked <= 5  # 5 s of each, $0.00875, and of one that whoever speaks would begin
        left = await in_thread(partial(stand.balance_nano, bob))
        assert left == 50_000_000 - talker.cost_nano() >= 0
        assert await in_thread(partial(stand.held_nano, bob)) == 0

    asyncio.run(converse())


def test_a_context_that_the_wallet_does_not_cover_never_goes_up(stand: Stand, gateway: Gateway) -> None:
    bob = gateway.tenant(credit="0.05")
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            part = {"type": "input_text", "text": "123 " * 10_000}
            item = {"type": "message", "role": "user", "content": [part]}
            await talker.send("conversation.item.create", item=item)
            await talker.send("response.create")
            assert await talker.until_closed() == 4402
            assert not stand.sessions_of(model)[0].received
        assert await in_thread(partial(stand.balance_nano, bob)) == 50_000_000

    asyncio.run(converse())


def test_speech_that_the_wallet_does_not_cover_as_input_never_goes_up(stand: Stand, gateway: Gateway) -> None:
    bob = gateway.tenant(credit="0.03")
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            with suppress(ConnectionClosed):
                for _ in range(12):
                    await talker.send("input_audio_buffer.append", audio=TEN_SECONDS)
            assert await talker.until_closed() == 4402
            assert talker.events[-1]["error"]["code"] == "insufficient_balance"
            heard = stand.sessions_of(model)[0].types().count("input_audio_buffer.append")
            assert 1 <= heard <= 7  # ten seconds as input cost $0.004

    asyncio.run(converse())


def test_a_hold_grows_with_what_is_heard(stand: Stand, alice: Tenant) -> None:
    model = stand.model()

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await push_to_talk(talker)
            for _ in range(30):
                await talker.send("input_audio_buffer.append", audio=TEN_SECONDS)
            await eventually(lambda: len(stand.sessions_of(model)[0].received) == 31)
            assert await in_thread(partial(stand.held_nano, alice)) >= 120_000_000  # 300 s x 10 tokens x $40
        await eventually_equal(partial(stand.held_nano, alice), 0)

    asyncio.run(converse())


def test_what_is_written_down_is_held_for_while_it_is_heard(stand: Stand, gateway: Gateway) -> None:
    bob = gateway.tenant(credit="0.04")
    model = stand.model(RealtimeScript(writes_down=False), **CHEAP)
    name = scribe(stand, "scribe-ahead")

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            await push_to_talk(talker, transcription={"model": name})
            with suppress(ConnectionClosed):  # it may be over while it still sends
                for _ in range(6):  # ten seconds cost $0.00125
                    for _ in range(10):
                        await talker.send("input_audio_buffer.append", audio=TEN_SECONDS)
                    await talker.send("input_audio_buffer.commit")
            assert await talker.until_closed() == 4402
            assert talker.events[-1]["error"]["code"] == "insufficient_balance"
            heard = stand.sessions_of(model)[0].types().count("input_audio_buffer.append")
            assert 20 <= heard <= 31
        assert await in_thread(partial(stand.balance_nano, bob)) == 40_000_000 - talker.cost_nano() >= 0

    asyncio.run(converse())


def test_a_wallet_that_is_held_whole_for_an_answer_has_room_for_a_transcription(stand: Stand, gateway: Gateway) -> None:
    bob = gateway.tenant(credit="0.05")
    usage = {"type": "duration", "seconds": 1}
    model = stand.model(RealtimeScript(usage=SMALL, transcription_usage=usage))
    name = scribe(stand, "scribe-room")

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            assert await in_thread(partial(stand.held_nano, bob)) == 50_000_000
            await push_to_talk(talker, transcription={"model": name})
            for _ in range(2):
                await talker.say(1_000)
                await talker.send("input_audio_buffer.commit")
                await talker.until("x_komilion.cost")
            await talker.answer()
        await eventually_equal(partial(stand.held_nano, bob), 0)
        assert await in_thread(partial(stand.balance_nano, bob)) == 50_000_000 - talker.cost_nano() >= 0

    asyncio.run(converse())


def test_more_answers_than_can_run_at_once_are_refused_and_the_talk_goes_on(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(audio_ms=60_000, pause_s=0.2))
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            for number in range(9):
                await talker.send("response.create", response=BESIDE, event_id=f"ask-{number}")
            error = (await talker.until("error"))["error"]
            assert (error["type"], error["event_id"]) == ("invalid_request_error", "ask-8")
            await talker.until("response.output_audio.delta")
            assert stand.sessions_of(model)[0].types().count("response.create") == 8
        await eventually_equal(partial(stand.held_nano, alice), 0)  # not before the last of them is settled
        assert before - await in_thread(partial(stand.balance_nano, alice)) == 8 * ANSWER_NANO

    asyncio.run(converse())


def test_what_the_provider_refuses_to_answer_is_told_by_the_client_s_own_id_and_free(
    stand: Stand, alice: Tenant
) -> None:
    model = stand.model(RealtimeScript(audio_ms=60_000, pause_s=0.2))
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("response.create")
            await talker.send("response.create", event_id="mine")
            await talker.send("response.create")
            errors = [(await talker.until("error"))["error"] for _ in range(2)]
            assert [error["event_id"] for error in errors] == ["mine", None]
        await eventually_equal(partial(stand.held_nano, alice), 0)
        assert before - await in_thread(partial(stand.balance_nano, alice)) == ANSWER_NANO

    asyncio.run(converse())


def test_who_leaves_before_an_answer_begins_pays_for_its_input(stand: Stand, alice: Tenant, settings: Any) -> None:
    settings.REALTIME_CLOSE_TIMEOUT_S = 0.1
    model = stand.model(RealtimeScript(begins_after_s=NEVER_S))
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            part = {"type": "input_text", "text": "Once upon a time. " * 200}
            item = {"type": "message", "role": "user", "content": [part]}
            await talker.send("conversation.item.create", item=item)
            await talker.until("conversation.item.done")
            await talker.send("response.create")
            await eventually(lambda: "response.create" in stand.sessions_of(model)[0].types())
        await eventually_equal(partial(stand.held_nano, alice), 0)
        paid = before - await in_thread(partial(stand.balance_nano, alice))
        assert 900 <= paid / 5_000 <= 920  # tokens of 4 bytes each, at $4 a million, and the fee

    asyncio.run(converse())


def test_an_answer_that_begins_when_the_client_is_gone_is_cancelled_and_paid_for(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(begins_after_s=0.3, audio_ms=60_000, pause_s=0.05))
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("response.create")
            await eventually(lambda: "response.create" in stand.sessions_of(model)[0].types())
        await eventually_equal(partial(stand.held_nano, alice), 0)
        assert before - await in_thread(partial(stand.balance_nano, alice)) == ANSWER_NANO
        assert stand.sessions_of(model)[0].types() == ["response.create", "response.cancel"]

    asyncio.run(converse())


def test_who_leaves_before_his_words_are_written_down_pays_for_their_seconds(
    stand: Stand, alice: Tenant, settings: Any
) -> None:
    settings.REALTIME_CLOSE_TIMEOUT_S = 0.1
    model = stand.model(RealtimeScript(writes_down=False))
    name = scribe(stand, "scribe-left")
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await push_to_talk(talker, transcription={"model": name})
            for _ in range(2):
                await talker.say(1_000)
                await talker.send("input_audio_buffer.commit")
                await talker.until("input_audio_buffer.committed")
        await eventually_equal(partial(stand.held_nano, alice), 0)
        assert before - await in_thread(partial(stand.balance_nano, alice)) == 250_000  # 2 s x $0.0001, and the fee

    asyncio.run(converse())


def test_more_than_was_said_is_not_paid_for(stand: Stand, alice: Tenant) -> None:
    script = RealtimeScript(transcription_usage={"type": "duration", "seconds": 89_478.4}, begins_after_s=NEVER_S)
    model = stand.model(script)
    name = scribe(stand, "scribe-boasts")

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await push_to_talk(talker, transcription={"model": name})
            await talker.say(1_000)
            await talker.send("input_audio_buffer.commit")
            (part,) = (await talker.until("x_komilion.cost"))["parts"]
            assert (part["model"], part["usage"]) == (name, {"audio_ms": 1_000})

    asyncio.run(converse())


def test_of_detected_speech_its_own_seconds_are_paid_for(stand: Stand, alice: Tenant, settings: Any) -> None:
    settings.REALTIME_CLOSE_TIMEOUT_S = 0.1
    model = stand.model(RealtimeScript(writes_down=False, begins_after_s=NEVER_S))
    name = scribe(stand, "scribe-detected")
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            heard = {"transcription": {"model": name}}
            await talker.send("session.update", session={"type": "realtime", "audio": {"input": heard}})
            await talker.say(5_000, loud=False)
            await talker.say(1_000)
            await talker.say(400, loud=False)
            await talker.until("input_audio_buffer.committed")
        await eventually_equal(partial(stand.held_nano, alice), 0)
        # 0.3 s before, 1 s of speech and 0.3 s after it; an answer that began by itself was not told of
        assert before - await in_thread(partial(stand.balance_nano, alice)) == 200_000

    asyncio.run(converse())


def test_a_provider_that_is_lost_while_the_client_leaves_is_not_paid(stand: Stand, alice: Tenant) -> None:
    model = stand.model(RealtimeScript(begins_after_s=0.3, lost_at="response.created"))
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await talker.send("input_audio_buffer.append", audio=sound(20, loud=False))
            await talker.send("response.create")
            await eventually(lambda: "response.create" in stand.sessions_of(model)[0].types())
        await eventually_equal(partial(stand.held_nano, alice), 0)
        assert before == await in_thread(partial(stand.balance_nano, alice))

    asyncio.run(converse())
