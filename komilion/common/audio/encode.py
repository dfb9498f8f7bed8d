"""Samples to audio files, as they come: mp3, Opus, AAC, FLAC, WAV and bare PCM.

WAV is written with a header of unknown length, as streams of WAV are, unless the length is told. Encoding a second
of speech takes one to five milliseconds of processor time, so a long text belongs into a thread.
"""

import struct
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples

type Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

FORMATS: tuple[str, ...] = get_args(Format.__value__)
CONTENT_TYPES: dict[str, str] = {  # as OpenAI's speech endpoint answers
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
UNKNOWN_LENGTH = 0xFFFFFFFF
WAV_HEADER_BYTES = 44


class Encoder(Protocol):
    """Samples in, bytes of a file out; some bytes may come only later or at the end."""

    def feed(self, samples: Samples) -> bytes:
        """Encode on."""
        ...

    def finish(self) -> bytes:
        """The last bytes. Nothing may be fed after it."""
        ...


def encoder(form: str, rate_hz: int) -> Encoder:
    """An encoder of one of `FORMATS` for speech of that sample rate. Raises `ValueError` for another format."""
    if form == "pcm":
        return _Bare(b"")
    if form == "wav":
        return _Bare(wav_header(rate_hz))
    if form not in _WAYS:
        raise ValueError(f"There is no encoder for {form}.")
    return _Encoded(_WAYS[form], rate_hz)


def encode(samples: Samples, form: str, rate_hz: int) -> bytes:
    """A whole file. Raises `ValueError` for an unknown format."""
    if form == "wav":
        return wav_header(rate_hz, len(samples) * pcm.BYTES_PER_SAMPLE) + pcm.to_bytes(samples)
    writing = encoder(form, rate_hz)
    return writing.feed(samples) + writing.finish()


def wav_header(rate_hz: int, length_bytes: int | None = None) -> bytes:
    """The header of a WAV file of PCM16, one channel; of a stream when the length of the samples is not known."""
    if length_bytes is None:
        riff, data = UNKNOWN_LENGTH, UNKNOWN_LENGTH
    else:
        riff, data = length_bytes + WAV_HEADER_BYTES - 8, length_bytes
    block = pcm.BYTES_PER_SAMPLE
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, rate_hz * block, block, 8 * block)
    return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + form + struct.pack("<4sI", b"data", data)


@dataclass(frozen=True, slots=True)
class _Way:
    """How FFmpeg makes one format. `rates_hz`: those that it can have; others are brought to the next one above."""

    container: str
    codec: str
    sample_format: str
    rates_hz: tuple[int, ...]
    bit_rate: int | None
    options: dict[str, str]


_ALL_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_WAYS: dict[str, _Way] = {
    # Without the header of lengths, which would have to be written last.
    "mp3": _Way("mp3", "libmp3lame", "s16p", _ALL_RATES, 64_000, {"write_xing": "0", "id3v2_version": "0"}),
    # A page every fifth of a second: the first one is what a listener waits for.
    "opus": _Way("ogg", "libopus", "s16", (8_000, 12_000, 16_000, 24_000, 48_000), 32_000, {"page_duration": "200000"}),
    "aac": _Way("adts", "aac", "fltp", _ALL_RATES, 64_000, {}),
    "flac": _Way("flac", "flac", "s16", _ALL_RATES, None, {}),
}


class _Bare:
    """PCM16 after a header."""

    def __init__(self, header: bytes) -> None:
        self._header = header

    def feed(self, samples: Samples) -> bytes:
        data = self._header + pcm.to_bytes(samples)
        self._header = b""
        return data

    def finish(self) -> bytes:
        return self.feed(np.zeros(0, np.int16))


class _Written:
    """The file that FFmpeg writes, which cannot be sought in."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


class _Encoded:
    """A format of FFmpeg's."""

    def __init__(self, way: _Way, rate_hz: int) -> None:
        import av  # noqa: PLC0415 - FFmpeg, for those who encode

        self._av = av
        target_hz = next((rate for rate in way.rates_hz if rate >= rate_hz), way.rates_hz[-1])
        self._rate_hz = target_hz
        self._resampling = pcm.Resampler(rate_hz, target_hz)
        self._file = _Written()
        self._container: Any = av.open(self._file, "w", format=way.container, options=way.options)
        stream: Any = self._container.add_stream(way.codec, rate=target_hz, layout="mono")
        stream.codec_context.format = way.sample_format
        if way.bit_rate is not None:
            stream.bit_rate = way.bit_rate
        self._stream = stream
        self._samples_so_far = 0

    def feed(self, samples: Samples) -> bytes:
        self._encode(self._resampling.feed(samples))
        return self._file.take()

    def finish(self) -> bytes:
        self._encode(self._resampling.finish())
        if not self._samples_so_far:
            self._encode(pcm.silence(20, self._rate_hz))  # a file of nothing is no file to many players
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._file.take()

    def _encode(self, samples: Samples) -> None:
        if not len(samples):
            return
        frame = self._av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self._rate_hz
        frame.pts = self._samples_so_far
        self._samples_so_far += len(samples)
        self._container.mux(self._stream.encode(frame))
