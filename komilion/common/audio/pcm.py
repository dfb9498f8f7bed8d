"""PCM16 (signed, little-endian, one channel) as numpy arrays: bytes, floats, sample rates, G.711, levels.

G.711 is ITU-T Recommendation G.711: one byte a sample, mu-law in North America and Japan, A-law elsewhere.
"""

import math
from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

type Samples = NDArray[np.int16]
type Floats = NDArray[np.float32]

BYTES_PER_SAMPLE = 2
FULL_SCALE = 32_768
SILENCE_DBFS = -120.0  # what a level of exact silence is called
MU_LAW_BIAS = 132
MU_LAW_CLIP = 32_635
LITTLE_ENDIAN = np.dtype("<i2")


def from_bytes(data: bytes | bytearray | memoryview) -> Samples:
    """The samples of PCM16 bytes. Raises `ValueError` when the last sample is cut in two."""
    if len(data) % BYTES_PER_SAMPLE:
        raise ValueError("PCM16 has two bytes for each sample.")
    return np.frombuffer(data, LITTLE_ENDIAN).astype(np.int16, copy=False)


def to_bytes(samples: Samples) -> bytes:
    """PCM16 bytes of samples."""
    return samples.astype(LITTLE_ENDIAN, copy=False).tobytes()


def to_floats(samples: Samples) -> Floats:
    """Samples from -1 to just under 1."""
    return samples.astype(np.float32) / np.float32(FULL_SCALE)


def from_floats(floats: Floats) -> Samples:
    """The nearest samples; what is beyond full scale is clipped."""
    return np.clip(np.rint(floats * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def silence(duration_ms: int, rate_hz: int) -> Samples:
    """That long without a sound."""
    return np.zeros(duration_ms * rate_hz // 1000, np.int16)


def duration_ms(samples: Samples, rate_hz: int) -> int:
    """How long it plays, rounded up to whole milliseconds."""
    return -(-len(samples) * 1000 // rate_hz)


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """All of a recording at another sample rate."""
    if from_hz == to_hz:
        return samples
    changed: Samples = soxr.resample(samples, from_hz, to_hz)
    return changed


class Resampler:
    """A recording at another sample rate, piece by piece; a few milliseconds stay inside until `finish`."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="int16")

    def feed(self, samples: Samples) -> Samples:
        """What is certain so far."""
        return self._take(samples, last=False)

    def finish(self) -> Samples:
        """The rest. Nothing may be fed after it."""
        return self._take(np.zeros(0, np.int16), last=True)

    def _take(self, samples: Samples, *, last: bool) -> Samples:
        if self._stream is None:
            return samples
        changed: Samples = self._stream.resample_chunk(samples, last=last)
        return changed


def mu_law_to_samples(data: bytes) -> Samples:
    """G.711 mu-law to PCM16."""
    return _mu_law_values()[np.frombuffer(data, np.uint8)]


def samples_to_mu_law(samples: Samples) -> bytes:
    """PCM16 to G.711 mu-law."""
    return _mu_law_codes()[samples.view(np.uint16)].tobytes()


def a_law_to_samples(data: bytes) -> Samples:
    """G.711 A-law to PCM16."""
    return _a_law_values()[np.frombuffer(data, np.uint8)]


def samples_to_a_law(samples: Samples) -> bytes:
    """PCM16 to G.711 A-law."""
    return _a_law_codes()[samples.view(np.uint16)].tobytes()


def level_dbfs(samples: Samples) -> float:
    """The mean level in decibels of full scale (a square wave of full scale has 0)."""
    if not len(samples):
        return SILENCE_DBFS
    power = float(np.mean(np.square(samples.astype(np.float64))))
    return 10 * math.log10(power / FULL_SCALE**2) if power else SILENCE_DBFS


def clipped_share(samples: Samples) -> float:
    """What share of the samples is at full scale, from 0 to 1."""
    if not len(samples):
        return 0.0
    return float(np.mean((samples >= FULL_SCALE - 1) | (samples <= -FULL_SCALE)))


@cache
def _every_sample() -> NDArray[np.int32]:
    """All 65,536 samples in the order of their bits."""
    return np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)


@cache
def _mu_law_values() -> Samples:
    codes = ~np.arange(256, dtype=np.uint8)
    mantissa, exponent = (codes & 0x0F).astype(np.int32), ((codes >> 4) & 0x07).astype(np.int32)
    magnitude = ((2 * mantissa + 33) << (exponent + 2)) - MU_LAW_BIAS
    return np.where(codes & 0x80, -magnitude, magnitude).astype(np.int16)


@cache
def _mu_law_codes() -> NDArray[np.uint8]:
    samples = _every_sample()
    magnitude = np.minimum(np.abs(samples), MU_LAW_CLIP) + MU_LAW_BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(samples < 0, 0x80, 0)
    codes: NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return codes


@cache
def _a_law_values() -> Samples:
    codes = (np.arange(256, dtype=np.int32)) ^ 0x55
    mantissa, exponent = codes & 0x0F, (codes >> 4) & 0x07
    magnitude = np.where(exponent == 0, 16 * mantissa + 8, (16 * mantissa + 264) << np.maximum(exponent - 1, 0))
    return np.where(codes & 0x80, magnitude, -magnitude).astype(np.int16)


@cache
def _a_law_codes() -> NDArray[np.uint8]:
    samples = _every_sample()
    magnitude = np.where(samples >= 0, samples, ~samples) >> 3  # of 13 bits, as the recommendation has it
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    mantissa = (magnitude >> np.maximum(exponent, 1)) & 0x0F
    sign = np.where(samples >= 0, 0x80, 0)
    codes: NDArray[np.uint8] = ((sign | (exponent << 4) | mantissa) ^ 0x55).astype(np.uint8)
    return codes
