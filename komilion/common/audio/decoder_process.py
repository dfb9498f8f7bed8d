"""The process that decodes one file of a stranger: it holds no secret, opens nothing and can use only so much.

Run as a program by `decode`, never imported: nothing of Komilion is imported here. Standard input is the file; the
argument is a JSON object of limits. Standard output is one line of JSON about the file and then, unless only the
facts are asked for, PCM16 (little-endian, one channel). The exit code tells how it ended.

Before the first byte is looked at, the process gives up the right to open files and sockets at all (it may hold no more
descriptors than it has), so a playlist or a reference inside a container leads nowhere; and FFmpeg may use only
readers and decoders of the lists below, none of which is for video.
"""

import io
import json
import os
import resource
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import av.error

# PyAV imports these only when it meets a stream or a codec of that kind, which is after the last file may be opened.
# isort: split
import av.audio.codeccontext
import av.audio.stream
import av.subtitles.codeccontext
import av.subtitles.stream
import av.video.codeccontext
import av.video.stream

NOTHING_INSIDE, NO_AUDIO, NOT_AUDIO, CORRUPT, TOO_LONG, TOO_COSTLY = range(20, 26)  # exit codes

CONTAINERS = (
    *("wav", "w64", "aiff", "au", "caf", "flac", "mp3", "aac", "ac3", "eac3", "amr", "amrnb", "amrwb", "ogg", "wv"),
    *("mov", "matroska", "webm", "asf", "avi", "flv", "mpeg", "mpegts", "loas"),
)
CODECS = (
    *("aac", "aac_latm", "ac3", "eac3", "alac", "amrnb", "amrwb", "flac", "gsm", "gsm_ms", "opus", "libopus", "vorbis"),
    *("mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "speex", "wavpack", "wmav1", "wmav2", "wmapro"),
    *("adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "g722", "pcm_alaw", "pcm_mulaw", "pcm_s8", "pcm_u8"),
    *("pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_u16le", "pcm_u24le"),
    *("pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_u32le", "pcm_bluray", "pcm_dvd"),
)
READ_BYTES = 2**18
LEAST_RATE_HZ, MOST_RATE_HZ = 4_000, 768_000
MOST_CHANNELS = 64


class Refusal(Exception):
    """Ends the process with that exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main(limits: dict[str, Any]) -> None:
    """Tell the facts and, if asked, the samples. Raises `Refusal`."""
    source = io.FileIO(0, closefd=False)
    out = sys.stdout.buffer
    if not os.fstat(0).st_size:
        raise Refusal(NOTHING_INSIDE)
    _confine(limits)
    with _opened(source) as container:
        stream = _audio_of(container)
        facts = {
            "container": container.format.name.partition(",")[0],
            "codec": stream.codec_context.codec.canonical_name,
            "rate_hz": stream.codec_context.sample_rate,
            "channels": stream.codec_context.channels,
        }
        if limits["only_facts"]:
            facts["duration_ms"] = _length_ms(container, stream, limits["longest_s"])
        out.write(json.dumps(facts).encode() + b"\n")
        if not limits["only_facts"]:
            _decode(container, stream, limits, out)
    out.flush()


def _confine(limits: dict[str, Any]) -> None:
    wanted = {
        resource.RLIMIT_CPU: limits["cpu_s"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 3,
    }
    if sys.platform == "linux":  # elsewhere the limit is not kept or cannot be set
        wanted[resource.RLIMIT_AS] = limits["memory_bytes"]
    for what, most in wanted.items():
        resource.setrlimit(what, (most, most))


def _opened(source: io.FileIO) -> Any:
    options = {"format_whitelist": ",".join(CONTAINERS), "codec_whitelist": ",".join(CODECS), "protocol_whitelist": ","}
    try:
        return av.open(source, container_options=options, buffer_size=READ_BYTES, io_open=_open_nothing)
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
        raise Refusal(NOT_AUDIO) from error


def _open_nothing(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError("A file may not refer to others.")


def _audio_of(container: Any) -> Any:
    stream = container.streams.best("audio")
    if stream is None:
        raise Refusal(NO_AUDIO)
    context = stream.codec_context
    if context is None or context.codec.name not in CODECS:
        raise Refusal(NOT_AUDIO)
    context.thread_count = 1
    if not LEAST_RATE_HZ <= context.sample_rate <= MOST_RATE_HZ or not 1 <= context.channels <= MOST_CHANNELS:
        raise Refusal(CORRUPT)
    return stream


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Packets until the end, or until the file is cut."""
    try:
        yield from container.demux(stream)
    except (av.error.InvalidDataError, av.error.EOFError):
        return


def _length_ms(container: Any, stream: Any, longest_s: int) -> int:
    """What the packets last together, without decoding them; headers may claim anything."""
    total = 0
    for packet in _packets(container, stream):
        total += packet.duration or 0
        if total * stream.time_base > longest_s:
            raise Refusal(TOO_LONG)
    if not total:
        raise Refusal(CORRUPT)
    return int(total * stream.time_base * 1000)


def _decode(container: Any, stream: Any, limits: dict[str, Any], out: BinaryIO) -> None:
    left = limits["longest_s"] * limits["rate_hz"]
    good = bad = 0
    resampling = _Resampling(limits["rate_hz"])
    for packet in _packets(container, stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            bad += 1
            continue
        good += 1
        for frame in frames:
            for piece in resampling.feed(frame):
                left -= len(piece) // 2
                if left < 0:
                    raise Refusal(TOO_LONG)
                out.write(piece)
    for piece in resampling.finish():
        out.write(piece)
    if not resampling.produced or bad > good:
        raise Refusal(CORRUPT)


class _Resampling:
    """Frames to PCM16 at one rate and one channel, also where the file changes its form on the way."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._resampler: Any = None
        self._form: tuple[Any, ...] = ()
        self.produced = 0

    def feed(self, frame: Any) -> Iterator[bytes]:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            yield from self.finish()
            if not LEAST_RATE_HZ <= frame.sample_rate <= MOST_RATE_HZ:
                raise Refusal(CORRUPT)
            self._form = form
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=self._rate_hz)
        frame.pts = None  # what a file says of the time is not used: gaps are not filled, jumps not followed
        yield from self._pieces(frame)

    def finish(self) -> Iterator[bytes]:
        if self._resampler is not None:
            yield from self._pieces(None)
            self._resampler, self._form = None, ()

    def _pieces(self, frame: Any) -> Iterator[bytes]:
        for changed in self._resampler.resample(frame):
            piece = bytes(changed.planes[0])[: changed.samples * 2]  # a plane is padded
            self.produced += changed.samples
            yield piece


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except Refusal as refusal:
        os._exit(refusal.code)
    except MemoryError:  # FFmpeg's too
        os._exit(TOO_COSTLY)
    except av.error.FFmpegError:
        os._exit(CORRUPT)
    except BrokenPipeError:
        os._exit(0)
    os._exit(0)  # without the clean-up of libraries, which has nothing to do
