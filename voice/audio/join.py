"""Pieces of speech, as different calls made them, become one recording without clicks and without holes.

Each piece loses the silence at its edges, rises from zero and falls to zero within a few milliseconds, and is
followed by the same short pause. A piece may come in chunks: only its last milliseconds and its silences are held
back.
"""

import numpy as np

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples

PAUSE_MS = 180  # between two sentences
EDGE_MS = 20  # of silence that stays around a piece, so that soft consonants are not cut
FADE_MS = 4
LOUD = 100  # of 32,768: what is below is silence, about -50 dB of full scale


class Joiner:
    """Feed the chunks of a piece, end the piece, go on with the next."""

    def __init__(self, rate_hz: int, pause_ms: int = PAUSE_MS) -> None:
        self._pause = pcm.silence(pause_ms, rate_hz)
        self._edge = EDGE_MS * rate_hz // 1000
        self._fade = FADE_MS * rate_hz // 1000
        self._rise = np.linspace(0, 1, self._fade, dtype=np.float32)
        self._kept = np.zeros(0, np.int16)
        self._sounds = False  # the piece has begun to sound
        self._said_something = False  # any piece has

    def feed(self, samples: Samples) -> Samples:
        """What of the piece is certain."""
        self._kept = np.concatenate([self._kept, samples])
        loud = np.flatnonzero(np.abs(self._kept.astype(np.int32)) > LOUD)
        if not len(loud):
            if not self._sounds:
                self._kept = self._kept[-self._edge :]
            return self._kept[:0]
        if not self._sounds:
            begin = max(int(loud[0]) - self._edge, 0)
            if len(self._kept) - begin < 2 * self._fade:
                return self._kept[:0]
            self._sounds = True
            self._kept = self._kept[begin:].copy()
            self._kept[: self._fade] = self._kept[: self._fade] * self._rise
            loud = loud - begin
        certain = max(int(loud[-1]) + 1 - self._fade, 0)
        ready, self._kept = self._kept[:certain], self._kept[certain:]
        return self._after_pause(ready)

    def end_piece(self) -> Samples:
        """The rest of the piece. A piece of silence alone leaves nothing."""
        kept, self._kept = self._kept, np.zeros(0, np.int16)
        loud = np.flatnonzero(np.abs(kept.astype(np.int32)) > LOUD)
        sounds, self._sounds = self._sounds, False
        if not sounds and not len(loud):
            return kept[:0]
        end = kept[: (int(loud[-1]) + 1 if len(loud) else 0) + self._edge].copy()
        fade = min(self._fade, len(end))
        if fade:
            end[-fade:] = end[-fade:] * self._rise[::-1][-fade:]
        ready = self._after_pause(end)
        self._said_something = True
        return ready

    def _after_pause(self, ready: Samples) -> Samples:
        """With the pause before it when this is the first that sounds of a later piece."""
        if not len(ready) or not self._said_something:
            return ready
        self._said_something = False
        return np.concatenate([self._pause, ready])


def join(pieces: list[Samples], rate_hz: int, pause_ms: int = PAUSE_MS) -> Samples:
    """Whole pieces as one recording."""
    joiner = Joiner(rate_hz, pause_ms)
    parts: list[Samples] = []
    for piece in pieces:
        parts += [joiner.feed(piece), joiner.end_piece()]
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)
