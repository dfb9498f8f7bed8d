"""How much CPU the client's side of a voice session takes for a piece of audio: reading, checking and passing it on."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from routing.gateway.metered import CallFacts
from tests.voice.realtime.talking import sound
from voice.realtime.ends import End
from voice.realtime.session import Opening, Session

FRAMES = 5_000
MOST_US = 30.0  # a conversation sends 50 a second; the sockets on both sides take more than that
FRAME = {"type": "websocket.receive", "text": json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 1_280})}


class Sink:
    """An engine that takes audio and does nothing with it."""

    model = "acme/sink"
    frames = 0

    def __init__(self, session: Session) -> None:
        """It needs nothing of the session."""

    async def open(self) -> None:
        """Nothing."""

    async def start(self) -> None:
        """Nothing."""

    async def ready(self) -> None:
        """Always."""

    async def append(self, raw: str, audio_chars: int) -> None:
        """Count it."""
        Sink.frames += 1

    async def client_event(self, event: dict[str, Any]) -> None:
        """Nothing."""

    async def close(self, end: End) -> None:
        """Nothing."""


@pytest.mark.perf
def test_a_piece_of_audio_takes_few_microseconds_of_the_session() -> None:
    messages: Iterator[dict[str, Any]] = iter([FRAME] * FRAMES + [{"type": "websocket.disconnect", "code": 1000}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(text: str) -> None:
        """Nobody listens."""

    async def converse() -> float:
        opening: Any = Opening(None, None, CallFacts("realtime", "acme/sink"))
        session = Session(None, opening, [Sink])
        await session.open()
        began_s = time.process_time()
        await session.run(receive, send)
        return time.process_time() - began_s

    assert len(sound(20, loud=False)) == 1_280
    took_us = asyncio.run(converse()) / FRAMES * 1e6
    print(f"{took_us:.1f} us")
    assert Sink.frames == FRAMES
    assert took_us < MOST_US
