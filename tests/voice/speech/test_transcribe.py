"""Speech into text over HTTP: shapes, bills, refusals, failover; the providers are scripted."""

import pytest

from tests.fakes import sounds
from tests.fakes.speech_server import SpeechReply
from tests.routing.books import only_row
from tests.voice.speech.conftest import MS_PRICE_NANO, SpeechStand

TALK = sounds.wav(sounds.tone(2.0))
TEXT = SpeechReply().text
STT = "/api/deepgram/stt"


def charge_of(cost_nano: int) -> int:
    """With our fee."""
    return cost_nano + -(-cost_nano // 4)


def nano_of(usd: str) -> int:
    whole, _, fraction = usd.partition(".")
    return int(whole) * 10**9 + int(f"{fraction:0<9}")


@pytest.fixture(scope="module")
def nova(stand: SpeechStand) -> str:
    return stand.add_model("nova-3", capabilities="word_timestamps,diarization")


@pytest.fixture(scope="module")
def whisper(stand: SpeechStand) -> str:
    return stand.add_model("whisper-1", capabilities="word_timestamps,translation")


class TestShapes:
    def test_json_has_the_text_and_the_bill(self, stand: SpeechStand, nova: str) -> None:
        bob = stand.gateway.tenant()
        answer = stand.transcribe(bob, TALK, model=nova)
        assert answer.status == 200, answer.body
        charge = charge_of(2_000 * MS_PRICE_NANO)
        assert answer.json["text"] == TEXT
        assert answer.json["usage"] == {
            "type": "duration",
            "seconds": 2.0,
            "cost": charge / 10**9,
            "cost_nano_usd": charge,
        }
        note = answer.json["x_komilion"]
        assert (note["model"], note["provider"], note["settlement"]) == (nova, "fake-deepgram", "settled")
        assert answer.headers["x-komilion-model"] == nova
        assert nano_of(answer.headers["x-komilion-cost"]) == charge
        row = only_row(bob)
        assert (row.endpoint, row.model, row.charge_nano) == ("audio.transcriptions", nova, charge)
        assert row.usage == {"audio_ms": 2_000}
