"""Who speaks when, without a trained model: voices that sound clearly different are told apart.

`speaker-diarize-lite` describes each second by its spectrum and groups what is alike. Two voices that are alike become
one speaker, and so may voices that interrupt each other, so every result says that it is heuristic.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples

RATE_HZ = 16_000
MOST_SPEAKERS = 8
SHORTEST_TURN_S = 0.5
STRETCH_S = 1200  # taken at once: 450 MB
EXCERPT_S = 15  # of one voice of one stretch, to recognize it by
BETWEEN_EXCERPTS_MS = 500  # a whole number of milliseconds of samples


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker, numbered from 0 in the order of appearance, for a stretch of time. Turns do not overlap.

    `confidence` from 0 to 1 ranks turns; it is no probability.
    """

    start_ms: int
    end_ms: int
    speaker: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Speakers:
    """What was found; `method` goes into whatever is told to the caller."""

    turns: tuple[Turn, ...]
    method: Literal["heuristic"] = "heuristic"

    @property
    def count(self) -> int:
        """How many different voices."""
        return len({turn.speaker for turn in self.turns})

    def at(self, start_ms: int, end_ms: int) -> int | None:
        """Who speaks for most of a stretch; where nobody does, the nearest; None without any turn."""
        if not self.turns:
            return None
        shares: Counter[int] = Counter()
        for turn in self.turns:
            overlap = min(end_ms, turn.end_ms) - max(start_ms, turn.start_ms)
            if overlap > 0:
                shares[turn.speaker] += overlap
        if shares:
            return shares.most_common(1)[0][0]
        return min(self.turns, key=lambda turn: max(turn.start_ms - end_ms, start_ms - turn.end_ms)).speaker


def find_speakers(samples: Samples, count: int | None = None) -> Speakers:
    """The turns in a recording at 16 kHz; `count` speakers when that is known. Blocks: 2 to 4 ms a second of audio.

    A long recording is taken in stretches, because one hour at once would take 1.3 GB. Who is who in different
    stretches is then decided by an excerpt of each voice of each stretch, all of them heard as one recording. A stretch
    in which fewer than `count` speak has one of them twice, who is then recognized as one.
    """
    size = STRETCH_S * RATE_HZ
    if len(samples) <= size:
        return Speakers(tuple(_turns(samples, count)))
    stretches = [_turns(samples[start : start + size], count) for start in range(0, len(samples), size)]
    same = _same_voices(samples, stretches, count)
    turns = [
        replace(
            turn, start_ms=turn.start_ms + number * STRETCH_S * 1000, end_ms=turn.end_ms + number * STRETCH_S * 1000
        )
        for number, stretch in enumerate(stretches)
        for turn in (replace(turn, speaker=same[number, turn.speaker]) for turn in stretch)
    ]
    order = {speaker: number for number, speaker in enumerate(dict.fromkeys(turn.speaker for turn in turns))}
    return Speakers(tuple(replace(turn, speaker=order[turn.speaker]) for turn in turns))


def _turns(samples: Samples, count: int | None) -> list[Turn]:
    from speaker_diarize_lite import Diarizer  # noqa: PLC0415 - only workers tell speakers apart

    diarizer = Diarizer(num_speakers=count, max_speakers=MOST_SPEAKERS, min_segment_s=SHORTEST_TURN_S)
    found = diarizer.diarize(pcm.to_floats(samples), sample_rate=RATE_HZ)
    numbers = {name: number for number, name in enumerate(found.speakers)}
    return [
        Turn(round(part.start_s * 1000), round(part.end_s * 1000), numbers[part.speaker], part.confidence)
        for part in found.segments
    ]


def _same_voices(samples: Samples, stretches: list[list[Turn]], count: int | None) -> dict[tuple[int, int], int]:
    """For each stretch and speaker in it, the speaker of the whole recording."""
    excerpts: list[Samples] = []
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    position_ms = 0
    for number, stretch in enumerate(stretches):
        for speaker in sorted({turn.speaker for turn in stretch}):
            excerpt = _excerpt(samples[number * STRETCH_S * RATE_HZ :], [t for t in stretch if t.speaker == speaker])
            end_ms = position_ms + pcm.duration_ms(excerpt, RATE_HZ)
            spans[number, speaker] = (position_ms, end_ms)
            excerpts += [excerpt, pcm.silence(BETWEEN_EXCERPTS_MS, RATE_HZ)]
            position_ms = end_ms + BETWEEN_EXCERPTS_MS
    voices = Speakers(tuple(_turns(np.concatenate(excerpts), count))) if excerpts else Speakers(())
    return {who: voices.at(*span) or 0 for who, span in spans.items()}


def _excerpt(samples: Samples, turns: list[Turn]) -> Samples:
    """The longest turns of a voice, some seconds of them."""
    left = EXCERPT_S * RATE_HZ
    parts: list[Samples] = []
    for turn in sorted(turns, key=lambda turn: turn.start_ms - turn.end_ms):
        part = samples[turn.start_ms * RATE_HZ // 1000 : turn.end_ms * RATE_HZ // 1000][:left]
        parts.append(part)
        left -= len(part)
        if left <= 0:
            break
    return np.concatenate(parts)
