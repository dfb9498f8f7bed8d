"""Transcripts in the shapes of OpenAI and Deepgram: the `openai` package's own types read them."""

import orjson
import pytest
from openai.types.audio import Transcription, TranscriptionDiarized, TranscriptionVerbose

from routing.providers.deepgram import Deepgram
from routing.providers.openai_audio import OpenAIAudio
from routing.providers.speech import Heard, Transcript, Utterance
from tests.voice.speech.answers import DIARIZED, TALK, VERBOSE, deepgram
from voice.speech.shapes import deepgram_json, diarized_json, plain_json, usage_json, verbose_json

BOTH = ("segment", "word")


@pytest.fixture
def by_deepgram() -> Heard:
    return Deepgram().transcription_answer(orjson.dumps(deepgram()))


@pytest.fixture
def by_openai() -> Heard:
    return OpenAIAudio().transcription_answer(orjson.dumps(VERBOSE))


def test_json_is_the_text_alone(by_deepgram: Heard) -> None:
    shape = plain_json(by_deepgram)
    assert Transcription.model_validate(shape).text == " ".join(text for _, text in TALK)
    assert set(shape) == {"text"}


def test_verbose_json_has_segments_and_words_as_asked_for(by_deepgram: Heard) -> None:
    whole = TranscriptionVerbose.model_validate(verbose_json(by_deepgram, BOTH))
    assert whole.segments is not None
    assert whole.words is not None
    assert [segment.text for segment in whole.segments] == [text for _, text in TALK]
    assert [word.word for word in whole.words] == " ".join(text for _, text in TALK).split()
    assert whole.duration == by_deepgram.transcript.duration_s
    assert whole.language == "english"
    assert verbose_json(by_deepgram, BOTH, "translate")["language"] == "english"
    assert "words" not in verbose_json(by_deepgram, ["segment"])
    assert "segments" not in verbose_json(by_deepgram, ["word"])


def test_what_openai_tells_of_its_segments_stays_as_it_came(by_openai: Heard) -> None:
    first, second = verbose_json(by_openai, BOTH)["segments"]
    assert first["tokens"] == [50364, 2205, 2446]
    assert first["avg_logprob"] == -0.21
    assert second["tokens"] == [440, 3547]
    assert second["compression_ratio"] > 0  # not told: counted here


def test_words_of_openai_get_the_punctuation_of_their_segment(by_openai: Heard) -> None:
    assert [word["word"] for word in verbose_json(by_openai, BOTH)["words"]] == [
        *("Good", "morning,", "everybody.", "The", "numbers,", "please.")
    ]


def test_a_segment_without_confidence_or_text_is_written_all_the_same() -> None:
    heard = Heard(Transcript("", utterances=(Utterance("", 0, 0), Utterance("x", 0, 1, confidence=0.0))), None, {})
    shape = TranscriptionVerbose.model_validate(verbose_json(heard, BOTH))
    assert shape.segments is not None
    assert [segment.avg_logprob for segment in shape.segments] == [0.0, 0.0]


def test_diarized_json_letters_speakers_without_a_name(by_deepgram: Heard) -> None:
    shape = TranscriptionDiarized.model_validate(diarized_json(by_deepgram.transcript))
    assert [segment.speaker for segment in shape.segments] == ["A", "B", "A"]


def test_diarized_json_keeps_names() -> None:
    transcript = OpenAIAudio().transcription_answer(orjson.dumps(DIARIZED)).transcript
    assert [segment["speaker"] for segment in diarized_json(transcript)["segments"]] == ["agent", "B"]


def test_more_speakers_than_letters_are_numbered() -> None:
    transcript = Transcript("x", utterances=(Utterance("x", 0, 1, speaker=26), Utterance("y", 1, 2)))
    assert [segment["speaker"] for segment in diarized_json(transcript)["segments"]] == ["Speaker 26", "A"]


def test_usage_is_a_duration_or_tokens() -> None:
    assert usage_json({"audio_ms": 4400}) == {"type": "duration", "seconds": 4.4}
    assert usage_json({"input": 4, "input_audio": 40, "output": 12}) == DIARIZED["usage"]


def test_an_answer_of_deepgram_passes_through_but_for_its_request_id(by_deepgram: Heard) -> None:
    answer = deepgram()
    shape = deepgram_json(by_deepgram, "gen-1")
    assert shape["results"] == answer["results"]
    assert shape["metadata"] == {**answer["metadata"], "request_id": "gen-1"}


def test_an_answer_of_somebody_else_has_deepgrams_shape(by_openai: Heard) -> None:
    shape = deepgram_json(by_openai, "gen-1")
    assert shape["metadata"] == {"request_id": "gen-1", "duration": 4.4, "channels": 1}
    assert shape["results"]["channels"][0]["detected_language"] == "en"
    assert [word["word"] for word in shape["results"]["utterances"][0]["words"]] == ["good", "morning", "everybody"]
    again = Deepgram().transcription_answer(orjson.dumps(shape)).transcript
    assert again.text == by_openai.transcript.text
    assert [said.text for said in again.utterances] == [said.text for said in by_openai.transcript.utterances]
    assert [word.shown for word in again.utterances[0].words] == ["Good", "morning,", "everybody."]


def test_an_answer_without_a_language_names_none() -> None:
    shape = deepgram_json(Heard(Transcript("x"), None, {}), "gen-1")
    assert "detected_language" not in shape["results"]["channels"][0]
    assert deepgram_json(Heard(Transcript("x"), None, {"results": {}}), "gen-2")["metadata"] == {"request_id": "gen-2"}
