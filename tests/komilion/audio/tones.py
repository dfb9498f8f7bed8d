"""Audio made for tests: tones, noise, and files that FFmpeg writes."""

import io

import numpy as np

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples


def tone(hertz: float, seconds: float, rate_hz: int = 16_000, amplitude: float = 0.5) -> Samples:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return pcm.from_floats((amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32))


def noise(seconds: float, rate_hz: int = 16_000, amplitude: float = 0.1) -> Samples:
    generator = np.random.default_rng(7)
    return pcm.from_floats((amplitude * generator.standard_normal(round(seconds * rate_hz))).astype(np.float32))


def pitch_hz(samples: Samples, rate_hz: int) -> float:
    """The frequency with the most energy."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate_hz / len(samples))


def film(*, with_audio: bool) -> bytes:
    """A second of moving picture (MPEG-4 in Matroska), with a tone of 440 Hz or silent."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        picture = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        sound = container.add_stream("aac", rate=16_000, layout="mono") if with_audio else None
        for shade in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade * 20, np.uint8), format="rgb24")
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(tone(440, 1).reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate = 16_000
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return file.getvalue()
