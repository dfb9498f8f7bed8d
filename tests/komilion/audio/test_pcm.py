"""Samples: bytes and floats, sample rates whole and in pieces, G.711 against FFmpeg's, levels."""

import av
import numpy as np
import pytest

from komilion.common.audio import pcm
from tests.komilion.audio.tones import noise, pitch_hz, tone

EVERY_SAMPLE = np.arange(65_536, dtype=np.uint16).view(np.int16)
LAWS = [
    ("pcm_mulaw", pcm.mu_law_to_samples, pcm.samples_to_mu_law),
    ("pcm_alaw", pcm.a_law_to_samples, pcm.samples_to_a_law),
]


def ffmpeg_decodes(codec: str, data: bytes) -> np.ndarray:
    context = av.CodecContext.create(codec, "r")
    context.sample_rate, context.layout = 8_000, "mono"
    return np.concatenate([frame.to_ndarray()[0] for frame in context.decode(av.Packet(data))])


def test_bytes_are_little_endian_and_come_back_as_they_were():
    samples = np.array([0, 1, -2, 32_767, -32_768], np.int16)
    assert pcm.to_bytes(samples) == b"\x00\x00\x01\x00\xfe\xff\xff\x7f\x00\x80"
    assert pcm.from_bytes(pcm.to_bytes(samples)).tolist() == samples.tolist()


def test_half_a_sample_is_refused():
    with pytest.raises(ValueError, match="two bytes"):
        pcm.from_bytes(b"\x00\x00\x01")


def test_floats_come_back_as_they_were_and_are_clipped_beyond_full_scale():
    assert pcm.from_floats(pcm.to_floats(EVERY_SAMPLE)).tolist() == EVERY_SAMPLE.tolist()
    assert pcm.from_floats(np.array([1.5, -1.5], np.float32)).tolist() == [32_767, -32_768]


@pytest.mark.parametrize(("codec", "decode", "encode"), LAWS)
def test_all_codes_of_g711_mean_what_ffmpeg_says(codec, decode, encode):
    codes = bytes(range(256))
    assert decode(codes).tolist() == ffmpeg_decodes(codec, codes).tolist()


@pytest.mark.parametrize(("codec", "decode", "encode"), LAWS)
def test_every_sample_becomes_a_code_that_is_close_and_stays_it(codec, decode, encode):
    values = decode(encode(EVERY_SAMPLE)).astype(np.int32)
    wanted = EVERY_SAMPLE.astype(np.int32)
    assert np.all(np.abs(values - wanted) <= np.maximum(np.abs(wanted) / 16, 16) + 1)
    assert decode(encode(decode(encode(EVERY_SAMPLE)))).tolist() == values.tolist()


@pytest.mark.parametrize(("from_hz", "to_hz"), [(24_000, 16_000), (8_000, 24_000), (22_050, 24_000)])
def test_a_tone_keeps_its_pitch_level_and_length_at_another_rate(from_hz, to_hz):
    changed = pcm.resample(tone(440, 1, from_hz), from_hz, to_hz)
    assert abs(len(changed) - to_hz) <= 1
    assert pitch_hz(changed, to_hz) == pytest.approx(440, abs=1)
    assert pcm.level_dbfs(changed) == pytest.approx(pcm.level_dbfs(tone(440, 1)), abs=0.1)


def test_piece_by_piece_is_as_long_as_at_once_and_sounds_the_same():
    samples = noise(1, 24_000)
    stream = pcm.Resampler(24_000, 16_000)
    pieces = [stream.feed(samples[start : start + 480]) for start in range(0, len(samples), 480)]
    streamed = np.concatenate([*pieces, stream.finish()])
    whole = pcm.resample(samples, 24_000, 16_000)
    assert abs(len(streamed) - len(whole)) <= 1
    length = min(len(streamed), len(whole))
    assert np.max(np.abs(streamed[:length].astype(int) - whole[:length])) <= 2
    assert sum(len(piece) for piece in pieces) > 14_000, "next to nothing is held back"


def test_the_same_rate_changes_nothing():
    stream = pcm.Resampler(16_000, 16_000)
    assert stream.feed(tone(440, 0.1)).tolist() == tone(440, 0.1).tolist()
    assert len(stream.finish()) == 0
    assert pcm.resample(tone(440, 0.1), 16_000, 16_000).tolist() == tone(440, 0.1).tolist()


def test_levels_clipping_and_lengths():
    assert pcm.level_dbfs(tone(440, 1, amplitude=0.5)) == pytest.approx(-9.03, abs=0.01)
    assert pcm.level_dbfs(pcm.silence(100, 16_000)) == pcm.level_dbfs(np.zeros(0, np.int16)) == pcm.SILENCE_DBFS
    assert pcm.clipped_share(np.array([32_767, -32_768, 0, 5], np.int16)) == 0.5
    assert pcm.clipped_share(np.zeros(0, np.int16)) == 0.0
    assert len(pcm.silence(250, 24_000)) == 6_000
    assert pcm.duration_ms(np.zeros(16_001, np.int16), 16_000) == 1_001
