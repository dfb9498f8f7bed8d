"""How long it takes from the end of speech to the first sound of the answer, and what of that is the relay's.

The provider answers the last frame of speech at once: `speech_stopped`, `committed`, `response.created`, and a frame of
audio. Connected to each other directly, caller and provider show what this loop itself takes.
"""

import asyncio
import json
from time import perf_counter_ns
from typing import override

from bench.voice.wire import DOWN_BYTES, UP_BYTES, ClientPeer, ServerPeer, down_frame, up_frame

FRAME_S = 0.02
FRAMES = 5  # of speech in a turn
PAUSE_S = 0.05  # before the next one, in which the answer is settled
WAIT_S = 10
NS_PER_MS = 1_000_000
USAGE = {"total_tokens": 20, "input_tokens": 10, "output_tokens": 10, "output_token_details": {"audio_tokens": 10}}


class Answerer(ServerPeer):
    """Answers each turn with one frame of sound."""

    def __init__(self) -> None:
        super().__init__(UP_BYTES, self._heard)

    @override
    def on_head(self, head: bytes) -> None:
        super().on_head(head)
        self._say("session.created", session={"type": "realtime", "id": "sess", "model": "m"})

    def _heard(self, number: int) -> None:
        turn, frame = divmod(number, FRAMES)
        if frame == 0:
            self._say("input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_1")
        elif frame == FRAMES - 1:
            response = {"id": f"r{turn:05}", "object": "realtime.response", "conversation_id": "conv_1"}
            self._say("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id="item_1")
            self._say("input_audio_buffer.committed", item_id="item_1", previous_item_id=None)
            self._say("response.created", response={**response, "status": "in_progress"})
            self.write(down_frame(turn, response["id"].encode()))
            self._say("response.done", response={**response, "status": "completed", "output": [], "usage": USAGE})

    def _say(self, kind: str, **fields: object) -> None:
        self.write(json.dumps({"type": kind, "event_id": "e", **fields}).encode())


class Speaker(ClientPeer):
    """Speaks one turn after the other; `took_ns` from the last frame of each to the first sound."""

    def __init__(self) -> None:
        super().__init__(DOWN_BYTES, self._hear)
        self.took_ns: list[int] = []
        self._ended_ns = 0
        self._sound = asyncio.Event()

    @override
    def on_event(self, event: dict[str, object]) -> None:
        if event["type"] == "session.created":
            self.is_open.set_result(None)
        elif event["type"] == "error":
            raise RuntimeError(event)

    def _hear(self, _turn: int) -> None:
        self.took_ns.append(perf_counter_ns() - self._ended_ns)
        self._sound.set()

    async def speak(self, turn: int) -> None:
        """One turn, to the first sound of its answer."""
        self._sound.clear()
        for frame in range(FRAMES):
            await asyncio.sleep(FRAME_S)
            self._ended_ns = perf_counter_ns()
            self.write(up_frame(turn * FRAMES + frame))
        await asyncio.wait_for(self._sound.wait(), WAIT_S)
        await asyncio.sleep(PAUSE_S)


async def first_sounds_ms(port: int, path: str, key: str, turns: int) -> list[float]:
    """So many turns over one connection: milliseconds to the first sound, ascending."""
    _, speaker = await asyncio.get_running_loop().create_connection(Speaker, "127.0.0.1", port)
    speaker.open(path, key)
    await asyncio.wait_for(speaker.is_open, WAIT_S)
    for turn in range(turns):
        await speaker.speak(turn)
    speaker.transport.abort()
    return sorted(ns / NS_PER_MS for ns in speaker.took_ns)
