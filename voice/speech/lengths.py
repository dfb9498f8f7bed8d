"""How long an audio file is, which bounds what its transcription may cost: measured, and not as the file claims.

A file of bare samples is as long as its bytes; everything else is decoded, in a confined process, to its end.
"""

import struct
import threading
from dataclasses import dataclass, replace

from komilion.common.audio.decode import SPEECH_RATE_HZ, USUAL_LIMITS, Decoding, Limits
from komilion.common.money import ceil_div
from voice.threads import Workshop

REQUEST_LIMITS = replace(USUAL_LIMITS, cpu_s=60, wall_clock_s=120)  # of a file that somebody waits for
DECODED_AT_ONCE = 4  # files, in one process
DECODED_LATER = 64  # and those that wait for that
DECODED_OF_EACH = 24  # organization
LEAST_RATE_HZ, MOST_RATE_HZ = 4_000, 768_000
SAMPLE_CODES = (1, 3, 6, 7)  # of WAVE: integers, floats, A-law, mu-law; all of a fixed size

# FFmpeg's names of containers; what providers are told, whatever the sender called it.
MEDIA_TYPES = {
    "wav": "audio/wav",
    "w64": "audio/x-w64",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mov": "audio/mp4",
    "matroska": "audio/webm",
    "aiff": "audio/aiff",
    "amr": "audio/amr",
    "asf": "audio/x-ms-wma",
}
OTHER_TYPE = "application/octet-stream"

_workshop = Workshop("decoder", threads=DECODED_AT_ONCE, waiting=DECODED_LATER, each=DECODED_OF_EACH)


@dataclass(frozen=True, slots=True)
class Audio:
    """An audio file: `length_ms` is that of one channel."""

    data: bytes
    media_type: str
    length_ms: int
    channels: int


async def measure(data: bytes, organization_id: int, limits: Limits = REQUEST_LIMITS) -> Audio:
    """What a file is and how long, a WAV with its true sizes.

    Raises as `komilion.common.audio.decode.Decoding` and `Workshop.run` do.
    """
    data = with_true_sizes(data)
    found = _plain_wav(data)
    if found is not None:
        return found
    gone = threading.Event()
    return await _workshop.run(organization_id, lambda: _decoded(data, limits, gone), gone)


def with_true_sizes(data: bytes) -> bytes:
    """A WAV file that was written as a stream, or cut, with what it has in place of what its header claims. A provider
    may believe that.
    """
    place = 12
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return data
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        place += 8
        rest = len(data) - place
        if name == b"data" and size > rest:
            head = b"RIFF" + struct.pack("<I", len(data) - 8) + data[8 : place - 4] + struct.pack("<I", rest)
            return head + data[place:]
        place += size + size % 2
    return data


def _decoded(data: bytes, limits: Limits, gone: threading.Event) -> Audio:
    """Until it is `gone` who asks."""
    samples = 0
    with Decoding(data, limits) as decoding:
        for piece in decoding.pieces():
            samples += len(piece)
            if gone.is_set():
                break
    facts = decoding.facts
    media_type = MEDIA_TYPES.get(facts.container, OTHER_TYPE)
    return Audio(data, media_type, ceil_div(samples * 1000, SPEECH_RATE_HZ), facts.channels)


def _plain_wav(data: bytes) -> Audio | None:
    """A WAV file of bare samples, by its header and the bytes behind it; None for anything that needs a closer look."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    place, form = 12, b""
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        place += 8
        if name == b"data":
            rest = len(data) - place
            return _wav(data, form, min(size, rest)) if size + size % 2 >= rest else None  # more may follow
        if name == b"fmt ":
            form = data[place : place + 16]
        place += size + size % 2
    return None


def _wav(data: bytes, form: bytes, length_bytes: int) -> Audio | None:
    if len(form) < 16 or not length_bytes:
        return None
    code, channels, rate_hz, per_second, per_sample, bits = struct.unpack("<HHIIHH", form)
    is_sound = per_sample == channels * bits // 8 and per_sample > 0 and per_second == rate_hz * per_sample
    if code not in SAMPLE_CODES or not is_sound or not LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ:
        return None
    return Audio(data, MEDIA_TYPES["wav"], ceil_div(length_bytes * 1000, per_second), channels)
