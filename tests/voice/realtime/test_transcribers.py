"""What is written down is paid for at the price of who was told to when it was said."""

import asyncio
from functools import partial
from typing import Any

import pytest

from tests.fakes.realtime import RealtimeScript
from tests.stand import Gateway, Tenant
from tests.voice.realtime.talking import Stand, Talker, eventually_equal, in_thread, talking
from tests.voice.realtime.test_limits import holds_of

DELAY_S = 0.2
SECOND_NANO = {"cheap": 125_000, "dear": 1_250_000}  # with the fee


def scribe(stand: Stand, kind: str, name: str) -> str:
    """A model that transcribes for $0.0001 or $0.001 a second; its id."""
    price = {"cheap": "0.0001", "dear": "0.001"}[kind]
    how = {"kind": "transcription", "input_price": "0", "output_price": "0", "second_price": price}
    stand.gateway.add_model(name, f"acme/{name}", provider=stand.provider, **how)
    stand.gateway.wait_for_catalog()
    return f"acme/{name}"


async def use(talker: Talker, name: str | None) -> None:
    transcription = None if name is None else {"model": name}
    heard = {"turn_detection": None, "transcription": transcription}
    await talker.send("session.update", session={"type": "realtime", "audio": {"input": heard}})


async def say_a_second(talker: Talker) -> None:
    await talker.say(1_000)
    await talker.send("input_audio_buffer.commit")


def test_what_was_said_before_another_model_was_taken_is_charged_at_the_price_of_the_first(
    stand: Stand, alice: Tenant
) -> None:
    usage = {"type": "duration", "seconds": 1.0}
    model = stand.model(RealtimeScript(transcription_usage=usage, delay_s=DELAY_S))
    cheap, dear = scribe(stand, "cheap", "scribe-first"), scribe(stand, "dear", "scribe-second")

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            for name in (cheap, dear, cheap):  # nothing is waited for between them
                await use(talker, name)
                await say_a_second(talker)
            for _ in range(3):
                await talker.until("x_komilion.cost")
            parts = [part for event in talker.of("x_komilion.cost") for part in event["parts"]]
            charged = [(part["model"], part["cost_nano_usd"]) for part in parts]
            first, second = (cheap, SECOND_NANO["cheap"]), (dear, SECOND_NANO["dear"])
            assert charged == [first, second, first]
            await eventually_equal(lambda: len(holds_of(alice)), 2)  # for the next answer, and who writes down now
            await use(talker, None)
            await eventually_equal(lambda: len(holds_of(alice)), 1)
        await eventually_equal(partial(stand.held_nano, alice), 0)

    asyncio.run(converse())


def test_who_leaves_pays_for_each_second_at_the_price_of_who_was_to_write_it_down(
    stand: Stand, alice: Tenant, settings: Any
) -> None:
    settings.REALTIME_CLOSE_TIMEOUT_S = 0.1
    model = stand.model(RealtimeScript(writes_down=False))
    cheap, dear = scribe(stand, "cheap", "scribe-left-first"), scribe(stand, "dear", "scribe-left-second")
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            for name in (cheap, dear, None):
                await use(talker, name)
                await talker.until("session.updated")
                await say_a_second(talker)
                await talker.until("input_audio_buffer.committed")
        await eventually_equal(partial(stand.held_nano, alice), 0)
        assert before - await in_thread(partial(stand.balance_nano, alice)) == sum(SECOND_NANO.values())

    asyncio.run(converse())


def test_a_model_that_is_refused_leaves_the_one_before_at_work(stand: Stand, alice: Tenant) -> None:
    usage = {"type": "duration", "seconds": 1.0}
    model = stand.model(RealtimeScript(transcription_usage=usage, refuses_far_field=True))
    cheap, dear = scribe(stand, "cheap", "scribe-stays"), scribe(stand, "dear", "scribe-refused")

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            await use(talker, cheap)
            heard = {"transcription": {"model": dear}, "noise_reduction": {"type": "far_field"}}
            await talker.send("session.update", session={"type": "realtime", "audio": {"input": heard}})
            await talker.until("error")
            await eventually_equal(lambda: len(holds_of(alice)), 2)
            await say_a_second(talker)
            assert (await talker.until("x_komilion.cost"))["parts"][0]["model"] == cheap

    asyncio.run(converse())


def test_a_small_wallet_may_take_another_model_while_something_is_written_down(stand: Stand, gateway: Gateway) -> None:
    model = stand.model(RealtimeScript(writes_down=False))
    cheap, dear = scribe(stand, "cheap", "scribe-small-first"), scribe(stand, "dear", "scribe-small-second")
    bob = gateway.tenant(credit="0.03")

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            for name in (dear, cheap):
                await use(talker, name)
                await talker.until("session.updated")
                await say_a_second(talker)
                await talker.until("input_audio_buffer.committed")
            assert talker.of("error") == []

    asyncio.run(converse())


@pytest.mark.parametrize("leaves", [False, True])
def test_words_that_are_read_along_with_each_item_are_paid(
    stand: Stand, alice: Tenant, settings: Any, leaves: bool
) -> None:
    settings.REALTIME_CLOSE_TIMEOUT_S = 0.1
    details = {"text_tokens": 4_000, "audio_tokens": 10}
    usage = {"type": "tokens", "input_tokens": 4_010, "output_tokens": 4, "input_token_details": details}
    model = stand.model(RealtimeScript(transcription_usage=usage, writes_down=not leaves))
    name = f"acme/reader-{leaves}"
    prices = {"input_price": "2.50", "audio_input_price": "6.00", "output_price": "10.00"}
    stand.gateway.add_model(name[5:], name, provider=stand.provider, kind="transcription", **prices)
    stand.gateway.wait_for_catalog()
    before = stand.balance_nano(alice)

    async def converse() -> None:
        async with talking(stand, alice.key, model) as talker:
            heard = {"turn_detection": None, "transcription": {"model": name, "prompt": "word" * 4_000}}
            await talker.send("session.update", session={"type": "realtime", "audio": {"input": heard}})
            await talker.until("session.updated")
            await say_a_second(talker)
            await talker.until("input_audio_buffer.committed" if leaves else "x_komilion.cost")
        await eventually_equal(partial(stand.held_nano, alice), 0)
        billed = (4_000 * 2_500 + 10 * 6_000 + 4 * 10_000) * 5 // 4
        paid = before - await in_thread(partial(stand.balance_nano, alice))
        assert paid >= billed if leaves else paid == billed

    asyncio.run(converse())
