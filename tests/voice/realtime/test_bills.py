"""The provider never bills more than the wallet is charged, whatever is sent in which order."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.fakes.realtime import RealtimeScript
from tests.stand import Gateway
from tests.voice.realtime.talking import Stand, Talker, eventually_equal, sound, talking

CREDIT = "0.40"
CREDIT_NANO = 400_000_000
DELAY_S = 0.05
BESIDE = {"conversation": "none"}
PCM = {"type": "audio/pcm", "rate": 24_000}
PCMU = {"type": "audio/pcmu"}
LONG = "A long way to go. " * 2_000

type Attack = Callable[[Talker, str], Awaitable[None]]


def silence(seconds: int, bytes_per_s: int = 48_000) -> str:
    """As base64."""
    return base64.b64encode(bytes(seconds * bytes_per_s)).decode()


async def configure(talker: Talker, side: str = "input", **fields: Any) -> None:
    """Change one side of the audio."""
    await talker.send("session.update", session={"type": "realtime", "audio": {side: fields}})


def message(*content: dict[str, Any]) -> dict[str, Any]:
    """Of a user."""
    return {"type": "message", "role": "user", "content": list(content)}


def input_text(text: str) -> dict[str, Any]:
    """A part of it."""
    return {"type": "input_text", "text": text}


async def ask_all(talker: Talker, **wishes: Any) -> None:
    """Have everything that was heard be input of several answers."""
    for _ in range(6):
        await talker.send("response.create", response={**BESIDE, **wishes})
    for _ in range(6):
        await talker.until("x_komilion.cost")


async def clear_races(talker: Talker, scribe: str) -> None:
    """What is appended after a clear is still there when that is confirmed."""
    for _ in range(8):
        await talker.send("input_audio_buffer.clear")
        await talker.send("input_audio_buffer.append", audio=silence(40))
        await talker.until("input_audio_buffer.cleared")
        await talker.send("input_audio_buffer.commit")
    await ask_all(talker)


async def clear_races_a_transcription(talker: Talker, scribe: str) -> None:
    """The same, for what is written down and never waited for."""
    await configure(talker, transcription={"model": scribe})
    for _ in range(5):
        await talker.send("input_audio_buffer.clear")
        await talker.send("input_audio_buffer.append", audio=silence(60))
        await talker.until("input_audio_buffer.cleared")
        await talker.send("input_audio_buffer.commit")
        await talker.until("input_audio_buffer.committed")


async def commits_pipelined(talker: Talker, scribe: str) -> None:
    """Clears and commits without a wait between them."""
    for _ in range(10):
        for kind in ("clear", "append", "clear", "append", "commit"):
            fields = {"audio": silence(15)} if kind == "append" else {}
            await talker.send(f"input_audio_buffer.{kind}", **fields)
    await ask_all(talker)


async def a_conversation_forgotten(talker: Talker, scribe: str) -> None:
    """An answer with an input of its own costs little, which says nothing of the next one."""
    for _ in range(4):
        await talker.send("input_audio_buffer.append", audio=silence(60))
        await talker.send("input_audio_buffer.commit")
    await talker.send("response.create", response={"input": []})
    await talker.until("x_komilion.cost")
    await ask_all(talker)


async def input_format_switched(talker: Talker, scribe: str) -> None:
    """What is appended in one format is committed in another."""
    for _ in range(6):
        await configure(talker, format=PCMU)
        await talker.send("input_audio_buffer.append", audio=silence(100, 8_000))
        await configure(talker, format=PCM)
        await talker.send("input_audio_buffer.commit")
    await ask_all(talker)


async def input_format_switched_before_a_transcription(talker: Talker, scribe: str) -> None:
    """The same, for what is written down and never waited for."""
    await configure(talker, format=PCMU, transcription={"model": scribe})
    await talker.send("input_audio_buffer.append", audio=silence(200, 8_000))
    await configure(talker, format=PCM)
    await talker.send("input_audio_buffer.commit")
    await talker.until("input_audio_buffer.committed")


async def input_format_that_lasts_longer(talker: Talker, scribe: str) -> None:
    """What is appended in one format lasts six times as long in the one in which it is committed."""
    for _ in range(3):
        await configure(talker, format=PCM)
        await talker.send("input_audio_buffer.append", audio=silence(5))
        await configure(talker, format=PCMU)
        await talker.send("input_audio_buffer.append", audio=silence(5, 8_000))
        await configure(talker, format=PCM)
        await talker.send("input_audio_buffer.append", audio=silence(5))
        await configure(talker, format=PCMU)
        await talker.send("input_audio_buffer.commit")
    await ask_all(talker)


async def input_format_that_lasts_longer_before_a_transcription(talker: Talker, scribe: str) -> None:
    """The same, for what is written down and never waited for."""
    await configure(talker, transcription={"model": scribe})
    await talker.send("input_audio_buffer.append", audio=silence(30))
    await configure(talker, format=PCMU)
    await talker.send("input_audio_buffer.commit")
    await talker.until("input_audio_buffer.committed")


async def input_format_that_is_refused(talker: Talker, scribe: str) -> None:
    """What is refused is no format, before that is told as after."""
    await configure(talker, format=PCMU)
    for _ in range(4):
        await configure(talker, format=PCM, noise_reduction={"type": "far_field"})
        await talker.send("input_audio_buffer.append", audio=silence(100, 8_000))
        await talker.until("error")
        await talker.send("input_audio_buffer.append", audio=silence(100, 8_000))
        await talker.send("input_audio_buffer.commit")
    await ask_all(talker)


async def answers_until_the_wallet_is_dry(talker: Talker, scribe: str) -> None:
    """Many at the same time, and again."""
    for _ in range(3):
        await ask_all(talker)


async def output_format_of_answers(talker: Talker, scribe: str) -> None:
    """The same, in a format of their own."""
    for _ in range(3):
        await ask_all(talker, audio={"output": {"format": PCMU}})


async def output_format_of_an_answer_that_is_left(talker: Talker, scribe: str) -> None:
    """Who leaves pays for what was spoken until then."""
    await talker.send("response.create", response={"audio": {"output": {"format": PCMU}}})
    for _ in range(80):
        await talker.until("response.output_audio.delta")


async def output_format_switched_while_it_is_spoken(talker: Talker, scribe: str) -> None:
    """The format of the session changes while an answer runs."""
    await configure(talker, "output", format=PCMU)
    await talker.send("response.create")
    await talker.until("response.output_audio.delta")
    await configure(talker, "output", format=PCM)
    for _ in range(80):
        await talker.until("response.output_audio.delta")


async def errors_that_name_no_event(talker: Talker, scribe: str) -> None:
    """A piece of audio that is none is refused without an id; what was asked for meanwhile runs all the same."""
    for _ in range(3):
        await talker.send("input_audio_buffer.append", audio="A")
        await talker.send("response.create", response={**BESIDE, "instructions": LONG})
    for _ in range(3):
        await talker.until("x_komilion.cost")


async def errors_that_name_no_event_before_one_leaves(talker: Talker, scribe: str) -> None:
    """The same, and nobody waits for the answers."""
    for _ in range(3):
        await talker.send("input_audio_buffer.append", audio="A")
        await talker.send("response.create", response={**BESIDE, "instructions": LONG})
    for _ in range(3):
        await talker.until("error")


async def an_answer_that_begins_by_itself(talker: Talker, scribe: str) -> None:
    """It is long, and begins when a short one is asked for."""
    await configure(talker, turn_detection={"type": "server_vad"})
    await talker.send("conversation.item.create", item=message(input_text(LONG)))
    for _ in range(2):
        for is_loud in (True, False):
            await talker.send("input_audio_buffer.append", audio=sound(600, loud=is_loud))
        await talker.send("response.create", response={"input": [message(input_text("Hi."))]})
        await talker.until("x_komilion.cost")


async def words_beside_the_sound(talker: Talker, scribe: str) -> None:
    """An item has a little sound, and a transcript of a book."""
    spoken = {"type": "output_audio", "audio": "AAAA", "transcript": LONG}
    await talker.send("conversation.item.create", item={"type": "message", "role": "assistant", "content": [spoken]})
    await ask_all(talker)


async def one_item_many_times(talker: Talker, scribe: str) -> None:
    """An answer's own input refers to one item again and again."""
    await talker.send("conversation.item.create", item={"id": "item_long", **message(input_text(LONG))})
    await ask_all(talker, input=[{"type": "item_reference", "id": "item_long"}] * 3)


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        clear_races,
        clear_races_a_transcription,
        commits_pipelined,
        a_conversation_forgotten,
        input_format_switched,
        input_format_switched_before_a_transcription,
        input_format_that_lasts_longer,
        input_format_that_lasts_longer_before_a_transcription,
        input_format_that_is_refused,
        answers_until_the_wallet_is_dry,
        output_format_of_answers,
        output_format_of_an_answer_that_is_left,
        output_format_switched_while_it_is_spoken,
        errors_that_name_no_event,
        errors_that_name_no_event_before_one_leaves,
        an_answer_that_begins_by_itself,
        words_beside_the_sound,
        one_item_many_times,
    )
}


