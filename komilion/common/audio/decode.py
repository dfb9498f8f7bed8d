"""Audio files of strangers, of any common form, to samples.

FFmpeg reads dozens of formats, and a file is written by whoever sends it. So each is decoded by a process of its own
(`decoder_process`) that has no environment, opens nothing and may use only so much memory, processor time and
wall-clock time, for only so many seconds of audio. What the file says of itself is not believed.
"""

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from komilion.common.audio import pcm
from komilion.common.audio.pcm import Samples
from komilion.common.errors import (
    AudioTooCostly,
    AudioTooLong,
    EmptyAudio,
    InternalError,
    InvalidAudio,
    KomilionError,
    NoAudioTrack,
    UnsupportedAudio,
)

PROGRAM = Path(__file__).with_name("decoder_process.py")
SPEECH_RATE_HZ = 16_000  # what models of speech are made for
READ_BYTES = 2**18
FACTS_BYTES = 4_096
KILLED_BY_LIMITS = (-signal.SIGKILL, -signal.SIGXCPU, -signal.SIGSEGV, -signal.SIGABRT)  # some allocators abort
ENDS: dict[int, type[KomilionError]] = {
    20: EmptyAudio,
    21: NoAudioTrack,
    22: UnsupportedAudio,
    23: InvalidAudio,
    24: AudioTooLong,
    25: AudioTooCostly,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What decoding one file may take."""

    longest_s: int = 6 * 3600  # of audio
    cpu_s: int = 180
    wall_clock_s: int = 600
    memory_bytes: int = 2**30  # of address space, on Linux alone: macOS has no limit that it keeps


USUAL_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """What a file is. `codec` and `container` are FFmpeg's names."""

    container: str
    codec: str
    rate_hz: int
    channels: int


class Decoding:
    """One file on its way to samples: a context manager, to be read to its end.

    Raises when it is entered or read: `EmptyAudio`, `NoAudioTrack`, `UnsupportedAudio` (415), `InvalidAudio`,
    `AudioTooLong`, `AudioTooCostly`. What was read before an error is good audio, and may be all that there is.
    """

    def __init__(self, source: Path | bytes, limits: Limits = USUAL_LIMITS, *, rate_hz: int = SPEECH_RATE_HZ) -> None:
        self._source = source
        self._limits = limits
        self._rate_hz = rate_hz
        self.facts: AudioFacts

    def __enter__(self) -> Self:
        self._process = _start(self._source, self._limits, self._rate_hz, only_facts=False)
        try:
            self.facts = AudioFacts(**self._process.facts())
        except BaseException:
            self._process.end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.end()

    def pieces(self) -> Iterator[Samples]:
        """The samples in order, some seconds at a time."""
        rest = b""
        while data := self._process.out.read(READ_BYTES):
            data = rest + data
            whole = len(data) - len(data) % pcm.BYTES_PER_SAMPLE
            rest = data[whole:]
            yield pcm.from_bytes(data[:whole])
        self._process.check()


def decode(source: Path | bytes, limits: Limits = USUAL_LIMITS, *, rate_hz: int = SPEECH_RATE_HZ) -> Samples:
    """All samples of a file in memory: 115 MB an hour at 16 kHz. Raises as `Decoding` does. Blocks."""
    with Decoding(source, limits, rate_hz=rate_hz) as decoding:
        pieces = list(decoding.pieces())
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)


def probe(source: Path | bytes, limits: Limits = USUAL_LIMITS) -> tuple[AudioFacts, int]:
    """What a file is and how many milliseconds its packets last together, without decoding them.

    The length is what the packets say, which a hostile file can lie about; `decode` counts. Raises as `Decoding` does.
    Blocks.
    """
    process = _start(source, limits, SPEECH_RATE_HZ, only_facts=True)
    try:
        facts = process.facts()
        process.check()
    finally:
        process.end()
    length_ms = facts.pop("duration_ms")
    return AudioFacts(**facts), length_ms


class _Process:
    """The child, its output, and the clock that ends it."""

    def __init__(self, source: IO[bytes], argument: dict[str, Any], wall_clock_s: int) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM), json.dumps(argument)],
            stdin=source,
            stdout=subprocess.PIPE,
            env={},  # it needs none of our secrets
        )
        assert self._child.stdout is not None
        self.out = self._child.stdout
        self._clock = threading.Timer(wall_clock_s, self._child.kill)
        self._clock.daemon = True
        self._clock.start()

    def facts(self) -> dict[str, Any]:
        line = self.out.readline(FACTS_BYTES)
        if not line.endswith(b"\n"):
            self.check()
            raise InternalError()
        facts: dict[str, Any] = json.loads(line)
        return facts

    def check(self) -> None:
        """Wait for the end of the child. Raises what its exit code says."""
        code = self._child.wait()
        if code in KILLED_BY_LIMITS:
            raise AudioTooCostly()
        if code:
            raise ENDS.get(code, InternalError)()

    def end(self) -> None:
        self._clock.cancel()
        self._child.kill()
        self._child.wait()
        self.out.close()


def _start(source: Path | bytes, limits: Limits, rate_hz: int, *, only_facts: bool) -> _Process:
    argument = {
        "longest_s": limits.longest_s,
        "cpu_s": limits.cpu_s,
        "memory_bytes": limits.memory_bytes,
        "rate_hz": rate_hz,
        "only_facts": only_facts,
    }
    with _as_file(source) as file:  # the child has a descriptor of its own
        return _Process(file, argument, limits.wall_clock_s)


def _as_file(source: Path | bytes) -> IO[bytes]:
    if isinstance(source, Path):
        return source.open("rb")
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    file.write(source)
    file.seek(0)
    return file
