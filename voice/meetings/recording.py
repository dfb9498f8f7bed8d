"""A file of audio as samples on the disk, and where it is cut into parts.

Hours of samples are more than a process should hold in memory for each meeting: they lie in a file that is mapped.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from komilion.common.audio import pcm
from komilion.common.audio.decode import SPEECH_RATE_HZ, USUAL_LIMITS, Decoding, Limits
from komilion.common.audio.encode import wav_header
from komilion.common.audio.pcm import Samples
from komilion.common.errors import EmptyAudio
from voice.speech.lengths import MEDIA_TYPES, OTHER_TYPE, Audio

PART_MOST_MS = 600_000
CUT_WITHIN_MS = 30_000  # before a part's latest end, where it is quietest
QUIET_MS = 300  # that is looked for there
PER_MS = SPEECH_RATE_HZ // 1_000


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a recording."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Recording:
    """A file and its samples: 16 kHz, one channel."""

    path: Path
    size_bytes: int
    media_type: str
    channels: int
    samples: Samples

    @property
    def length_ms(self) -> int:
        """How long it is."""
        return pcm.duration_ms(self.samples, SPEECH_RATE_HZ)

    def whole(self) -> Audio:
        """The file as it came."""
        return Audio(self.path.read_bytes(), self.media_type, self.length_ms, self.channels)

    def part(self, span: Span) -> Audio:
        """A stretch of it, as WAV."""
        data = pcm.to_bytes(self.samples[span.start_ms * PER_MS : span.end_ms * PER_MS])
        return Audio(wav_header(SPEECH_RATE_HZ, len(data)) + data, MEDIA_TYPES["wav"], span.end_ms - span.start_ms, 1)


@contextlib.contextmanager
def recording_of(path: Path, folder: Path, limits: Limits = USUAL_LIMITS) -> Iterator[Recording]:
    """The file's samples, in a file of `folder` that is gone after the block. Blocks.

    Raises as `komilion.common.audio.decode.Decoding` does.
    """
    with tempfile.TemporaryFile(dir=folder) as raw:
        with Decoding(path, limits) as decoding:
            for piece in decoding.pieces():
                raw.write(pcm.to_bytes(piece))
        raw.flush()
        if not raw.tell():
            raise EmptyAudio
        samples = np.memmap(raw, pcm.LITTLE_ENDIAN, mode="r")
        facts = decoding.facts
        media_type = MEDIA_TYPES.get(facts.container, OTHER_TYPE)
        yield Recording(path, path.stat().st_size, media_type, facts.channels, samples)


def cut(samples: Samples, most_ms: int = PART_MOST_MS) -> list[Span]:
    """Parts of at most so long, each cut where it is quietest near its end; together they are the whole."""
    length_ms = -(-len(samples) // PER_MS)
    spans, start_ms = list[Span](), 0
    while length_ms - start_ms > most_ms:
        end_ms = _quietest(samples, start_ms + most_ms - min(CUT_WITHIN_MS, most_ms // 2), start_ms + most_ms)
        spans.append(Span(start_ms, end_ms))
        start_ms = end_ms
    return [*spans, Span(start_ms, length_ms)]


def _quietest(samples: Samples, from_ms: int, to_ms: int) -> int:
    """The middle of the quietest stretch of `QUIET_MS` in there."""
    size = QUIET_MS * PER_MS // 2
    stretch = samples[from_ms * PER_MS : to_ms * PER_MS].astype(np.float32)
    blocks = len(stretch) // size
    if blocks < 2:
        return to_ms
    power = np.square(stretch[: blocks * size].reshape(blocks, size)).mean(axis=1)
    return from_ms + (int(np.argmin(power[:-1] + power[1:])) + 1) * QUIET_MS // 2
