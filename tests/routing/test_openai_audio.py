"""OpenAI's dialect of speech: the form, every shape of answer, streams cut anywhere, what is billed, errors."""

import io
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import parse_form

from komilion.common.errors import KomilionError, ProviderError, RateLimited
from komilion.common.usage import Usage
from routing.providers.base import Quirks, Target
from routing.providers.registry import speech_dialect
from routing.providers.speech import Heard, HeardEvent, Listening, Speaking, TextDelta, Upload
from tests.voice.speech.answers import DIARIZED, VERBOSE

KEY = "sk-canary-0123456789"
OPENAI = speech_dialect("openai")
AUDIO = b"\x00\xff--audio\r\n"


def target(*capabilities: str, upstream_id: str = "whisper-1", key: str = KEY) -> Target:
    return Target("https://api.openai.test/v1", key, upstream_id, frozenset(capabilities))


def form_of(upload: Upload) -> tuple[dict[str, list[str]], tuple[str, bytes]]:
    """The fields of the form, and name and content of its file; as a server reads them."""
    fields: dict[str, list[str]] = {}
    files = []

    def on_field(field: Any) -> None:
        fields.setdefault(field.field_name.decode(), []).append(field.value.decode())

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        files.append((file.file_name.decode(), file.file_object.read()))

    body = b"".join(upload.parts(AUDIO))
    headers = {"Content-Type": upload.headers["Content-Type"].encode(), "Content-Length": str(len(body)).encode()}
    parse_form(headers, io.BytesIO(body), on_field, on_file)
    assert len(files) == 1
    return fields, files[0]


def request(options: Listening, to: Target, content_type: str = "audio/mpeg") -> Upload:
    return OPENAI.transcription_request(options, to, content_type)


def test_a_form_carries_model_and_file() -> None:
    upload = request(Listening(), target())
    assert upload.url == "https://api.openai.test/v1/audio/transcriptions"
    assert upload.headers["Authorization"] == f"Bearer {KEY}"
    assert form_of(upload) == ({"model": ["whisper-1"]}, ("audio.mp3", AUDIO))


def test_the_audio_is_not_copied() -> None:
    assert request(Listening(), target()).parts(AUDIO)[1] is AUDIO


def test_a_provider_without_a_key_gets_none() -> None:
    assert "Authorization" not in request(Listening(), target(key="")).headers


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("audio/ogg; codecs=opus", "audio.ogg"),
        ("video/mp4", "audio.mp4"),
        ("AUDIO/FLAC", "audio.flac"),
        ("x/y", "audio.wav"),
    ],
)
def test_the_name_of_the_file_tells_its_format(content_type: str, name: str) -> None:
    assert form_of(request(Listening(), target(), content_type))[1][0] == name


def test_options_become_fields() -> None:
    options = Listening(language="sv", prompt="Hej då", temperature=0.25, with_words=True)
    fields, _ = form_of(request(options, target("word_timestamps")))
    assert fields == {
        "model": ["whisper-1"],
        "response_format": ["verbose_json"],
        "timestamp_granularities[]": ["segment", "word"],
        "language": ["sv"],
        "prompt": ["Hej då"],
        "temperature": ["0.25"],
    }


def test_keywords_stand_in_for_a_prompt() -> None:
    fields, _ = form_of(request(Listening(keywords=("Lund", "Umeå")), target()))
    assert fields["prompt"] == ["Lund, Umeå"]


def test_a_translation_has_its_own_address_and_no_language() -> None:
    upload = request(Listening(task="translate", language="sv", with_words=True), target("word_timestamps"))
    fields, _ = form_of(upload)
    assert upload.url.endswith("/audio/translations")
    assert fields == {"model": ["whisper-1"], "response_format": ["verbose_json"]}


def test_speakers_are_asked_for_where_the_model_hears_them() -> None:
    fields, _ = form_of(request(Listening(with_speakers=True), target("diarization")))
    assert (fields["response_format"], fields["chunking_strategy"]) == (["diarized_json"], ["auto"])
    fields, _ = form_of(request(Listening(), target("diarization")))
    assert (fields["response_format"], fields["chunking_strategy"]) == (["json"], ["auto"])


def test_what_a_model_cannot_do_is_named() -> None:
    upload = request(Listening(with_speakers=True, query={"redact": ("pci",), "punctuate": ("true",)}), target())
    assert upload.dropped == ("redact", "with_speakers")


def test_what_a_provider_refuses_is_left_out_and_named() -> None:
    picky = Target("https://api.mistral.test/v1", KEY, "voxtral", frozenset(), quirks=Quirks(frozenset({"prompt"})))
    upload = request(Listening(prompt="Lund", language="sv"), picky)
    assert set(form_of(upload)[0]) == {"model", "language"}
    assert upload.dropped == ("prompt",)


