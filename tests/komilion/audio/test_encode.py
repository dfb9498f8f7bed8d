"""Samples to files and back: every format keeps pitch, level and length, also when written piece by piece."""

import struct

import numpy as np
import pytest

from komilion.common.audio import decode, encode, pcm
from tests.komilion.audio.tones import pitch_hz, tone

FILES = [form for form in encode.FORMATS if form != "pcm"]
RATE_HZ = 24_000


def in_pieces(samples: pcm.Samples, form: str, rate_hz: int = RATE_HZ) -> list[bytes]:
    """What comes of each 100 ms, and last of the end."""
    writing = encode.encoder(form, rate_hz)
    step = rate_hz // 10
    pieces = [writing.feed(samples[start : start + step]) for start in range(0, len(samples), step)]
    return [*pieces, writing.finish()]


@pytest.mark.parametrize("form", FILES)
def test_a_tone_comes_back_in_pitch_level_and_length(form):
    samples = tone(440, 2, RATE_HZ)
    back = decode.decode(encode.encode(samples, form, RATE_HZ), rate_hz=RATE_HZ)
    assert len(back) / RATE_HZ == pytest.approx(2, abs=0.1)
    assert pitch_hz(back, RATE_HZ) == pytest.approx(440, abs=1)
    assert pcm.level_dbfs(back) == pytest.approx(pcm.level_dbfs(samples), abs=0.7)


@pytest.mark.parametrize("form", FILES)
def test_a_file_written_in_pieces_is_a_whole_file(form):
    pieces = in_pieces(tone(440, 2, RATE_HZ), form)
    back = decode.decode(b"".join(pieces), rate_hz=RATE_HZ)
    assert len(back) / RATE_HZ == pytest.approx(2, abs=0.1)
    assert pitch_hz(back, RATE_HZ) == pytest.approx(440, abs=1)
    assert sum(len(piece) for piece in pieces[:10]) > 0, "the first second is not held back"


@pytest.mark.parametrize("form", FILES)
def test_rates_that_a_format_does_not_have_are_brought_to_one_that_it_has(form):
    back = decode.decode(encode.encode(tone(440, 1, 22_050), form, 22_050))
    assert pitch_hz(back, 16_000) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("form", FILES)
def test_a_file_of_nothing_is_still_a_file(form):
    data = encode.encode(np.zeros(0, np.int16), form, RATE_HZ)
    assert data
    if form != "wav":
        assert pcm.level_dbfs(decode.decode(data)) < -80


def test_bare_samples_have_no_header():
    samples = tone(440, 0.1)
    assert encode.encode(samples, "pcm", 16_000) == b"".join(in_pieces(samples, "pcm")) == pcm.to_bytes(samples)


def test_wav_tells_its_length_where_it_is_known_and_else_says_that_it_is_not():
    header = encode.encode(tone(440, 1), "wav", 16_000)[:44]
    assert struct.unpack("<4sI4s4sIHHIIHH4sI", header) == (
        *(b"RIFF", 32_036, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16, b"data", 32_000),
    )
    streamed = b"".join(in_pieces(tone(440, 1), "wav", 16_000))
    assert struct.unpack_from("<I", streamed, 40) == (0xFFFFFFFF,)
    assert streamed[44:] == pcm.to_bytes(tone(440, 1))


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="midi"):
        encode.encoder("midi", RATE_HZ)


def test_every_format_has_its_content_type():
    assert set(encode.CONTENT_TYPES) == set(encode.FORMATS)
