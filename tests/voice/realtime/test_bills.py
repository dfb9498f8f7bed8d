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
from tests.voice.realtime.talking import Stand, Talker, eventually_equal, talking

CREDIT = "0.40"
CREDIT_NANO = 400_000_000
DELAY_S = 0.05
BESIDE = {"conversation": "none"}
PCM = {"type": "audio/pcm", "rate": 24_000}
PCMU = {"type": "audio/pcmu"}

type Attack = Callable[[Talker, str], Awaitable[None]]


def silence(seconds: int, bytes_per_s: int = 48_000) -> str:
    """As base64."""
    return base64.b64encode(bytes(seconds * bytes_per_s)).decode()


async def configure(talker: Talker, side: str = "input", **fields: Any) -> None:
    """Change one side of the audio."""
    await talker.send("session.update", session={"type": "realtime", "audio": {side: fields}})


async def ask_all(talker: Talker) -> None:
    """Have everything that was heard be input of several answers."""
    for _ in range(6):
        await talker.send("response.create", response=BESIDE)
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


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack for attack in (clear_races, clear_races_a_transcription, commits_pipelined)
}


@pytest.fixture(scope="module")
def scribe(stand: Stand) -> str:
    """A model that transcribes for $0.0001 a second; its id."""
    prices = {"input_price": "0", "output_price": "0", "second_price": "0.0001"}
    how = {"provider": stand.provider, "kind": "transcription", **prices}
    stand.gateway.add_model("scribe-bills", "acme/scribe-bills", **how)
    stand.gateway.wait_for_catalog()
    return "acme/scribe-bills"


@pytest.mark.parametrize("name", ATTACKS)
def test_the_wallet_pays_what_the_provider_bills_and_never_runs_below_zero(
    stand: Stand, gateway: Gateway, scribe: str, settings: Any, name: str
) -> None:
    settings.REALTIME_CLOSE_TIMEOUT_S = 0.1
    bob = gateway.tenant(credit=CREDIT)
    script = RealtimeScript(bills=True, delay_s=DELAY_S, audio_ms=20_000, piece_ms=200, pause_s=0.01, writes_down=False)
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