def test_times_are_refused_by_a_model_that_gives_none() -> None:
    with pytest.raises(KomilionError) as caught:
        request(Listening(with_times=True), target())
    assert (caught.value.status, caught.value.param) == (400, "model")


def test_a_stream_is_asked_for_where_the_model_streams() -> None:
    upload = request(Listening(stream=True), target("text_stream"))
    assert form_of(upload)[0]["stream"] == ["true"]
    assert upload.headers["Accept"] == "text/event-stream"
    assert "stream" not in form_of(request(Listening(stream=True), target()))[0]


@pytest.mark.parametrize("field", ["prompt", "language"])
@given(st.text(max_size=60))
def test_no_text_breaks_out_of_its_field(field: str, text: str) -> None:
    fields, file = form_of(request(Listening(**{field: text or "x"}), target()))
    assert file == ("audio.mp3", AUDIO)
    assert set(fields) == {"model", field}


def test_verbose_json_becomes_a_transcript() -> None:
    heard = OPENAI.transcription_answer(orjson.dumps(VERBOSE))
    assert heard.transcript.text == "Good morning, everybody. The numbers, please."
    assert [word.text for said in heard.transcript.utterances for word in said.words][:3] == [
        *("Good", "morning", "everybody")
    ]
    assert heard.usage == Usage(audio_ms=5_000)


def test_words_without_segments_become_one_utterance() -> None:
    answer = {key: value for key, value in VERBOSE.items() if key != "segments"}
    (said,) = OPENAI.transcription_answer(orjson.dumps(answer)).transcript.utterances
    assert (said.start_s, said.end_s, len(said.words)) == (0.0, 4.2, 6)


def test_diarized_json_numbers_its_speakers() -> None:
    transcript = OPENAI.transcription_answer(orjson.dumps(DIARIZED)).transcript
    assert [said.speaker for said in transcript.utterances] == [0, 1]
    assert transcript.speaker_names == ("agent", "B")
    assert transcript.speakers == "heard"


@pytest.mark.parametrize(
    ("more", "usage"),
    [
        ({"usage": DIARIZED["usage"]}, Usage(input=4, input_audio=40, output=12)),
        ({"usage": {"type": "tokens", "input_tokens": 7, "output_tokens": 2}}, Usage(input=7, output=2)),
        ({"usage": {"type": "duration", "seconds": 1.2341}}, Usage(audio_ms=1_235)),
        ({"duration": 3.5}, Usage(audio_ms=3_500)),
        ({"usage": {"prompt_audio_seconds": 7, "prompt_tokens": 4, "total_tokens": 11}}, Usage(audio_ms=7_000)),
        ({}, None),
        ({"usage": {"type": "duration", "seconds": -1}, "duration": 3.5}, None),
        ({"usage": {"type": "tokens", "input_tokens": -7, "output_tokens": 2}}, None),
        ({"usage": {"type": "tokens", "input_tokens": 7, "output_tokens": None}}, None),
        (
            {
                "usage": {
                    "type": "tokens",
                    "input_tokens": 7,
                    "output_tokens": 2,
                    "input_token_details": {"audio_tokens": 8},
                }
            },
            None,
        ),
    ],
)
def test_usage_is_tokens_or_seconds_and_never_a_guess(more: dict[str, Any], usage: Usage | None) -> None:
    assert OPENAI.transcription_answer(orjson.dumps({"text": "hi", **more})).usage == usage


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"{}", b'{"text": 1}'])
def test_what_is_no_transcription_is_the_providers_fault(body: bytes) -> None:
    with pytest.raises(ProviderError):
        OPENAI.transcription_answer(body)


def test_an_error_inside_a_200_is_an_error() -> None:
    body = {"error": {"message": "slow down", "type": "rate_limit_error"}}
    with pytest.raises(RateLimited):
        OPENAI.transcription_answer(orjson.dumps(body))


EVENTS = [
    {"type": "transcript.text.delta", "delta": "Good "},
    {"type": "transcript.text.delta", "delta": "morning."},
    {"type": "transcript.text.segment", "id": "s1", "start": 0, "end": 2, "speaker": "A", "text": "Good morning."},
    {"type": "transcript.text.done", "text": "Good morning.", "usage": DIARIZED["usage"]},
]
STREAM = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in EVENTS)


def read(*pieces: bytes) -> list[HeardEvent]:
    stream = OPENAI.transcription_stream()
    assert stream is not None
    return [event for piece in pieces for event in stream.feed(piece)] + stream.close()


@pytest.mark.parametrize("cut", range(len(STREAM)))
def test_a_stream_is_read_however_it_is_cut(cut: int) -> None:
    *deltas, last = read(STREAM[:cut], STREAM[cut:] + b"data: [DONE]\n\n")
    assert deltas == [TextDelta("Good "), TextDelta("morning.")]
    assert isinstance(last, Heard)
    assert last.usage == Usage(input=4, input_audio=40, output=12)
    assert [(said.speaker, said.text) for said in last.transcript.utterances] == [(0, "Good morning.")]


