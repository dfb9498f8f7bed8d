"""A round trip with no key and no network: this machine speaks a text, and hears what it said."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import srt as srt_reader

from tests.fakes.client import call
from tests.routing.books import usage_rows
from tests.stand import Gateway
from tests.voice.speech.stand import SpeechStand
from tests.voice.spoken import needs_espeak
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
START_S = 120
TEXT = "The quick brown fox jumps over the lazy dog. We will meet again on Monday morning."


@pytest.fixture(scope="module")
def local_models() -> Iterator[str]:
    """The address of a server of the local models."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "manage.py", "local_models", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, "the server of the local models ended"
        try:
            return call(url, "/v1/models").status == 200
        except OSError:
            return False

    try:
        wait_until(answers, START_S, "the local models")
        yield f"{url}/v1"
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.slow
@needs_espeak
@pytest.mark.timeout(300)
def test_what_is_spoken_here_is_understood_here(stand: SpeechStand, gateway: Gateway, local_models: str) -> None:
    gateway.manage("provider", "add", "here", "--base-url", local_models, "--api-key", "local")
    mouth = stand.add_model("espeak", kind="speech", provider="here")
    ear = stand.add_model("whisper-tiny.en", provider="here", capabilities="word_timestamps")
    bob = gateway.tenant(credit="1.00")
    spoken = stand.post("/api/deepgram/tts", bob, {"text": TEXT, "model": mouth})
    assert spoken.status == 200, spoken.body
    assert spoken.headers["content-type"] == "audio/wav"
    heard = stand.transcribe(bob, spoken.body, model=ear, response_format="srt")
    assert heard.status == 200, heard.body
    words = " ".join(cue.content for cue in srt_reader.parse(heard.body.decode())).lower()
    assert "over the lazy dog" in words  # a fox is beyond the smallest of models
    assert "monday morning" in words
    again = stand.post(f"/api/deepgram/stt?model={ear}", bob, spoken.body, "audio/wav").json
    assert again["results"]["channels"][0]["alternatives"][0]["words"]
    charged = sum(row.charge_nano for row in usage_rows(bob))
    assert len(usage_rows(bob)) == 3
    left = gateway.wallet(bob.email)["available"]
    assert round(float(left) * 10**9) == 10**9 - charged
