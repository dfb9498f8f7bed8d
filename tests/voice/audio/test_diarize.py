"""Speakers by how they sound: two clear voices are two speakers, and the turns are where they spoke."""

from itertools import pairwise

import numpy as np
import pytest

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples
from tests.voice.spoken import MAN, WOMAN, needs_espeak, spoken
from voice.audio import diarize
from voice.audio.diarize import Speakers, Turn, find_speakers

WOMANS = (
    "Good morning everybody, thank you for coming to the meeting about the new budget.",
    "I will write the report and send it to everybody on Friday.",
)
MANS = (
    "Thank you. I think the numbers of last month look better than we expected.",
    "Then I am going to call the landlord tomorrow morning and ask him about it.",
)


LIKE_VOICES = ("en-us+m5", "en-us+m6")


def meeting(voices: tuple[str, str] = (WOMAN, MAN)) -> tuple[Samples, list[tuple[int, int]]]:
    """Four sentences by turns, and the start and end of each in milliseconds."""
    pieces: list[Samples] = []
    spans = []
    for sentences in zip(WOMANS, MANS, strict=True):
        for sentence, voice in zip(sentences, voices, strict=True):
            begin = sum(len(piece) for piece in pieces) // 16
            pieces.append(spoken(sentence, voice))
            spans.append((begin, begin + len(pieces[-1]) // 16))
            pieces.append(pcm.silence(400, 16_000))
    return np.concatenate(pieces), spans


@needs_espeak
def test_two_voices_by_turns_are_two_speakers_each_with_its_turns():
    samples, spans = meeting()
    speakers = find_speakers(samples)
    assert speakers.method == "heuristic"
    assert speakers.count == 2
    assert [speakers.at(*span) for span in spans] == [0, 1, 0, 1]
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(speakers.turns))
    assert all(0 <= turn.confidence <= 1 for turn in speakers.turns)


@needs_espeak
def test_one_voice_is_one_speaker():
    assert find_speakers(np.concatenate([spoken(sentence) for sentence in (*WOMANS, *MANS)])).count == 1


@needs_espeak
def test_a_known_number_of_speakers_is_kept_to():
    assert find_speakers(meeting()[0], count=1).count == 1


@needs_espeak
@pytest.mark.parametrize("times", [1, 4])
def test_like_voices_are_told_apart_where_their_number_is_known(monkeypatch: pytest.MonkeyPatch, times: int):
    samples, spans = meeting(LIKE_VOICES)
    assert find_speakers(samples).count == 1
    monkeypatch.setattr(diarize, "STRETCH_S", 20)
    length_ms = pcm.duration_ms(samples, 16_000)
    assert length_ms > 16_000, "four times as much is several stretches"
    speakers = find_speakers(np.tile(samples, times), count=2)
    said = [speakers.at(start + i * length_ms, end + i * length_ms) for i in range(times) for start, end in spans]
    assert said == [0, 1, 0, 1] * times


def test_silence_and_nothing_have_no_speaker():
    for samples in (pcm.silence(5000, 16_000), np.zeros(0, np.int16)):
        speakers = find_speakers(samples)
        assert speakers.turns == ()
        assert speakers.count == 0
        assert speakers.at(0, 1000) is None


def test_a_stretch_belongs_to_whoever_speaks_longest_in_it_or_else_nearest():
    speakers = Speakers((Turn(0, 1000, 0, 0.9), Turn(1000, 4000, 1, 0.9), Turn(4000, 4100, 0, 0.9)))
    assert speakers.at(500, 1200) == 0
    assert speakers.at(500, 4100) == 1
    assert speakers.at(9000, 9500) == 0


@needs_espeak
def test_in_a_long_recording_voices_are_recognized_from_stretch_to_stretch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diarize, "STRETCH_S", 20)
    samples, spans = meeting()
    length_ms = pcm.duration_ms(samples, 16_000)
    speakers = find_speakers(np.tile(samples, 4))
    assert speakers.count == 2
    said = [speakers.at(start + i * length_ms, end + i * length_ms) for i in range(4) for start, end in spans]
    assert said == [0, 1, 0, 1] * 4
    assert len(find_speakers(pcm.silence(50_000, 16_000)).turns) == 0
