"""The unmodified `openai` package speaks and listens through the gateway; the providers are scripted."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.fakes import sounds
from tests.fakes.deepgram import FakeDeepgram
from tests.fakes.openai_audio import FakeOpenAIAudio
from tests.fakes.speech_server import SpeechReply
from tests.stand import Gateway, Tenant
from tests.voice.speech.stand import TOKEN_PRICES, SpeechStand, at_both

TEXT = SpeechReply().text
TALK = sounds.wav(sounds.tone(2.0))


@pytest.fixture(scope="module")
def stand(gateway: Gateway) -> Iterator[SpeechStand]:
    """The gateway with both scripted providers."""
    with FakeDeepgram() as at_deepgram, FakeOpenAIAudio() as at_openai:
        yield at_both(gateway, at_deepgram, at_openai)


@pytest.fixture(scope="module")
def nova(stand: SpeechStand) -> str:
    return stand.add_model("nova-3", capabilities="word_timestamps,diarization")


@pytest.fixture(scope="module")
def streaming(stand: SpeechStand) -> str:
    return stand.add_model("gpt-4o-transcribe", capabilities="text_stream", **TOKEN_PRICES)


@pytest.fixture(scope="module")
def aura(stand: SpeechStand) -> str:
    return stand.add_model("aura-2", kind="speech")


def test_a_transcription(client: OpenAI, nova: str) -> None:
    found = client.audio.transcriptions.create(model=nova, file=("talk.wav", TALK))
    assert found.text == TEXT
    assert found.usage is not None
    assert found.usage.type == "duration"
    assert found.usage.seconds == 2.0


def test_a_transcription_of_an_open_file(client: OpenAI, nova: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(TALK)
    with path.open("rb") as file:
        assert client.audio.transcriptions.create(model=nova, file=file).text == TEXT


def test_verbose_json_with_words(client: OpenAI, nova: str) -> None:
    found = client.audio.transcriptions.create(
        model=nova,
        file=("talk.wav", TALK),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert found.duration == 2.0
    assert [word.word for word in found.words or []] == TEXT.split()
    assert [segment.text for segment in found.segments or []] == [TEXT]


def test_diarized_json(client: OpenAI, nova: str) -> None:
    found = client.audio.transcriptions.create(
        model=nova, file=("talk.wav", TALK), response_format="diarized_json", chunking_strategy="auto"
    )
    assert [segment.speaker for segment in found.segments] == ["A"]


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_texts(client: OpenAI, nova: str, form: Any) -> None:
    found = client.audio.transcriptions.create(model=nova, file=("talk.wav", TALK), response_format=form)
    assert isinstance(found, str)
    assert TEXT in found.replace("\n", " ")


@pytest.mark.parametrize("model", ["streaming", "nova"])
def test_a_transcription_that_streams(client: OpenAI, model: str, request: pytest.FixtureRequest) -> None:
    events = client.audio.transcriptions.create(
        model=request.getfixturevalue(model), file=("talk.wav", TALK), stream=True
    )
    *deltas, done = list(events)
    assert "".join(event.delta for event in deltas if event.type == "transcript.text.delta").strip() == TEXT
    assert done.type == "transcript.text.done"
    assert done.text == TEXT


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the package wants another model
def test_a_translation(client: OpenAI, stand: SpeechStand) -> None:
    model = stand.add_model("whisper-1", capabilities="word_timestamps,translation")
    assert client.audio.translations.create(model=model, file=("talk.wav", TALK)).text == TEXT


@pytest.mark.parametrize("form", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_speech(client: OpenAI, aura: str, form: Any) -> None:
    found = client.audio.speech.create(model=aura, voice="alloy", input="Hello there.", response_format=form)
    assert len(found.content) > 1_000


def test_speech_that_streams_to_a_file(client: OpenAI, aura: str, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    text = "One sentence after another. " * 100
    with client.audio.speech.with_streaming_response.create(
        model=aura, voice="alloy", input=text, response_format="wav"
    ) as response:
        assert response.headers["x-komilion-model"] == aura
        response.stream_to_file(path)
    assert path.stat().st_size > len(text) * 1_000


async def _both_at_once(gateway: Gateway, alice: Tenant, nova: str, aura: str) -> None:
    async with AsyncOpenAI(api_key=alice.key, base_url=f"{gateway.url}/v1", max_retries=0) as client:
        spoken = await client.audio.speech.create(model=aura, voice="nova", input="Hello.", response_format="wav")
        found = await client.audio.transcriptions.create(model=nova, file=("a.wav", io.BytesIO(spoken.content)))
        assert found.text == TEXT


def test_the_asynchronous_client(gateway: Gateway, alice: Tenant, nova: str, aura: str) -> None:
    import asyncio

    asyncio.run(_both_at_once(gateway, alice, nova, aura))


def test_errors_have_the_clients_own_classes(client: OpenAI, gateway: Gateway, nova: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model=f"{nova}x", file=("talk.wav", TALK))
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="ck_wrong").audio.transcriptions.create(model=nova, file=("talk.wav", TALK))
    poor = gateway.tenant(credit="0.00")
    with pytest.raises(openai.APIStatusError) as refused:
        client.with_options(api_key=poor.key).audio.transcriptions.create(model=nova, file=("talk.wav", TALK))
    assert refused.value.status_code == 402
