"""Files of strangers: what is audio is decoded, and each thing that is wrong has its own clear error."""

import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from komilion.common import errors
from komilion.common.audio import decode, encode, pcm
from komilion.common.audio.decode import AudioFacts, Decoding, Limits
from tests.komilion.audio.tones import film, noise, pitch_hz, tone


def wav(samples: pcm.Samples, rate_hz: int = 16_000) -> bytes:
    return encode.encode(samples, "wav", rate_hz)


def test_a_file_is_read_from_memory_and_from_disk(tmp_path: Path):
    path = tmp_path / "tone.wav"
    path.write_bytes(wav(tone(440, 1)))
    assert decode.decode(path).tolist() == decode.decode(path.read_bytes()).tolist() == tone(440, 1).tolist()


def test_samples_come_in_pieces_after_the_facts():
    with Decoding(encode.encode(tone(440, 60, 48_000), "flac", 48_000)) as decoding:
        assert decoding.facts == AudioFacts("flac", "flac", 48_000, 1)
        pieces = list(decoding.pieces())
    assert len(pieces) > 1
    assert sum(len(piece) for piece in pieces) == pytest.approx(960_000, abs=2)


def test_several_channels_become_one():
    interleaved = np.column_stack([tone(440, 1), tone(440, 1)]).ravel()
    header = bytearray(encode.wav_header(16_000, len(interleaved) * 2))
    struct.pack_into("<HIIH", header, 22, 2, 16_000, 64_000, 4)
    data = bytes(header) + pcm.to_bytes(interleaved)
    assert decode.probe(data) == (AudioFacts("wav", "pcm_s16le", 16_000, 2), 1000)
    samples = decode.decode(data)
    assert len(samples) == 16_000
    assert pitch_hz(samples, 16_000) == pytest.approx(440, abs=1)


def test_the_sound_of_a_film_is_decoded():
    assert pitch_hz(decode.decode(film(with_audio=True)), 16_000) == pytest.approx(440, abs=2)


def test_the_length_is_what_the_packets_say_and_not_the_header():
    data = encode.encode(tone(440, 3), "wav", 16_000)
    lying = data[:40] + struct.pack("<I", 2_000_000_000) + data[44:]
    assert decode.probe(lying)[1] == 3000


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", errors.EmptyAudio),
        (b"RIFF", errors.UnsupportedAudio),
        (os.urandom(50_000), errors.UnsupportedAudio),
        (b"<!doctype html><title>Not found</title>" * 50, errors.UnsupportedAudio),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 1000, errors.UnsupportedAudio),
        (film(with_audio=False), errors.NoAudioTrack),
        (wav(noise(1))[:44], errors.InvalidAudio),
    ],
    ids=["empty", "four bytes", "noise", "a page", "a picture", "a silent film", "a header alone"],
)
def test_what_is_no_audio_is_refused_by_name(data: bytes, error: type[errors.KomilionError]):
    with pytest.raises(error) as caught:
        decode.decode(data)
    assert type(caught.value) is error
    with pytest.raises(error):
        decode.probe(data)


def test_references_to_other_files_lead_nowhere(tmp_path: Path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(tone(440, 1)))
    for playlist in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.wav\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{secret}'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        f"<?xml version='1.0'?><MPD><Period><BaseURL>{secret}</BaseURL></Period></MPD>",
    ):
        with pytest.raises(errors.UnsupportedAudio):
            decode.decode(playlist.encode())


def test_a_damaged_file_is_refused_and_a_cut_one_gives_what_is_there():
    data = encode.encode(noise(4), "flac", 16_000)
    damaged = data[:200] + os.urandom(len(data) - 200)
    with pytest.raises(errors.InvalidAudio):
        decode.decode(damaged)
    assert 1 < len(decode.decode(data[: len(data) // 2])) / 16_000 < 3


def test_more_audio_than_allowed_is_refused_however_small_the_file():
    hours = encode.encode(pcm.silence(3_600_000, 8_000), "flac", 8_000)
    assert len(hours) < 57_600_000 / 50
    with pytest.raises(errors.AudioTooLong):
        decode.decode(hours, Limits(longest_s=60))
    with pytest.raises(errors.AudioTooLong):
        decode.probe(hours, Limits(longest_s=60))


@pytest.mark.parametrize("limits", [Limits(memory_bytes=2**26), Limits(wall_clock_s=0)], ids=["memory", "time"])
def test_a_file_that_needs_more_than_it_may_use_is_refused(limits: Limits):
    with pytest.raises(errors.AudioTooCostly):
        decode.decode(wav(noise(1)), limits)


@pytest.mark.slow
def test_a_file_that_takes_too_much_processor_time_is_refused():
    long = encode.encode(noise(3600, 8_000), "mp3", 8_000)
    with pytest.raises(errors.AudioTooCostly):
        decode.decode(long, replace(Limits(), cpu_s=1), rate_hz=48_000)


def test_whoever_stops_reading_leaves_no_process_behind():
    with Decoding(encode.encode(pcm.silence(600_000, 16_000), "flac", 16_000)) as decoding:
        next(decoding.pieces())
    assert decoding._process._child.returncode is not None
