"""Speech for tests, by the program espeak-ng (a package of Debian and Ubuntu, as of macOS's brew)."""

import shutil
import subprocess
from functools import cache

import pytest

from komilion.common.audio import pcm

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
WOMAN, MAN = "en-us+f5", "en-us+m3"


@cache
def spoken(text: str, voice: str = WOMAN, rate_hz: int = 16_000, words_per_minute: int = 160) -> pcm.Samples:
    """A sentence in one of espeak-ng's voices."""
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "--stdout", text]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    samples = pcm.resample(pcm.from_bytes(wav[44 : len(wav) // 2 * 2]), 22_050, rate_hz)
    samples.flags.writeable = False
    return samples
