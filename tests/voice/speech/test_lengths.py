"""How long an audio file is: a WAV by its bytes, everything else by what comes out of it."""

import asyncio
import contextlib
import struct

import pytest

from billing.prices import PriceVersion
from komilion.common.audio.decode import Limits
from komilion.common.errors import AudioTooLong, InvalidAudio, KomilionError, UnsupportedAudio
from routing.catalog.voice import VoiceOffer
from routing.providers.base import Target
from routing.providers.speech import Listening
from tests.fakes import sounds
from voice.speech.lengths import Audio, measure
from voice.speech.listening import bound_of

TONE = sounds.tone(1.5)


def measured(data: bytes, limits: Limits = Limits()) -> Audio:  # noqa: B008 - it is frozen
    return asyncio.run(measure(data, 1, limits))


@pytest.mark.parametrize(("channels", "length_ms"), [(1, 1_500), (2, 750)])
def test_a_wav_is_as_long_as_its_bytes(channels: int, length_ms: int) -> None:
    found = measured(sounds.wav(TONE, channels=channels))
    assert (found.length_ms, found.channels, found.media_type) == (length_ms, channels, "audio/wav")


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_of_unknown_length_is_as_long_as_what_is_there_and_says_so_from_then_on(claimed: int) -> None:
    honest = sounds.wav(TONE)
    data = bytearray(honest)
    data[4:8] = data[40:44] = struct.pack("<I", claimed)
    found = measured(bytes(data))
    assert (found.length_ms, found.data) == (1_500, honest)


def test_a_wav_with_more_behind_its_sound_is_as_long_as_what_comes_out_of_it() -> None:
    """Another `data` chunk may follow a short one."""
    data = sounds.wav(TONE)
    short = data[:40] + struct.pack("<I", 2) + data[44:46]
    forged = short + b"data" + struct.pack("<I", len(data) - 44) + data[44:]
    with contextlib.suppress(InvalidAudio):  # or it is refused
        assert measured(forged).length_ms >= 1_400


@pytest.mark.parametrize("value", [("true",), ("true", "true"), ("false", "true")])
def test_each_channel_is_held_for_however_often_it_is_asked_for(value: tuple[str, ...]) -> None:
    price = PriceVersion(1, {"audio_ms": 1}, (), 0)
    offer = VoiceOffer("acme/ear", "acme", "deepgram", Target("", "", "", frozenset()), price)
    audio = Audio(b"", "audio/wav", 1_000, 2)
    assert bound_of(audio, Listening(query={"multichannel": value}), offer).audio_ms == 2_000
    assert bound_of(audio, Listening(), offer).audio_ms == 1_000


def test_a_wav_may_have_other_chunks_before_its_sound() -> None:
    data = sounds.wav(TONE)
    assert measured(data[:12] + b"LIST\x03\x00\x00\x00abc\x00" + data[12:]).length_ms == 1_500


@pytest.mark.parametrize("rate_hz", [1, 2**32 - 1])
def test_a_header_that_makes_no_sense_is_not_believed(rate_hz: int) -> None:
    data = bytearray(sounds.wav(TONE))
    data[24:32] = struct.pack("<II", rate_hz, (rate_hz * 2) % 2**32)
    with pytest.raises(KomilionError):
        measured(bytes(data))


@pytest.mark.parametrize(
    "data", [b"RIFF\x00\x00\x00\x00WAVE", sounds.wav(b""), b"RIFF....WAVEdata\x04\x00\x00\x00abcd"]
)
def test_a_wav_without_sound_is_refused(data: bytes) -> None:
    with pytest.raises((InvalidAudio, UnsupportedAudio)):
        measured(data)


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("mp3", "audio/mpeg"), ("opus", "audio/ogg"), ("flac", "audio/flac"), ("aac", "audio/aac")],
)
def test_other_files_are_decoded(kind: str, media_type: str) -> None:
    found = measured(sounds.encoded(TONE, kind))
    assert found.length_ms == pytest.approx(1_500, abs=100)
    assert (found.media_type, found.channels) == (media_type, 1)


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(AudioTooLong):
        measured(sounds.encoded(TONE, "mp3"), Limits(longest_s=1))
