"""Where speech begins and ends: at the right places, with the padding and the silence that the caller asks for."""

import time

import numpy as np
import pytest

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples
from tests.komilion.audio.tones import noise, tone
from tests.voice.spoken import needs_espeak, spoken
from voice.audio import vad
from voice.audio.vad import ServerVad, SpeechDetector, SpeechEvent, SpeechStarted, SpeechStopped

RATE_HZ = 16_000
USUAL = ServerVad()
SENTENCE = "Good morning, I would like to order a large coffee and two croissants please."


def quiet(milliseconds: int) -> Samples:
    """A room in which nobody speaks."""
    return noise(milliseconds / 1000, amplitude=0.001)


def heard(samples: Samples, settings: ServerVad = USUAL, step: int = 320) -> list[SpeechEvent]:
    detector = SpeechDetector(settings)
    return [event for start in range(0, len(samples), step) for event in detector.feed(samples[start : start + step])]


@needs_espeak
def test_a_sentence_between_two_silences_is_found_where_it_is():
    speech = spoken(SENTENCE)
    events = heard(np.concatenate([quiet(1000), speech, quiet(1000)]))
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped]
    started, stopped = (event.at_sample * 1000 // RATE_HZ for event in events)
    end_ms = 1000 + pcm.duration_ms(speech, RATE_HZ)
    assert started == pytest.approx(1000 - 300, abs=150)
    assert end_ms <= stopped + 300, "not before the last word"
    assert stopped <= end_ms + 500 + 100


@needs_espeak
def test_padding_and_silence_are_the_callers():
    speech = spoken(SENTENCE)
    samples = np.concatenate([quiet(2000), speech, quiet(2000)])
    usual, wide = heard(samples), heard(samples, ServerVad(prefix_padding_ms=1000, silence_duration_ms=1500))
    assert usual[0].at_sample - wide[0].at_sample == 700 * 16
    assert wide[1].at_sample - usual[1].at_sample == pytest.approx(1000 * 16, abs=vad.WINDOW)


@needs_espeak
def test_padding_reaches_neither_before_the_stream_nor_into_the_turn_before():
    speech = spoken(SENTENCE)
    events = heard(np.concatenate([speech, quiet(700), speech, quiet(700)]), ServerVad(prefix_padding_ms=2000))
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped] * 2
    assert events[0].at_sample == 0
    assert events[2].at_sample == events[1].at_sample


@needs_espeak
def test_a_short_pause_does_not_end_a_turn():
    samples = np.concatenate([spoken("I would like"), quiet(200), spoken("to order a coffee"), quiet(2000)])
    assert len(heard(samples, ServerVad(silence_duration_ms=200))) == 4
    assert len(heard(samples, ServerVad(silence_duration_ms=1000))) == 2


@needs_espeak
def test_the_size_of_the_pieces_changes_nothing():
    samples = np.concatenate([quiet(500), spoken(SENTENCE), quiet(1000)])
    assert heard(samples, step=37) == heard(samples, step=320) == heard(samples, step=len(samples))


@pytest.mark.parametrize(
    "samples",
    [pcm.silence(3000, RATE_HZ), noise(3, amplitude=0.02), tone(440, 3), np.r_[quiet(500), [30_000], quiet(500)]],
    ids=["silence", "noise", "a tone", "a click"],
)
def test_what_is_no_speech_is_not_taken_for_it(samples: Samples):
    assert heard(samples.astype(np.int16)) == []


@needs_espeak
def test_a_cleared_detector_has_forgotten_the_turn_and_goes_on_counting():
    detector = SpeechDetector()
    detector.feed(np.concatenate([quiet(500), spoken(SENTENCE)]))
    assert detector.speaking
    before = detector.position
    detector.clear()
    assert not detector.speaking
    assert detector.feed(quiet(2000)) == []
    assert detector.position > before
    started = detector.feed(spoken(SENTENCE))[0]
    assert isinstance(started, SpeechStarted)
    assert started.at_sample > before


@needs_espeak
def test_the_threshold_decides_how_certain_is_enough():
    samples = np.concatenate([spoken(SENTENCE), quiet(1000)])
    assert heard(samples, ServerVad(threshold=1.0)) == []
    assert len(heard(samples, ServerVad(threshold=0.9))) == 2
    assert heard(quiet(500), ServerVad(threshold=0.0)) == [SpeechStarted(0)]


def test_the_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="silero-vad"):
        vad.find_model()


def test_one_second_costs_less_than_thirty_milliseconds_of_processor_time():
    """Measured: 4 ms on the machine where it was written."""
    detector = SpeechDetector()
    detector.feed(quiet(1000))
    begin = time.thread_time()
    detector.feed(quiet(10_000))
    assert (time.thread_time() - begin) / 10 < 0.030
