"""Forms that bring no audio, or what makes no sense beside it: refused with a name, and nothing is charged."""

from typing import Any

import pytest

from tests.fakes import sounds
from tests.fakes.client import Answer
from tests.routing.books import usage_rows
from tests.stand import Tenant
from tests.voice.speech.stand import SpeechStand, form

TALK = sounds.wav(sounds.tone(2.0))
URL = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def nova(stand: SpeechStand) -> str:
    return stand.add_model("nova-3", capabilities="word_timestamps,diarization")


@pytest.fixture(scope="module")
def whisper(stand: SpeechStand) -> str:
    return stand.add_model("whisper-1", capabilities="word_timestamps,translation")


class TestBodies:
    def check(self, answer: Answer, status: int, reason: str = "invalid_request", param: str | None = None) -> None:
        assert (answer.status, answer.json["error"]["reason"]) == (status, reason), answer.body
        if param is not None:
            assert answer.json["error"]["param"] == param

    @pytest.mark.parametrize("content_type", ["application/json", "text/plain", "audio/wav"])
    def test_what_is_no_form_is_415(self, stand: SpeechStand, alice: Tenant, content_type: str) -> None:
        self.check(stand.post(URL, alice, b"{}", content_type), 415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"no form at all",
            form({"model": "x"}, {"file": ("a.wav", TALK)})[0][:-40],
            form({"model": "x"}, {"file": ("a.wav", TALK)})[0].replace(b"form-data; name", b"form-data; nome"),
            form({"model": "\x00"}, {"file": ("a.wav", TALK)})[0],
            form({f"f{number}": "x" for number in range(100)}, {"file": ("a.wav", TALK)})[0],
            form({"prompt": "x" * 70_000}, {"file": ("a.wav", TALK)})[0],
            form({"model": ["a", "b"]}, {"file": ("a.wav", TALK)})[0],
        ],
    )
    def test_a_malformed_form_is_400(self, stand: SpeechStand, alice: Tenant, body: bytes) -> None:
        self.check(stand.post(URL, alice, body, "multipart/form-data; boundary=b0undary"), 400)

    def test_a_form_without_a_boundary_is_400(self, stand: SpeechStand, alice: Tenant) -> None:
        self.check(stand.post(URL, alice, b"--x--", "multipart/form-data"), 400)

    def test_a_form_without_a_file_is_400(self, stand: SpeechStand, alice: Tenant, nova: str) -> None:
        body, content_type = form({"model": nova}, {})
        self.check(stand.post(URL, alice, body, content_type), 400, param="file")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("response_format", "yaml"),
            ("timestamp_granularities[]", "letter"),
            ("stream", "perhaps"),
            ("temperature", "2"),
            ("temperature", "nan"),
            ("temperature", "warm"),
            ("model", "a\nb"),
            ("language", "x" * 300),
        ],
    )
    def test_a_field_that_makes_no_sense_is_named(
        self, stand: SpeechStand, alice: Tenant, nova: str, field: str, value: str
    ) -> None:
        self.check(stand.transcribe(alice, TALK, **{"model": nova, field: value}), 400, param=field)

    @pytest.mark.parametrize(
        "fields",
        [
            {"include[]": "logprobs"},
            {"chunking_strategy": "auto"},
            {"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "0.5"},
            {"known_speaker_names[]": ["a", "b"], "known_speaker_references[]": ["data:audio/wav;base64,AA=="]},
        ],
    )
    def test_what_openais_clients_can_say_and_nobody_here_does_is_dropped_and_named(
        self, stand: SpeechStand, alice: Tenant, nova: str, fields: dict[str, Any]
    ) -> None:
        answer = stand.transcribe(alice, TALK, model=nova, **fields)
        assert (answer.status, answer.headers["x-komilion-dropped"]) == (200, ", ".join(fields))

    def test_more_than_25_mib_is_413(self, stand: SpeechStand, alice: Tenant, settings: Any) -> None:
        settings.SPEECH_BODY_LIMIT_BYTES = 2**20
        body, content_type = form({}, {"file": ("a.wav", b"x" * 2**20)})
        self.check(stand.post(URL, alice, body, content_type), 413, "payload_too_large")

    @pytest.mark.parametrize(
        ("data", "status", "reason"),
        [
            (b"", 400, "empty_audio"),
            (b"This is no audio at all." * 50, 415, "unsupported_audio"),
            (b"PK\x03\x04" + bytes(500), 415, "unsupported_audio"),
        ],
    )
    def test_what_is_no_audio_costs_nothing(
        self, stand: SpeechStand, nova: str, data: bytes, status: int, reason: str
    ) -> None:
        bob = stand.gateway.tenant()
        calls = len(stand.deepgram.calls)
        self.check(stand.transcribe(bob, data, model=nova), status, reason)
        assert len(stand.deepgram.calls) == calls
        assert usage_rows(bob) == []

    def test_the_name_of_a_file_is_nobodys_business(self, stand: SpeechStand, alice: Tenant, whisper: str) -> None:
        body, content_type = form({"model": whisper}, {"file": ("../../etc/passwd\x01.exe", TALK)})
        assert stand.post(URL, alice, body, content_type).status == 200

    def test_bad_requests_are_counted_like_any(self, stand: SpeechStand) -> None:
        bob = stand.gateway.tenant()
        left = [
            int(stand.post(URL, bob, b"", "text/plain").headers["x-ratelimit-remaining-requests"]) for _ in range(2)
        ]
        assert left[1] == left[0] - 1
