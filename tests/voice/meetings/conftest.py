"""A live gateway whose ears and minutes are scripted, and meetings to send to it."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fakes import sounds
from tests.fakes.client import Answer, call
from tests.fakes.replies import Reply
from tests.stand import Gateway, Tenant
from tests.voice.speech.conftest import fake_deepgram, fake_openai, stand
from tests.voice.speech.stand import SpeechStand, form

__all__ = ["fake_deepgram", "fake_openai", "stand"]  # fixtures of this folder too

MEETING = "/api/voice/transcribe-meeting"
JOBS = "/api/voice/jobs"
MINUTES = {
    "summary": "The budget was discussed.",
    "decisions": ["Raise the budget."],
    "actions": [{"task": "Write it down", "owner": "Anna"}],
    "openQuestions": ["Who pays?"],
}


def talk(seconds: float = 2.0) -> bytes:
    """So much sound, in a WAV file."""
    return sounds.wav(sounds.tone(seconds, rate_hz=8_000), rate_hz=8_000)


@dataclass
class Meetings:
    """What a caller can do with meetings."""

    stand: SpeechStand

    @property
    def gateway(self) -> Gateway:
        """Behind everything."""
        return self.stand.gateway

    def send(self, who: Tenant | None, audio: bytes, **fields: Any) -> Answer:
        """A form with the audio."""
        body, content_type = form(fields, {"audio": ("meeting.wav", audio)})
        return self.stand.post(MEETING, who, body, content_type)

    def ask(self, who: Tenant | None, **fields: Any) -> Answer:
        """JSON."""
        return call(self.gateway.url, MEETING, who.key if who else None, fields)

    def job(self, who: Tenant, job_id: str, query: str = "") -> Answer:
        """How far a job is."""
        return call(self.gateway.url, f"{JOBS}/{job_id}{query}", who.key)


@pytest.fixture(scope="module")
def meetings(stand: SpeechStand) -> Meetings:
    """On the live gateway."""
    return Meetings(stand)


@pytest.fixture(scope="module")
def nova(stand: SpeechStand) -> str:
    """Hears hours at once, and who speaks."""
    return stand.add_model("nova-3", capabilities="word_timestamps,diarization")


@pytest.fixture(scope="module")
def whisper(stand: SpeechStand) -> str:
    """Hears ten minutes, and nobody in particular."""
    return stand.add_model("whisper-1", capabilities="word_timestamps")


@pytest.fixture(scope="module")
def writer(stand: SpeechStand) -> str:
    """The model that `neo-mode` takes."""
    return stand.gateway.add_model(Reply(content=json.dumps(MINUTES)), input_price="0.01", output_price="0.02")


@pytest.fixture(scope="module")
def alice(gateway: Gateway) -> Tenant:
    """Somebody with enough money."""
    return gateway.tenant(credit="100.00")


@pytest.fixture(scope="module")
def charlie(gateway: Gateway) -> Tenant:
    """A stranger."""
    return gateway.tenant()
