"""A small file that decodes to hours: a clear error at each door, in bounded time and memory, and nothing charged."""

from functools import cache
from time import monotonic

import psutil
import pytest

from tests.fakes import sounds
from tests.routing.books import usage_rows
from tests.voice.meetings.conftest import Meetings
from tests.voice.meetings.jobs import work
from tests.voice.uploads.sending import files

RATE_HZ = 4_000
MINUTES, HOURS = 10, 7
MOST_S = 60
MOST_BYTES = 200 * 2**20
FRAME = b"\xff\xf8"

pytestmark = pytest.mark.slow


@cache
def bomb() -> bytes:
    """Seven hours of silence, as FLAC: its frames again and again."""
    short = sounds.encoded(bytes(2 * MINUTES * 60 * RATE_HZ), "flac", RATE_HZ, {"frame_size": "16384"})
    start = short.index(FRAME)
    return short[:start] + short[start:] * (HOURS * 60 // MINUTES)


@pytest.fixture(autouse=True)
def bounded():
    """Time and memory of this process, which serves and works."""
    assert len(bomb()) < 2**20
    before, started_s = psutil.Process().memory_info().rss, monotonic()
    yield
    assert monotonic() - started_s < MOST_S
    assert psutil.Process().memory_info().rss - before < MOST_BYTES


def test_a_transcription_is_refused(meetings: Meetings, whisper: str):
    bob = meetings.gateway.tenant()
    answer = meetings.stand.transcribe(bob, bomb(), model=whisper)
    assert (answer.status, answer.json["error"]["code"]) == (400, "audio_too_long")
    assert usage_rows(bob) == []


def test_a_meeting_becomes_a_job_after_ten_minutes_of_it_and_that_fails(meetings: Meetings, whisper: str):
    bob = meetings.gateway.tenant()
    answer = meetings.send(bob, bomb(), model=whisper)
    assert answer.status == 202
    assert work(answer.json["id"])
    job = meetings.job(bob, answer.json["id"]).json
    assert (job["status"], job["error"]["reason"]) == ("failed", "audio_too_long")
    assert usage_rows(bob) == []
    assert not [name for name in files() if name.startswith("tmp")]