def test_a_stream_without_an_end_is_broken_off() -> None:
    with pytest.raises(ProviderError):
        read(STREAM[: STREAM.index(b"transcript.text.done") - 20])


def test_an_error_in_a_stream_is_an_error() -> None:
    with pytest.raises(RateLimited):
        read(b'data: {"error": {"message": "x", "type": "rate_limit_error"}}\n\n')


def test_what_is_no_event_is_passed_over() -> None:
    assert read(b"data: nonsense\n\n: comment\n\ndata: []\n\n" + STREAM + b"data: {}\n\n")[0] == TextDelta("Good ")


def test_speech_is_asked_for_in_json() -> None:
    options = Speaking("Hello.", "alloy", "opus", speed=1.5, instructions="Cheerfully.")
    sent = OPENAI.speech_request(options, target("instructions", upstream_id="tts-1"))
    assert sent.url == "https://api.openai.test/v1/audio/speech"
    assert orjson.loads(sent.body) == {
        "model": "tts-1",
        "input": "Hello.",
        "voice": "alloy",
        "response_format": "opus",
        "speed": 1.5,
        "instructions": "Cheerfully.",
    }


def test_instructions_and_the_usual_speed_are_left_out() -> None:
    sent = OPENAI.speech_request(Speaking("Hello.", "alloy", "mp3", instructions="Cheerfully."), target())
    assert set(orjson.loads(sent.body)) == {"model", "input", "voice", "response_format"}


def test_characters_are_those_of_the_text() -> None:
    assert OPENAI.characters({"dg-char-count": "1"}, "Umeå!") == 5
    assert OPENAI.longest_text(target()) == 4_096


@pytest.mark.parametrize(("status", "seen"), [(400, 400), (401, 502), (402, 503), (413, 413), (415, 415), (429, 429)])
def test_a_refusal_means_what_it_means_to_a_chat(status: int, seen: int) -> None:
    body = {"error": {"message": "Invalid file format.", "type": "invalid_request_error"}}
    assert OPENAI.failure(status, {}, orjson.dumps(body)).status == seen


AUDIO_EVENTS = b"".join(
    b"data: " + orjson.dumps(event) + b"\n\n"
    for event in (
        {"type": "speech.audio.delta", "audio": "AAEC"},
        {"type": "speech.audio.delta", "audio": "AwQ="},
        {"type": "speech.audio.done", "usage": {"input_tokens": 3, "output_tokens": 40, "total_tokens": 43}},
    )
)


def test_usage_of_speech_comes_in_events() -> None:
    sent = OPENAI.speech_request(Speaking("Hello.", "alloy", "pcm", with_usage=True), target())
    assert orjson.loads(sent.body)["stream_format"] == "sse"


@pytest.mark.parametrize("cut", range(len(AUDIO_EVENTS)))
def test_speech_in_events_is_read_however_it_is_cut(cut: int) -> None:
    stream = OPENAI.speech_stream()
    assert stream is not None
    audio = stream.feed(AUDIO_EVENTS[:cut]) + stream.feed(AUDIO_EVENTS[cut:] + b"data: nonsense\n\n") + stream.close()
    assert audio == bytes(range(5))
    assert stream.usage == Usage(input=3, output_audio=40)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (AUDIO_EVENTS[: AUDIO_EVENTS.index(b"done") - 30], ProviderError),
        (b'data: {"type": "speech.audio.delta", "audio": "!"}\n\n', ProviderError),
        (b'data: {"error": {"message": "x", "type": "rate_limit_error"}}\n\n', RateLimited),
    ],
)
def test_half_of_speech_and_errors_in_it_are_told(data: bytes, error: type[KomilionError]) -> None:
    stream = OPENAI.speech_stream()
    assert stream is not None

    def read_all() -> None:
        stream.feed(data)
        stream.close()

    with pytest.raises(error):
        read_all()


@pytest.mark.parametrize("usage", [None, [], {"input_tokens": -1, "output_tokens": 2}, {"input_tokens": 1}])
def test_speech_without_usage_that_can_be_true_has_none(usage: Any) -> None:
    stream = OPENAI.speech_stream()
    assert stream is not None
    stream.feed(b"data: " + orjson.dumps({"type": "speech.audio.done", "usage": usage}) + b"\n\n")
    stream.close()
    assert stream.usage is None


def test_times_are_told_by_segments_where_speakers_are() -> None:
    fields, _ = form_of(request(Listening(with_times=True), target("diarization")))
    assert fields["response_format"] == ["diarized_json"]
    fields, _ = form_of(request(Listening(with_times=True), target("diarization", "word_timestamps")))
    assert fields["response_format"] == ["verbose_json"]
    fields, _ = form_of(request(Listening(task="translate"), target("diarization")))
    assert "response_format" not in fields
