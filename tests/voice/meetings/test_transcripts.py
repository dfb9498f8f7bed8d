"""Parts of a meeting put together, and who said what."""

import numpy as np

from routing.providers.speech import Transcript, Utterance, Word
from voice.audio.diarize import Speakers, Turn
from voice.meetings.recording import Span, cut
from voice.meetings.transcript import joined, lines_of, meeting_json, with_guessed_speakers, without_speakers, written


def word(text: str, start_s: float, end_s: float, speaker: int | None = None) -> Word:
    return Word(text, start_s, end_s, confidence=0.5, speaker=speaker)


def said(*words: Word, speaker: int | None = None) -> Utterance:
    text = " ".join(each.text for each in words)
    return Utterance(text, words[0].start_s, words[-1].end_s, 0.9, speaker, words)


HEARD = Transcript(
    "one two", "en", 2.0, (said(word("one", 0, 0.9, 0), word("two", 1, 2, 1), speaker=0),), "heard", ("Anna", "Ben")
)
TWO = Speakers((Turn(0, 1_000, 0, 0.9), Turn(1_000, 9_000, 1, 0.9)))


def test_one_part_stays_what_it_is():
    whole = joined([(Span(0, 2_000), HEARD)])
    assert whole == HEARD
    assert meeting_json(whole)["speakers"] == [{"id": 0, "name": "Anna", "seconds": 2.0}]


def test_parts_follow_each_other_and_nobody_is_the_same_in_two():
    whole = joined([(Span(0, 2_000), HEARD), (Span(2_000, 4_100), HEARD)])
    assert (whole.text, whole.duration_s, whole.speakers, whole.speaker_names) == ("one two one two", 4.1, "none", ())
    assert [(each.start_s, each.end_s, each.speaker) for each in whole.utterances] == [(0, 2, None), (2, 4, None)]
    assert whole.utterances[1].words[0] == word("one", 2.0, 2.9)


def test_a_part_without_times_is_one_utterance():
    whole = joined([(Span(0, 2_000), HEARD), (Span(2_000, 5_000), Transcript(" three "))])
    assert whole.utterances[1] == Utterance("three", 2.0, 5.0)
    assert joined([(Span(0, 9), Transcript("  "))]).utterances == ()
    assert joined([]) == Transcript("")


def test_guessed_speakers_split_an_utterance_between_words():
    guessed = with_guessed_speakers(HEARD, TWO)
    assert guessed.speakers == "guessed"
    assert guessed.speaker_names == ()
    assert [(each.text, each.speaker, each.start_s, each.end_s, each.confidence) for each in guessed.utterances] == [
        ("one", 0, 0, 0.9, 0.5),
        ("two", 1, 1, 2, 0.5),
    ]
    assert meeting_json(guessed)["speakerSource"] == "heuristic"


def test_guessed_speakers_of_what_is_not_split():
    bare = Transcript("x", utterances=(Utterance("x", 2, 3), said(word("a", 4, 5), word("b", 5, 6))))
    assert [each.speaker for each in with_guessed_speakers(bare, TWO).utterances] == [1, 1]
    assert [each.speaker for each in with_guessed_speakers(bare, Speakers(())).utterances] == [None, None]


def test_nobody_asked():
    plain = without_speakers(HEARD)
    assert (plain.speakers, plain.utterances[0].speaker, plain.utterances[0].words[1].speaker) == ("none", None, None)


def test_as_text():
    late = Transcript("x", utterances=(Utterance("late", 3_725.9, 3_726, speaker=1), Utterance(" ", 0, 1)))
    assert lines_of(late) == ["[01:02:05] Speaker 1: late"]
    assert lines_of(Transcript("only text")) == ["only text"]
    assert written(late, "text") == ("[01:02:05] Speaker 1: late\n", "text/plain; charset=utf-8")


def test_cutting():
    silence = np.zeros(16_000 * 60, np.int16)
    assert cut(silence[:16_000], 2_000) == [Span(0, 1_000)]
    spans = cut(silence, 7_000)
    assert spans[0].start_ms == 0
    assert spans[-1].end_ms == 60_000
    assert all(0 < span.end_ms - span.start_ms <= 7_000 for span in spans)
    assert cut(silence[: 16 * 500], 200)[0] == Span(0, 200)  # too short to look for silence
