"""Audio without a container, as telephones and microphones give it: it gets the WAV header that says what it is.

So its length is its bytes, and every provider hears it, whatever its dialect. Sources: Deepgram's API reference
(`encoding`, `sample_rate`, `channels`), RFC 2361 (the codes).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from komilion.common.errors import BadRequest
from voice.speech.lengths import LEAST_RATE_HZ, MOST_RATE_HZ

PARAMETERS = ("encoding", "sample_rate", "channels")
FORMS = {"linear16": (1, 16), "linear32": (3, 32), "alaw": (6, 8), "mulaw": (7, 8)}  # code of WAVE, bits of a sample
FILES = ("flac", "opus", "ogg-opus", "speex", "amr-nb", "amr-wb")  # what is so encoded comes in a file that says all
MOST_CHANNELS = 16


@dataclass(frozen=True, slots=True)
class RawForm:
    """What bare samples are: `code` is WAVE's, `bits` those of one sample."""

    code: int
    bits: int
    rate_hz: int
    channels: int


def raw_form(said: Mapping[str, str]) -> RawForm | None:
    """What the parameters say of the audio; None where it is a file. Raises `BadRequest`; `param` is at fault."""
    encoding = said.get("encoding", "")
    if encoding in FILES or not encoding:
        return None
    if encoding not in FORMS:
        raise BadRequest(f"encoding must be one of {', '.join((*FORMS, *FILES))}.", param="encoding")
    if "sample_rate" not in said:
        raise BadRequest(f"sample_rate is missing: without it nobody can tell {encoding}.", param="sample_rate")
    code, bits = FORMS[encoding]
    rate_hz = _whole("sample_rate", said["sample_rate"], LEAST_RATE_HZ, MOST_RATE_HZ)
    return RawForm(code, bits, rate_hz, _whole("channels", said.get("channels", "1"), 1, MOST_CHANNELS))


def in_wav(data: bytes, form: RawForm) -> bytes:
    """The samples as a WAV file; a file that is one already, and nothing at all, stay as they are."""
    if not data or (data[:4] == b"RIFF" and data[8:12] == b"WAVE"):
        return data
    per_sample = form.channels * form.bits // 8
    length = len(data) - len(data) % per_sample
    fields = (form.code, form.channels, form.rate_hz, form.rate_hz * per_sample, per_sample, form.bits)
    kind = struct.pack("<4sIHHIIHHH", b"fmt ", 18, *fields, 0)
    sound = struct.pack("<4sI", b"data", length)
    head = struct.pack("<4sI4s", b"RIFF", 4 + len(kind) + len(sound) + length, b"WAVE")
    return b"".join((head, kind, sound, memoryview(data)[:length]))


def _whole(name: str, value: str, least: int, most: int) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10 and least <= int(value) <= most):
        raise BadRequest(f"{name} must be a whole number from {least} to {most}.", param=name)
    return int(value)
