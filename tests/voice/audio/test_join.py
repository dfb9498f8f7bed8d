"""Pieces of speech become one recording: no click, no long hole, and the same whether whole or in chunks."""

import numpy as np

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples
from tests.komilion.audio.tones import tone
from voice.audio.join import EDGE_MS, PAUSE_MS, Joiner, join

RATE_HZ = 24_000


def piece(seconds: float = 0.5, silence_ms: int = 400) -> Samples:
    """A tone that begins and ends at full height, as cut speech does, between silences."""
    sound = tone(440, seconds, RATE_HZ)[14:-14]
    return np.concatenate([pcm.silence(silence_ms, RATE_HZ), sound, pcm.silence(silence_ms, RATE_HZ)])


def greatest_step(samples: Samples) -> int:
    return int(np.max(np.abs(np.diff(samples.astype(np.int32)))))


def test_where_pieces_are_cut_no_step_is_greater_than_within_the_sound():
    steepest = greatest_step(tone(440, 1, RATE_HZ))
    assert greatest_step(np.concatenate([tone(440, 1, RATE_HZ)[:-14], pcm.silence(10, RATE_HZ)])) > 2 * steepest
    assert greatest_step(join([piece(silence_ms=0)] * 3, RATE_HZ)) <= steepest


def test_silence_between_pieces_is_the_pause_and_a_little():
    joined = join([piece(), piece()], RATE_HZ)
    sound_ms = 2 * 499
    assert sound_ms + PAUSE_MS < pcm.duration_ms(joined, RATE_HZ) <= sound_ms + PAUSE_MS + 4 * EDGE_MS + 1


def test_chunks_of_any_size_give_the_same_as_whole_pieces():
    whole = join([piece(), piece(0.3)], RATE_HZ)
    for size in (1, 240, 5_000):
        joiner = Joiner(RATE_HZ)
        parts: list[Samples] = []
        for one in (piece(), piece(0.3)):
            parts += [joiner.feed(one[start : start + size]) for start in range(0, len(one), size)]
            parts.append(joiner.end_piece())
        assert np.concatenate(parts).tolist() == whole.tolist()


def test_what_sounds_is_given_on_at_once():
    joiner = Joiner(RATE_HZ)
    sound = tone(440, 1, RATE_HZ)
    given = len(joiner.feed(sound))
    assert len(sound) - given < RATE_HZ // 100


def test_pieces_of_silence_leave_nothing_not_even_a_pause():
    nothing = pcm.silence(500, RATE_HZ)
    assert len(join([nothing, nothing], RATE_HZ)) == 0
    assert (
        join([nothing, piece(), nothing, piece(), nothing], RATE_HZ).tolist() == join([piece()] * 2, RATE_HZ).tolist()
    )
    assert len(join([], RATE_HZ)) == 0


def test_a_pause_inside_a_piece_stays():
    spoken = np.concatenate([tone(440, 0.3, RATE_HZ), pcm.silence(700, RATE_HZ), tone(440, 0.3, RATE_HZ)])
    assert abs(len(join([spoken], RATE_HZ)) - len(spoken)) <= EDGE_MS * 2 * 24


def test_a_piece_shorter_than_a_fade_is_kept():
    blip = np.full(50, 8_000, np.int16)
    assert 0 < len(join([blip], RATE_HZ)) <= 50
