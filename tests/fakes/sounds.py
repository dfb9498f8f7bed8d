"""Sounds for tests, made on the spot: tones and silence as PCM, WAV, or what an encoder makes of them."""

import io
import wave
from typing import Any, cast

import av
import numpy

RATE_HZ = 24_000
CODECS = {"mp3": ("mp3", "libmp3lame"), "opus": ("ogg", "libopus"), "flac": ("flac", "flac"), "aac": ("adts", "aac")}


def tone(seconds: float, hertz: float = 440.0, rate_hz: int = RATE_HZ, loudness: float = 0.3) -> bytes:
    """PCM: 16 bit, little-endian, mono; fades in and out, as speech does."""
    count = round(seconds * rate_hz)
    fade = max(1, min(count // 4, rate_hz // 100))
    place = numpy.arange(count)
    edge = numpy.minimum(1.0, numpy.minimum(place, count - 1 - place) / fade)
    samples = loudness * 32_767 * edge * numpy.sin(2 * numpy.pi * hertz * place / rate_hz)
    return bytes(numpy.rint(samples).astype("<i2").tobytes())


def wav(pcm: bytes, rate_hz: int = RATE_HZ, channels: int = 1) -> bytes:
    """PCM in a WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return out.getvalue()


def encoded(pcm: bytes, kind: str, rate_hz: int = RATE_HZ, options: dict[str, str] | None = None) -> bytes:
    """Mono PCM as `mp3`, `opus` (in Ogg), `flac` or `aac` (ADTS); `options` are FFmpeg's of the encoder."""
    container, codec = CODECS[kind]
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = cast("Any", file.add_stream(codec, rate=rate_hz, layout="mono", options=options))
        samples = numpy.frombuffer(pcm, dtype="<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return out.getvalue()


def seconds_of_wav(data: bytes) -> float | None:
    """How long a WAV file is; None where it is none."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            return file.getnframes() / file.getframerate()
    except (wave.Error, EOFError):
        return None
