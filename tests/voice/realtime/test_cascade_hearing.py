"""How fast a conversation's audio is heard, and that nobody else waits for it."""

import asyncio
import base64
import time

import pytest

from komilion.common.audio import pcm
from komilion.common.errors import BadRequest
from tests.komilion.audio.tones import noise
from voice.audio import vad
from voice.realtime.cascade_ears import Began, Ears, Ended
from voice.realtime.cascade_hearing import Pace, hear
from voice.realtime.events import dump

UNHURRIED = Pace(ahead_s=3_600)


def ears() -> Ears:
    vad.load()
    one = Ears()
    one.configure({})
    return one


def frame(samples: pcm.Samples) -> str:
    data = base64.b64encode(pcm.to_bytes(samples)).decode()
    return dump({"type": "input_audio_buffer.append", "audio": data})


async def heard(one: Ears, pace: Pace, text: str) -> list[Began | Ended]:
    return [event async for event in hear(one, pace, text)]


def test_audio_in_real_time_never_waits() -> None:
    pace = Pace(times=8, ahead_s=30)
    assert [pace.wait_s(0.02, now_s=at / 50) for at in range(3_000)] == [0] * 3_000


def test_audio_that_comes_at_once_is_taken_up_to_a_limit_and_then_at_so_many_times_life() -> None:
    pace = Pace(times=8, ahead_s=30)
    assert [pace.wait_s(10, now_s=100) for _ in range(5)] == pytest.approx([0, 0, 0, 1.25, 2.5])
    assert pace.wait_s(8, now_s=102.5) == pytest.approx(1)
    assert pace.wait_s(30, now_s=1_000) == 0, "who was quiet for a while may be ahead again"


def test_who_sends_faster_than_that_waits_until_it_was_heard() -> None:
    one, loud = ears(), frame(noise(2, 24_000, amplitude=0.001))

    async def run() -> float:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await heard(one, Pace(times=10, ahead_s=0.1), loud)
        return loop.time() - began_s

    assert asyncio.run(run()) >= 0.15


def test_finding_speech_takes_no_time_of_the_event_loop() -> None:
    one, minute = ears(), frame(noise(60, 24_000, amplitude=0.001))

    async def run() -> tuple[float, float]:
        on_loop_s, everywhere_s = time.thread_time(), time.process_time()
        await heard(one, UNHURRIED, minute)
        return time.thread_time() - on_loop_s, time.process_time() - everywhere_s

    on_loop_s, everywhere_s = asyncio.run(run())
    assert one.position_ms == pytest.approx(60_000, abs=30)
    assert on_loop_s < everywhere_s / 2


def test_what_is_no_audio_is_refused_whole_or_in_pieces() -> None:
    odd = dump({"type": "input_audio_buffer.append", "audio": base64.b64encode(b"odd").decode()})
    with pytest.raises(BadRequest):
        asyncio.run(heard(ears(), UNHURRIED, odd))


def test_pieces_without_a_sound_leave_nothing_behind() -> None:
    one = ears()
    one.configure({"turn_detection": None})
    for _ in range(1_000):
        one.feed("")
    assert one.position_ms == 0
    with pytest.raises(BadRequest, match="0 ms"):
        one.commit()
