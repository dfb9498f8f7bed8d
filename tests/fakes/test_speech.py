"""The scripted providers of speech refuse what the real ones refuse, in their words, and keep a journal."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes import deepgram, openai_audio, sounds
from tests.fakes.client import Answer, call
from tests.fakes.deepgram import FakeDeepgram
from tests.fakes.openai_audio import FakeOpenAIAudio
from tests.fakes.speech_server import SpeechReply
from tests.voice.speech.stand import form

SAY = "/speak?model=aura-2-thalia-en"
TALK = sounds.wav(sounds.tone(1.0))


@pytest.fixture
def at_deepgram() -> Iterator[FakeDeepgram]:
    with FakeDeepgram() as running:
        yield running


@pytest.fixture
def at_openai() -> Iterator[FakeOpenAIAudio]:
    with FakeOpenAIAudio() as running:
        yield running


def ask_deepgram(fake: FakeDeepgram, path: str, body: Any, content_type: str, scheme: str = "Token") -> Answer:
    headers = {"Content-Type": content_type, "Authorization": f"{scheme} {deepgram.KEY}"}
    return call(fake.url, f"/v1{path}", None, body, headers)


@pytest.mark.parametrize(
    ("path", "body", "content_type", "status", "code"),
    [
        ("/listen?model=nova-3", TALK, "audio/wav", 200, None),
        ("/listen?model=nova-9", TALK, "audio/wav", 400, "Bad Request"),
        ("/listen?model=nova-3&ear=left", TALK, "audio/wav", 400, "INVALID_JSON"),
        ("/listen?model=nova-3", b"no audio", "audio/wav", 400, "Bad Request"),
        ("/listen?model=nova-3", TALK, "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("/listen?model=nova-3", {"url": "https://x.example"}, "application/json", 400, "REMOTE_CONTENT_ERROR"),
        ("/listen?model=nova-3", {"uri": "https://x.example"}, "application/json", 400, "Bad Request"),
        (SAY, {"text": "Hello."}, "application/json", 200, None),
        ("/speak?model=aura-2", {"text": "Hello."}, "application/json", 400, "Bad Request"),
        (SAY, {"text": " "}, "application/json", 400, "Bad Request"),
        (SAY, {"text": "x" * 2_001}, "application/json", 413, "PAYLOAD_TOO_LARGE"),
        (SAY, {"words": "x"}, "application/json", 400, "INVALID_JSON"),
        (SAY, b"{", "application/json", 400, "INVALID_JSON"),
        (f"{SAY}&container=ogg", {"text": "x"}, "application/json", 400, "UNSUPPORTED_AUDIO_FORMAT"),
        (f"{SAY}&encoding=midi", {"text": "x"}, "application/json", 400, "UNSUPPORTED_AUDIO_FORMAT"),
        ("/elsewhere", {}, "application/json", 404, "NOT_FOUND"),
    ],
)
def test_deepgram_takes_what_it_documents(
    at_deepgram: FakeDeepgram, path: str, body: Any, content_type: str, status: int, code: str | None
) -> None:
    answer = ask_deepgram(at_deepgram, path, body, content_type)
    assert answer.status == status, answer.body
    if code is not None:
        said = answer.json
        assert code in {said.get("err_code"), said.get("category")}
        assert said["request_id"]


def test_deepgram_wants_its_own_form_of_credential(at_deepgram: FakeDeepgram) -> None:
    answer = ask_deepgram(at_deepgram, "/listen?model=nova-3", TALK, "audio/wav", scheme="Bearer")
    assert (answer.status, answer.json["err_code"]) == (401, "INVALID_AUTH")
    assert at_deepgram.calls == []


def test_the_journal_says_what_is_billed(at_deepgram: FakeDeepgram) -> None:
    ask_deepgram(at_deepgram, "/listen?model=nova-3&multichannel=true", TALK, "audio/wav")
    spoken = ask_deepgram(at_deepgram, SAY, {"text": "Hello."}, "application/json")
    heard, said = at_deepgram.calls
    assert (heard.seconds, heard.outcome, heard.audio) == (2.0, "completed", TALK)
    assert (said.characters, said.outcome) == (6, "completed")
    assert (spoken.headers["dg-char-count"], spoken.headers["transfer-encoding"]) == ("6", "chunked")


def test_a_script_may_refuse_and_then_answer(at_deepgram: FakeDeepgram) -> None:
    down = SpeechReply(error=(503, deepgram.error_body("BUSY", "x")))
    at_deepgram.script("nova-3", SpeechReply(turns=(down, SpeechReply())))
    statuses = [ask_deepgram(at_deepgram, "/listen?model=nova-3", TALK, "audio/wav").status for _ in range(3)]
    assert statuses == [503, 200, 200]
    assert [each.outcome for each in at_deepgram.calls] == ["refused", "completed", "completed"]


def ask_openai(fake: FakeOpenAIAudio, path: str, body: Any, content_type: str, key: str = openai_audio.KEY) -> Answer:
    return call(fake.url, f"/v1/audio{path}", key, body, {"Content-Type": content_type})


def transcription(name: str = "a.wav", data: bytes = TALK, field: str = "file", **fields: str) -> tuple[bytes, str]:
    return form({"model": "whisper-1", **fields}, {field: (name, data)})


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (transcription(), 200),
        (transcription(response_format="verbose_json"), 200),
        (transcription(response_format="diarized_json"), 400),
        (transcription(model="nobody"), 404),
        (transcription(ear="left"), 400),
        (transcription(temperature="3"), 400),
        (transcription(name="a.txt"), 400),
        (transcription(data=b""), 400),
        (transcription(data=b"no audio"), 400),
        (transcription(field="audio"), 400),
        ((b"{}", "application/json"), 415),
        ((b"--x\r\nbroken", "multipart/form-data; boundary=x"), 400),
    ],
)
def test_openai_takes_forms_as_it_documents_them(
    at_openai: FakeOpenAIAudio, sent: tuple[bytes, str], status: int
) -> None:
    answer = ask_openai(at_openai, "/transcriptions", *sent)
    assert answer.status == status, answer.body
    if status != 200:
        assert answer.json["error"]["message"]


def test_a_translation_takes_fewer_fields(at_openai: FakeOpenAIAudio) -> None:
    assert ask_openai(at_openai, "/translations", *transcription(language="sv")).status == 400


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, 200),
        ({"model": "nobody"}, 404),
        ({"input": ""}, 400),
        ({"input": "x" * 4_097}, 400),
        ({"voice": "thalia"}, 400),
        ({"speed": 5}, 400),
        ({"response_format": "midi"}, 400),
        ({"stream_format": "sse"}, 400),
        ({"mood": "glad"}, 400),
    ],
)
def test_openai_speaks_as_it_documents(at_openai: FakeOpenAIAudio, more: dict[str, Any], status: int) -> None:
    body = {"model": "tts-1", "input": "Hello.", "voice": "alloy", **more}
    assert ask_openai(at_openai, "/speech", body, "application/json").status == status


def test_openai_wants_a_key(at_openai: FakeOpenAIAudio) -> None:
    assert ask_openai(at_openai, "/transcriptions", *transcription(), key="sk-other").status == 401
    assert ask_openai(at_openai, "/elsewhere", b"{}", "application/json").status == 404


@pytest.mark.parametrize("kind", ["mp3", "opus", "flac", "aac"])
def test_sounds_are_what_they_are_called(kind: str) -> None:
    from komilion.common.audio.decode import probe

    facts, length_ms = probe(sounds.encoded(sounds.tone(1.0), kind))
    assert facts.codec.startswith(kind)
    assert length_ms == pytest.approx(1_000, abs=100)
