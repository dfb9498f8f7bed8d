"""Text into speech over HTTP: formats, long texts, bills, failures, clients who leave; the providers are scripted."""

import pytest

from tests.fakes import sounds
from tests.routing.books import only_row
from tests.voice.speech.conftest import SpeechStand

SPEECH = "/v1/audio/speech"


@pytest.fixture(scope="module")
def aura(stand: SpeechStand) -> str:
    return stand.add_model("aura-2", kind="speech")


def test_speech_streams_and_characters_are_charged(stand: SpeechStand, aura: str) -> None:
    bob = stand.gateway.tenant()
    answer = stand.post(
        SPEECH, bob, {"model": aura, "input": "Hello there.", "voice": "alloy", "response_format": "wav"}
    )
    assert answer.status == 200, answer.body
    assert sounds.seconds_of_wav(answer.body) == pytest.approx(12 * 0.03)
    assert only_row(bob).usage == {"characters": 12}


def test_long(stand: SpeechStand, aura: str) -> None:
    bob = stand.gateway.tenant()
    text = "This is one sentence of many. " * 200
    answer = stand.post(SPEECH, bob, {"model": aura, "input": text, "voice": "alloy", "response_format": "mp3"})
    assert answer.status == 200, answer.body
    print(only_row(bob).usage, len(text), len(answer.body), only_row(bob).detail)