@pytest.fixture(scope="module")
def scribe(stand: Stand) -> str:
    """A model that transcribes for $0.0001 a second; its id."""
    prices = {"input_price": "0", "output_price": "0", "second_price": "0.0001"}
    how = {"provider": stand.provider, "kind": "transcription", **prices}
    stand.gateway.add_model("scribe-bills", "acme/scribe-bills", **how)
    stand.gateway.wait_for_catalog()
    return "acme/scribe-bills"


@pytest.mark.parametrize(
    ("name", "reads_late"),
    [(name, is_late) for name in ATTACKS for is_late in ((False, True) if "input_format" in name else (False,))],
)
def test_the_wallet_pays_what_the_provider_bills_and_never_runs_below_zero(
    stand: Stand, gateway: Gateway, scribe: str, settings: Any, name: str, reads_late: bool
) -> None:
    settings.REALTIME_CLOSE_TIMEOUT_S = DELAY_S / 2  # nobody is told what it cost
    bob = gateway.tenant(credit=CREDIT)
    how: dict[str, Any] = {"bills": True, "refuses_far_field": True, "writes_down": False, "delay_s": DELAY_S}
    how["reads_late"] = reads_late
    script = RealtimeScript(audio_ms=20_000, piece_ms=200, pause_s=0.01, **how)
    model = stand.model(script)

    async def converse() -> None:
        async with talking(stand, bob.key, model) as talker:
            with suppress(ConnectionClosed):
                await configure(talker, turn_detection=None)
                await talker.until("session.updated")
                await ATTACKS[name](talker, scribe)
        await eventually_equal(partial(stand.held_nano, bob), 0)

    asyncio.run(converse())
    paid = CREDIT_NANO - stand.balance_nano(bob)
    billed = sum(session.bill.charged_nano for session in stand.sessions_of(model))
    assert 0 < billed <= paid <= CREDIT_NANO
