"""Transcripts as SRT and WebVTT: other readers read them, and another writer writes the same."""

import io
import re
from datetime import timedelta
from typing import Any

import deepgram_captions
import orjson
import pytest
import srt as srt_reader
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routing.providers.deepgram import Deepgram
from routing.providers.openai_audio import OpenAIAudio
from routing.providers.speech import Transcript, Utterance, Word
from tests.voice.speech.answers import DIARIZED, TALK, VERBOSE, deepgram
from voice.speech.captions import cues_of, srt, vtt

SHAPES = [deepgram(), deepgram(utterances=False), deepgram(speakers=False), deepgram(utterances=False, speakers=False)]


def read(answer: dict[str, Any]) -> Transcript:
    """What Deepgram's dialect reads in an answer."""
    return Deepgram().transcription_answer(orjson.dumps(answer)).transcript


def transcript_of(*said: tuple[str, float, float], **more: Any) -> Transcript:
    """One utterance of each (text, start, end), without words."""
    utterances = tuple(Utterance(text, start_s, end_s) for text, start_s, end_s in said)
    return Transcript(" ".join(text for text, _, _ in said), utterances=utterances, **more)


@pytest.mark.parametrize("answer", SHAPES)
def test_srt_agrees_with_the_writer_of_deepgram(answer: dict[str, Any]) -> None:
    reference = srt_reader.parse(deepgram_captions.srt(deepgram_captions.DeepgramConverter(answer)))
    ours = list(srt_reader.parse(srt(read(answer))))
    assert len(ours) > len(TALK)
    for expected, cue in zip(reference, ours, strict=True):
        assert cue.content == expected.content
        assert abs(cue.start - expected.start) <= timedelta(milliseconds=1)
        assert abs(cue.end - expected.end) <= timedelta(milliseconds=1)


@pytest.mark.parametrize("answer", SHAPES)
def test_vtt_agrees_with_the_writer_of_deepgram(answer: dict[str, Any]) -> None:
    reference = webvtt.from_string(deepgram_captions.webvtt(deepgram_captions.DeepgramConverter(answer)))
    ours = webvtt.from_string(vtt(read(answer)))
    assert len(ours) == len(reference)
    for expected, cue in zip(reference, ours, strict=True):
        assert unescaped(cue.raw_text) == expected.raw_text
        assert abs(ms_of(cue.start) - ms_of(expected.start)) <= 1
        assert abs(ms_of(cue.end) - ms_of(expected.end)) <= 1
        assert cue.voice == expected.voice


def unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def ms_of(clock: str) -> int:
    """`00:01:00.000` as milliseconds."""
    hours, minutes, seconds = clock.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + int(seconds.replace(".", ""))


def test_a_cue_begins_with_each_utterance_each_speaker_and_after_eight_words() -> None:
    assert [(cue.text, cue.speaker) for cue in cues_of(read(deepgram()))] == [
        ("Good morning, everybody. Shall we begin with the", 0),
        ("numbers, or with the plan for next week?", 0),
        ("The numbers, please.", 1),
        ("Fine: we sold 40% more & lost <no>", 0),
        ("customer.", 0),
    ]


def test_a_line_names_the_speaker_of_srt_where_it_changes() -> None:
    lines = srt(read(deepgram())).splitlines()
    assert [line for line in lines if line.startswith("[")] == ["[speaker 0]", "[speaker 1]", "[speaker 0]"]


def test_speakers_have_their_names_where_there_are_any() -> None:
    transcript = OpenAIAudio().transcription_answer(orjson.dumps(DIARIZED)).transcript
    assert "<v agent>Good morning." in vtt(transcript)
    assert "[B]\nHello." in srt(transcript)


def test_a_segment_without_words_is_one_cue() -> None:
    answer = {**VERBOSE, "words": None}
    transcript = OpenAIAudio().transcription_answer(orjson.dumps(answer)).transcript
    assert [(cue.start_ms, cue.end_ms, cue.text) for cue in cues_of(transcript)] == [
        (0, 2000, "Good morning, everybody."),
        (2000, 4200, "The numbers, please."),
    ]


def test_milliseconds_are_rounded_half_up_and_carried() -> None:
    shown = srt(transcript_of(("a", 0.0005, 59.9996), ("b", 3599.9995, 3600.4)))
    assert "00:00:00,001 --> 00:01:00,000" in shown
    assert "01:00:00,000 --> 01:00:00,400" in shown


