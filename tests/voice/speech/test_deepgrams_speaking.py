"""`/api/deepgram/tts`: WAV by default, voices as models, Deepgram's options in the body or in the query."""

from typing import Any

import pytest

from tests.fakes import sounds
from tests.fakes.deepgram import SECONDS_A_CHARACTER
from tests.fakes.speech_server import SpeechCall
from tests.routing.books import only_row
from tests.stand import Tenant
from tests.voice.speech.stand import SpeechStand

TTS = "/api/deepgram/tts"
TEXT = "Good morning, everybody."


@pytest.fixture(scope="module")
def aura(stand: SpeechStand) -> str:
    return stand.add_model("aura-2", kind="speech")


class TestDeepgramsWay:
    def last(self, stand: SpeechStand) -> SpeechCall:
        return stand.deepgram.calls[-1]

    def test_wav_is_the_usual_form(self, stand: SpeechStand, aura: str) -> None:
        bob = stand.gateway.tenant()
        answer = stand.post(TTS, bob, {"text": TEXT, "model": aura})
        assert answer.headers["content-type"] == "audio/wav"
        assert sounds.seconds_of_wav(answer.body) == pytest.approx(len(TEXT) * SECONDS_A_CHARACTER, abs=0.01)
        assert only_row(bob).endpoint == "deepgram.tts"

    @pytest.mark.parametrize("name", ["aura-2-thalia-en", "deepgram/aura-2-thalia-en"])
    def test_a_model_may_be_named_by_its_voice(self, stand: SpeechStand, alice: Tenant, name: str) -> None:
        stand.add_model("aura-2", kind="speech", name="deepgram/aura-2")
        answer = stand.post(TTS, alice, {"text": TEXT, "model": name})
        assert answer.status == 200, answer.body
        assert answer.headers["x-komilion-model"] == "deepgram/aura-2"
        assert self.last(stand).model == "aura-2-thalia-en"

    @pytest.mark.parametrize(
        ("options", "kind"),
        [
            ({"encoding": "mp3"}, "audio/mpeg"),
            ({"encoding": "opus", "container": "ogg"}, "audio/opus"),
            ({"encoding": "linear16", "container": "none", "sample_rate": 24000}, "audio/pcm"),
            ({"encoding": "flac"}, "audio/flac"),
        ],
    )
    def test_encodings_are_deepgrams(
        self, stand: SpeechStand, alice: Tenant, aura: str, options: dict[str, Any], kind: str
    ) -> None:
        answer = stand.post(TTS, alice, {"text": TEXT, "model": aura, **options})
        assert answer.headers["content-type"] == kind
        query = "&".join(f"{name}={value}" for name, value in options.items())
        answer = stand.post(f"{TTS}?model={aura}&{query}", alice, {"text": TEXT})
        assert answer.headers["content-type"] == kind

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"encoding": "mulaw"}, "encoding"),
            ({"encoding": "mp3", "container": "wav"}, "encoding"),
            ({"sample_rate": 8000}, "sample_rate"),
            ({"callback": "https://x.example"}, "callback"),
            ({"callback": [1]}, "callback"),
            ({"mip_opt_out": True}, "mip_opt_out"),
            ({"text": " "}, "text"),
        ],
    )
    def test_what_is_not_offered_is_refused(
        self, stand: SpeechStand, alice: Tenant, aura: str, fields: dict[str, Any], param: str
    ) -> None:
        answer = stand.post(TTS, alice, {"text": TEXT, "model": aura, **fields})
        assert (answer.status, answer.json["error"]["param"]) == (400, param)
