"""Where speech begins and ends in a stream, by Silero's voice activity detector.

The model looks at 512 new samples at a time (32 ms at 16 kHz, with the 64 before them) and says how likely there is
speech in them. The parameters are those of OpenAI's `server_vad`
(https://platform.openai.com/docs/guides/realtime-vad). One window takes 0.13 ms of processor time, 4 ms a second of
audio, in the calling thread.
"""

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples

if TYPE_CHECKING:
    import onnxruntime

RATE_HZ = 16_000
WINDOW = 512  # samples
CONTEXT = 64  # samples before the window that the model sees again
MODEL_FILE = "silero_vad_16k_op15.onnx"
ONSET_WINDOWS = 2  # in a row: a click is not speech
HYSTERESIS = 0.15  # speech goes on above the threshold less this, as in the makers' own code
ERRORS_ONLY = 3  # of onnxruntime's levels of logging


@dataclass(frozen=True, slots=True)
class ServerVad:
    """`turn_detection` of type `server_vad`, with OpenAI's defaults."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech began, less the padding before it. In samples from the beginning of the stream."""

    at_sample: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The silence after speech lasted long enough: the end of that silence, as OpenAI counts."""

    at_sample: int


type SpeechEvent = SpeechStarted | SpeechStopped


class SpeechDetector:
    """The state of one stream. Not for two threads at once; the model behind it is shared."""

    def __init__(self, settings: ServerVad = ServerVad(), position: int = 0) -> None:
        """`position`: that of the next sample in the stream."""
        self._settings = settings
        self._padding = settings.prefix_padding_ms * RATE_HZ // 1000
        self._silence = settings.silence_duration_ms * RATE_HZ // 1000
        self.speaking = False
        self.position = position  # of the first sample that was not looked at
        self._waiting = np.zeros(0, np.float32)
        self.clear()

    def clear(self) -> None:
        """Forget what was heard, as after a cleared buffer; positions go on."""
        self.position += len(self._waiting)
        self._waiting = np.zeros(0, np.float32)
        self._context = np.zeros(CONTEXT, np.float32)
        self._state = np.zeros((2, 1, 128), np.float32)
        self._loud_windows = 0
        self._quiet_since: int | None = None
        self._earliest = self.position  # padding does not reach into what came before
        self.speaking = False

    def feed(self, samples: Samples) -> list[SpeechEvent]:
        """What the samples (16 kHz, any number) decide."""
        self._waiting = np.concatenate([self._waiting, pcm.to_floats(samples)])
        events: list[SpeechEvent] = []
        whole = len(self._waiting) // WINDOW * WINDOW
        for start in range(0, whole, WINDOW):
            event = self._decide(self._likelihood(self._waiting[start : start + WINDOW]))
            if event is not None:
                events.append(event)
        self._waiting = self._waiting[whole:]
        return events

    def _likelihood(self, window: pcm.Floats) -> float:
        seen = np.concatenate([self._context, window])
        inputs = {"input": seen[np.newaxis], "state": self._state, "sr": _RATE}
        output, self._state = _model().run(None, inputs)
        self._context = window[-CONTEXT:]
        self.position += WINDOW
        return float(output[0, 0])

    def _decide(self, likelihood: float) -> SpeechEvent | None:
        if not self.speaking:
            self._loud_windows = self._loud_windows + 1 if likelihood >= self._settings.threshold else 0
            if self._loud_windows < ONSET_WINDOWS:
                return None
            self.speaking, self._quiet_since, self._loud_windows = True, None, 0
            return SpeechStarted(max(self.position - ONSET_WINDOWS * WINDOW - self._padding, self._earliest))
        if likelihood >= max(self._settings.threshold - HYSTERESIS, 0.01):
            self._quiet_since = None
            return None
        if self._quiet_since is None:
            self._quiet_since = self.position - WINDOW
        if self.position - self._quiet_since < self._silence:
            return None
        self.speaking, self._earliest = False, self.position
        return SpeechStopped(self.position)


_RATE = np.array(RATE_HZ, np.int64)


def load() -> None:
    """Load the model, which the first `SpeechDetector` would otherwise do in the middle of a conversation. Blocks.

    Raises `FileNotFoundError` when its wheel is missing.
    """
    _model()


@cache
def _model() -> "onnxruntime.InferenceSession":
    """One session for the process; its runs are safe side by side. Takes a tenth of a second and 45 MB."""
    import onnxruntime  # noqa: PLC0415 - not for a process that hears nobody

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(str(find_model()), options, providers=["CPUExecutionProvider"])


def find_model() -> Path:
    """The weights inside the `silero-vad` wheel, whose code, which imports PyTorch, is not run.

    Raises `FileNotFoundError` when the wheel is missing.
    """
    spec = importlib.util.find_spec("silero_vad")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "data" / MODEL_FILE
        if path.exists():
            return path
    raise FileNotFoundError("The wheel silero-vad with the voice activity detector is not installed.")