def test_a_binary_fraction_does_not_move_a_time() -> None:
    assert cues_of(transcript_of(("a", 1.0015, 2.0025)))[0].start_ms == 1002


def test_no_text_can_end_its_cue_or_begin_a_tag() -> None:
    hostile = "a --> b ----> <c> & d\n\n2\n00:00:01,000 --> 00:00:02,000\nno\x00pe\u2028end"
    transcript = transcript_of((hostile, 0, 1), ("after", 1, 2))
    assert [cue.index for cue in srt_reader.parse(srt(transcript))] == [1, 2]
    assert [cue.raw_text for cue in webvtt.from_string(vtt(transcript))][1:] == ["after"]
    for text in (srt(transcript), vtt(transcript)):
        assert text.count("-->") == 2
    assert "&lt;c&gt; &amp; d" in vtt(transcript)


def test_a_name_cannot_end_its_tag() -> None:
    transcript = Transcript("hi", utterances=(Utterance("hi", 0, 1, speaker=0),), speaker_names=("a> --> <b\n",))
    assert "<v a&gt; --&gt; &lt;b>hi" in vtt(transcript)
    assert "[a> -> <b]" in srt(transcript)


def test_an_empty_transcript_is_an_empty_srt_and_a_bare_webvtt() -> None:
    for transcript in (Transcript(""), transcript_of((" ", 0, 1), ("\x00", 1, 2))):
        assert srt(transcript) == ""
        assert vtt(transcript) == "WEBVTT\n"


def test_a_text_without_times_is_one_cue_of_the_whole_length() -> None:
    assert [(cue.start_ms, cue.end_ms) for cue in cues_of(Transcript("hello", duration_s=2.5))] == [(0, 2500)]


def test_guessed_speakers_are_marked_as_such() -> None:
    guessed = replace(read(deepgram()), speakers="guessed")
    assert "NOTE Who speaks is guessed" in vtt(guessed)
    assert len(webvtt.from_string(vtt(guessed))) == len(cues_of(guessed))


def test_fewer_words_in_a_cue_make_more_of_them() -> None:
    transcript = read(deepgram())
    assert max(len(cue.text.split()) for cue in cues_of(transcript, 3)) == 3
    assert len(cues_of(transcript, 3)) > len(cues_of(transcript))


times = st.floats(0, 400_000, allow_nan=False)
words = st.builds(
    Word, st.text(max_size=5), times, times, st.text(max_size=6), st.none(), st.one_of(st.none(), st.integers(0, 3))
)
transcripts = st.builds(
    Transcript,
    st.text(max_size=20),
    utterances=st.lists(
        st.builds(
            Utterance,
            st.text(max_size=20),
            times,
            times,
            speaker=st.one_of(st.none(), st.integers(0, 3)),
            words=st.lists(words, max_size=20).map(tuple),
        ),
        max_size=5,
    ).map(tuple),
    speaker_names=st.lists(st.text(max_size=6), max_size=2).map(tuple),
)


@given(transcripts)
def test_whatever_a_provider_says_times_never_run_backwards_and_no_cue_is_empty(transcript: Transcript) -> None:
    cues = cues_of(transcript)
    assert all(cue.text.strip() and cue.end_ms > cue.start_ms for cue in cues)
    assert [cue.start_ms for cue in cues] == sorted(cue.start_ms for cue in cues)


@given(transcripts)
def test_whatever_a_provider_says_other_readers_read_every_cue(transcript: Transcript) -> None:
    cues = cues_of(transcript)
    read_srt = list(srt_reader.parse(srt(transcript)))
    assert [cue.index for cue in read_srt] == list(range(1, len(cues) + 1))
    assert [round(cue.start.total_seconds() * 1000) for cue in read_srt] == [cue.start_ms for cue in cues]
    shown = vtt(transcript)
    assert len(re.findall(r"^[\d:.]+ --> [\d:.]+$", shown, re.MULTILINE)) == shown.count("-->") == len(cues)
    read_vtt = webvtt.from_buffer(io.StringIO(shown))
    assert [ms_of(cue.start) for cue in read_vtt] == [cue.start_ms for cue in cues]
