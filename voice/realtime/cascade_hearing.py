"""Where and how fast audio is heard: in threads of its own, and not much faster than anybody speaks.

To find speech in a second of audio takes 5 ms of a processor. On the event loop everybody else would wait for that; in
these few threads only those wait who send audio, each with one short piece at a time. Who sends a recording faster than
life waits for its pace (`append` returns late, so that nothing more is read from the socket), and has its share of a
processor, not all of it.
"""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

from voice.realtime.cascade_ears import Began, Ears, Ended
from voice.realtime.events import audio_of

HEARING_THREADS = 1  # of a process: a conversation in real time takes half a percent of it
TIMES_LIFE = 8  # as fast may audio come for as long as it likes: 4 % of the thread
AHEAD_S = 30.0  # of audio that may come at once: what another engine heard is heard again, a bad line catches up
AT_ONCE_CHARS = 12_800  # of base64, 200 ms of PCM16: whole samples; 1 ms of processor time

_threads = ThreadPoolExecutor(HEARING_THREADS, thread_name_prefix="hear")


class Pace:
    """How long somebody waits who sends `times` as fast as life, once `ahead_s` seconds of audio came at once."""

    def __init__(self, times: float = TIMES_LIFE, ahead_s: float = AHEAD_S) -> None:
        self._times = times
        self._slack_s = ahead_s / times
        self._due_s = float("-inf")  # when audio that came at the allowed pace would have come

    def wait_s(self, audio_s: float, now_s: float) -> float:
        """Seconds until more may be taken, after so many seconds of audio."""
        self._due_s = max(self._due_s, now_s - self._slack_s) + audio_s / self._times
        return max(0.0, self._due_s - now_s)


async def hear(ears: Ears, pace: Pace, frame: str) -> AsyncGenerator[Began | Ended]:
    """What an `input_audio_buffer.append` decides, as it is heard. Not twice at once for the same ears.

    Raises `BadRequest` for what is no audio, or too much of it.
    """
    loop = asyncio.get_running_loop()
    audio = await loop.run_in_executor(_threads, audio_of, frame) if len(frame) > AT_ONCE_CHARS else audio_of(frame)
    for start in range(0, len(audio), AT_ONCE_CHARS):
        before_ms = ears.position_ms
        for event in await loop.run_in_executor(_threads, ears.feed, audio[start : start + AT_ONCE_CHARS]):
            yield event
        await asyncio.sleep(pace.wait_s((ears.position_ms - before_ms) / 1000, loop.time()))
