"""Deepgram's dialect of speech: requests, answers, what is billed, errors."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from komilion.common.errors import KomilionError, ProviderError
from komilion.common.usage import Usage
from routing.providers.base import Target
from routing.providers.registry import speech_dialect
from routing.providers.speech import AudioFormat, Listening, Speaking
from tests.voice.speech.answers import deepgram

KEY = "dg-canary-0123456789"
NOVA = Target("https://api.deepgram.test/v1", KEY, "nova-3", frozenset())
AURA = Target("https://api.deepgram.test/v1", KEY, "aura-2", frozenset())
DEEPGRAM = speech_dialect("deepgram")


def query_of(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query, strict_parsing=True)


def heard(answer: Any) -> Any:
    return DEEPGRAM.transcription_answer(orjson.dumps(answer))


def test_audio_goes_up_as_it_is_with_all_else_in_the_query() -> None:
    upload = DEEPGRAM.transcription_request(Listening(), NOVA, "audio/wav")
    audio = b"RIFF..."
    assert upload.url.startswith("https://api.deepgram.test/v1/listen?")
    assert query_of(upload.url) == {
        "model": ["nova-3"],
        "smart_format": ["true"],
        "punctuate": ["true"],
        "utterances": ["true"],
        "detect_language": ["true"],
    }
    assert upload.headers["Authorization"] == f"Token {KEY}"
    assert upload.headers["Content-Type"] == "audio/wav"
    assert upload.parts(audio) == (audio,)
    assert upload.parts(audio)[0] is audio


def test_options_become_parameters_and_what_has_no_parameter_is_named() -> None:
    options = Listening(language="sv", keywords=("Lund", "Umeå"), with_speakers=True, prompt="Hej", temperature=0.0)
    upload = DEEPGRAM.transcription_request(options, NOVA, "audio/wav")
    query = query_of(upload.url)
    assert query["language"] == ["sv"]
    assert query["keyterm"] == ["Lund", "Umeå"]
    assert query["diarize"] == ["true"]
    assert "detect_language" not in query
    assert upload.dropped == ("prompt", "temperature")


def test_older_models_have_another_name_for_keywords() -> None:
    older = Target("https://api.deepgram.test/v1", "", "nova-2", frozenset())
    upload = DEEPGRAM.transcription_request(Listening(keywords=("Lund",)), older, "audio/wav")
    assert query_of(upload.url)["keywords"] == ["Lund"]
    assert "Authorization" not in upload.headers


def test_a_query_of_the_callers_own_is_all_there_is() -> None:
    options = Listening(query={"redact": ("pci", "numbers"), "paragraphs": ("true",)})
    upload = DEEPGRAM.transcription_request(options, NOVA, "audio/wav")
    assert query_of(upload.url) == {"model": ["nova-3"], "redact": ["pci", "numbers"], "paragraphs": ["true"]}


def test_it_does_not_translate() -> None:
    with pytest.raises(KomilionError) as caught:
        DEEPGRAM.transcription_request(Listening(task="translate"), NOVA, "audio/wav")
    assert (caught.value.status, caught.value.param) == (400, "model")


def test_files_are_answered_in_one_piece() -> None:
    assert DEEPGRAM.transcription_stream() is None
    assert DEEPGRAM.speech_stream() is None


def test_an_answer_becomes_a_transcript() -> None:
    answer = deepgram()
    transcript = heard(answer).transcript
    assert transcript.language == "en"
    assert transcript.speakers == "heard"
    assert transcript.duration_s == answer["metadata"]["duration"]
    assert [said.speaker for said in transcript.utterances] == [0, 1, 0]
    word = transcript.utterances[1].words[1]
    assert (word.text, word.shown, word.confidence, word.speaker) == ("numbers", "numbers,", 0.97, 1)


def test_words_without_utterances_are_cut_where_the_speaker_changes() -> None:
    transcript = heard(deepgram(utterances=False)).transcript
    assert [said.text for said in transcript.utterances] == [
        said.text for said in heard(deepgram()).transcript.utterances
    ]


def test_nobody_is_said_to_speak_where_nobody_was_told_apart() -> None:
    assert heard(deepgram(speakers=False)).transcript.speakers == "none"


def test_channels_are_joined_in_the_order_of_time() -> None:
    first, second = deepgram(((0, "Hello there."),)), deepgram(((0, "Yes?"),), start_s=0.2)
    first["results"]["channels"] += second["results"]["channels"]
    del first["results"]["utterances"]
    transcript = heard(first).transcript
    assert transcript.text == "Hello there.\nYes?"
    assert [(said.channel, said.text) for said in transcript.utterances] == [(0, "Hello there."), (1, "Yes?")]


def test_the_language_may_be_told_beside_the_words() -> None:
    answer = deepgram()
    channel = answer["results"]["channels"][0]
    del channel["detected_language"]
    channel["alternatives"][0]["languages"] = ["es", "en"]
    assert heard(answer).transcript.language == "es"


@pytest.mark.parametrize(
    ("duration", "channels", "billed_ms"),
    [
        (12.345, 1, 12_345),
        (12.3451, 1, 12_346),
        (0, 1, 0),
        (3, 2, 6_000),
        (0.0001, 3, 3),
        ("12", 1, None),
        (-1, 1, None),
        (None, 1, None),
        (True, 1, None),
        (1e300, 1, None),
        (2_000_000, 2, None),
    ],
)
def test_seconds_of_each_channel_are_billed_in_whole_milliseconds(
    duration: Any, channels: int, billed_ms: int | None
) -> None:
    answer = deepgram()
    answer["metadata"]["duration"] = duration
    answer["results"]["channels"] *= channels
    assert heard(answer).usage == (None if billed_ms is None else Usage(audio_ms=billed_ms))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"results": 1}', b'{"results": {"channels": []}}', b'{"results": {"channels": [1]}}'],
)
def test_what_is_no_transcription_is_the_providers_fault(body: bytes) -> None:
    with pytest.raises(ProviderError):
        DEEPGRAM.transcription_answer(body)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
NAMES = [
    "transcript",
    "words",
    "word",
    "start",
    "end",
    "confidence",
    "speaker",
    "alternatives",
    "utterances",
    "channel",
]
nonsense = st.dictionaries(st.sampled_from(NAMES), json_values, max_size=8)


@given(st.lists(nonsense, min_size=1, max_size=3), st.lists(nonsense, max_size=3), json_values)
def test_nonsense_in_an_answer_is_passed_over(channels: Any, utterances: Any, words: Any) -> None:
    channels = [{**channel, "alternatives": [{"words": words, **channel}]} for channel in channels]
    result = heard({"results": {"channels": channels, "utterances": utterances}})
    for said in result.transcript.utterances:
        assert said.start_s >= 0
        assert said.end_s >= 0


@pytest.mark.parametrize(
    ("wanted", "query"),
    [
        ("mp3", {"encoding": ["mp3"]}),
        ("wav", {"encoding": ["linear16"], "container": ["wav"], "sample_rate": ["24000"]}),
        ("pcm", {"encoding": ["linear16"], "container": ["none"], "sample_rate": ["24000"]}),
        ("opus", {"encoding": ["opus"], "container": ["ogg"]}),
        ("flac", {"encoding": ["flac"]}),
        ("aac", {"encoding": ["aac"]}),
    ],
)
def test_a_format_becomes_encoding_and_container(wanted: AudioFormat, query: dict[str, list[str]]) -> None:
    request = DEEPGRAM.speech_request(Speaking("Hello.", "thalia", wanted), AURA)
    assert query_of(request.url) == {"model": ["aura-2-thalia-en"], **query}
    assert orjson.loads(request.body) == {"text": "Hello."}
    assert request.headers["Authorization"] == f"Token {KEY}"


@pytest.mark.parametrize(
    ("voice", "model"),
    [
        ("thalia", "aura-2-thalia-en"),
        ("Thalia", "aura-2-thalia-en"),
        ("aura-2-thalia-en", "aura-2-thalia-en"),
        ("sirio-es", "aura-2-sirio-es"),
        ("alloy", "aura-2-asteria-en"),
    ],
)
def test_a_voice_may_be_named_in_short_in_full_or_as_openai_does(voice: str, model: str) -> None:
    request = DEEPGRAM.speech_request(Speaking("Hello.", voice, "mp3"), AURA)
    assert query_of(request.url)["model"] == [model]


@pytest.mark.parametrize("voice", ["thalia", "sirio-es", "nobody"])
def test_what_is_no_voice_of_the_first_generation_is_refused(voice: str) -> None:
    first = Target("https://api.deepgram.test/v1", KEY, "aura", frozenset())
    assert query_of(DEEPGRAM.speech_request(Speaking("Hi.", "zeus", "mp3"), first).url)["model"] == ["aura-zeus-en"]
    with pytest.raises(KomilionError) as caught:
        DEEPGRAM.speech_request(Speaking("Hi.", voice, "mp3"), first)
    assert (caught.value.status, caught.value.param) == (400, "voice")


@pytest.mark.parametrize("voice", ["", "nova-3&callback=x", "../x", "a" * 30, "voice_1234"])
def test_what_cannot_be_a_voice_is_refused(voice: str) -> None:
    with pytest.raises(KomilionError) as caught:
        DEEPGRAM.speech_request(Speaking("Hello.", voice, "mp3"), AURA)
    assert (caught.value.status, caught.value.param) == (400, "voice")


def test_speed_is_passed_on_where_it_is_not_the_usual_one() -> None:
    request = DEEPGRAM.speech_request(Speaking("Hello.", "thalia", "mp3", speed=1.25), AURA)
    assert query_of(request.url)["speed"] == ["1.25"]


@pytest.mark.parametrize(
    ("headers", "billed"),
    [
        ({"dg-char-count": "4"}, 4),
        ({"dg-char-count": "6"}, 5),
        ({}, 5),
        ({"dg-char-count": "7000"}, 5),
        ({"dg-char-count": "-1"}, 5),
    ],
)
def test_characters_are_billed_as_deepgram_counts_them_where_that_can_be_true(
    headers: dict[str, str], billed: int
) -> None:
    assert DEEPGRAM.characters(headers, "Umeå!") == billed


def test_a_text_has_its_length() -> None:
    assert DEEPGRAM.longest_text(AURA) == 2_000


REQUEST_ID = "0f7f0b3c-1111-4222-8333-944444444444"
CORRUPT = "Bad Request: failed to process audio: corrupt or unsupported data"


@pytest.mark.parametrize(
    ("status", "body", "seen_status", "words"),
    [
        (400, {"err_code": "Bad Request", "err_msg": CORRUPT}, 400, "failed to process audio: corrupt"),
        (400, {"category": "INVALID_JSON", "message": "Invalid JSON submitted.", "details": "line 7"}, 400, "line 7"),
        (401, {"err_code": "INVALID_AUTH", "err_msg": "Invalid credentials."}, 502, "credentials"),
        (402, {"err_code": "ASR_PAYMENT_REQUIRED", "err_msg": "Project does not have enough credits."}, 503, ""),
        (403, {"err_code": "INSUFFICIENT_PERMISSIONS", "err_msg": "Missing scope."}, 502, ""),
        (
            403,
            {"err_code": "INSUFFICIENT_PERMISSIONS", "err_msg": "Project does not have access to the requested model."},
            404,
            "does not let us call this model",
        ),
        (408, {"err_code": "SLOW_UPLOAD", "err_msg": "Request body was not received in time."}, 429, ""),
        (413, {"err_code": "PAYLOAD_TOO_LARGE", "err_msg": "Input text exceeds the limit."}, 413, "too large"),
        (415, {"err_code": "UNSUPPORTED_MEDIA_TYPE", "err_msg": "x"}, 415, "audio of this type"),
        (429, {"category": "TOO_MANY_REQUESTS", "message": "Too many requests.", "details": "later"}, 429, ""),
        (500, {"err_code": "INTERNAL", "err_msg": "host 10.0.0.8 failed"}, 502, ""),
        (503, {"err_code": "BUSY", "err_msg": "x"}, 503, ""),
        (504, "<html>Gateway Timeout</html>", 503, "in time"),
    ],
)
def test_both_shapes_of_its_errors_say_what_they_mean_to_the_caller(
    status: int, body: Any, seen_status: int, words: str
) -> None:
    sent = {**body, "request_id": REQUEST_ID} if isinstance(body, dict) else body
    error = DEEPGRAM.failure(status, {}, orjson.dumps(sent) if isinstance(sent, dict) else sent.encode())
    assert error.status == seen_status
    assert words in error.message
    assert REQUEST_ID not in error.message
    assert "10.0.0.8" not in error.message


def test_the_wait_that_it_asks_for_is_passed_on() -> None:
    assert DEEPGRAM.failure(429, {"retry-after": "7"}, b"{}").headers == {"Retry-After": "7"}
