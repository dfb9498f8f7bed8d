"""Requests to speak that make no sense: refused with the name of the field, and nothing is charged."""

from typing import Any

import pytest

from tests.routing.books import only_row
from tests.stand import Tenant
from tests.voice.speech.stand import SpeechStand

SPEECH = "/v1/audio/speech"
TEXT = "Good morning, everybody."


@pytest.fixture(scope="module")
def aura(stand: SpeechStand) -> str:
    return stand.add_model("aura-2", kind="speech")


@pytest.fixture(scope="module")
def tts(stand: SpeechStand) -> str:
    return stand.add_model("tts-1", kind="speech")


class TestRequests:
    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"input": ""}, "input"),
            ({"input": 7}, "input"),
            ({"input": " \u00a0\n\t"}, "input"),
            ({"input": "\u200b\u200d\ufeff\x00"}, "input"),
            ({"input": "x" * 50_001}, "input"),
            ({"voice": {"id": "voice_1"}}, "voice"),
            ({"voice": 7}, "voice"),
            ({"response_format": "midi"}, "response_format"),
            ({"stream_format": "morse"}, "stream_format"),
            ({"speed": 9}, "speed"),
            ({"speed": 1e9}, "speed"),
            ({"speed": "NaN"}, "speed"),
            ({"speed": []}, "speed"),
            ({"speed": "fast"}, "speed"),
            ({"speed": True}, "speed"),
            ({"model": "a\nb"}, "model"),
        ],
    )
    def test_a_field_that_makes_no_sense_is_named(
        self, stand: SpeechStand, alice: Tenant, tts: str, fields: dict[str, Any], param: str
    ) -> None:
        answer = stand.post(SPEECH, alice, {"model": tts, "input": TEXT, "voice": "alloy", **fields})
        assert (answer.status, answer.json["error"]["param"]) == (400, param)

    def test_a_voice_that_deepgram_cannot_have_is_refused(self, stand: SpeechStand, aura: str) -> None:
        bob = stand.gateway.tenant()
        answer = stand.post(SPEECH, bob, {"model": aura, "input": TEXT, "voice": "no such voice"})
        assert (answer.status, answer.json["error"]["param"]) == (400, "voice")
        assert stand.gateway.wallet(bob.email)["available"] == "10.00"

    def test_what_is_null_is_as_if_it_were_not_there(self, stand: SpeechStand, alice: Tenant, tts: str) -> None:
        named = dict.fromkeys(("voice", "response_format", "speed", "instructions", "stream_format", "user"))
        answer = stand.post(SPEECH, alice, {"model": tts, "input": TEXT, **named})
        assert (answer.status, answer.headers["content-type"]) == (200, "audio/mpeg")

    def test_emoji_are_spoken(self, stand: SpeechStand, alice: Tenant, tts: str) -> None:
        """Whoever speaks them may have a name for each."""
        assert stand.post(SPEECH, alice, {"model": tts, "input": "\U0001f600", "voice": "alloy"}).status == 200

    @pytest.mark.parametrize(("voice", "meant"), [("aloy", "alloy"), ("Shimer", "shimmer")])
    def test_a_voice_that_the_provider_refuses_is_compared_with_those_there_are(
        self, stand: SpeechStand, tts: str, voice: str, meant: str
    ) -> None:
        bob = stand.gateway.tenant()
        answer = stand.post(SPEECH, bob, {"model": tts, "input": TEXT, "voice": voice})
        error = answer.json["error"]
        assert (answer.status, error["param"], meant in error["message"]) == (400, "voice", True)
        assert only_row(bob).charge_nano == 0

    def test_an_unknown_model_is_named_as_in_a_chat(self, stand: SpeechStand, alice: Tenant, tts: str) -> None:
        answer = stand.post(SPEECH, alice, {"model": f"{tts}x", "input": TEXT, "voice": "alloy"})
        assert (answer.status, answer.json["error"]["code"]) == (400, "model_not_found")

    def test_a_form_is_no_json(self, stand: SpeechStand, alice: Tenant) -> None:
        assert stand.post(SPEECH, alice, b"a=b", "application/x-www-form-urlencoded").status == 415
