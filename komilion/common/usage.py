"""What a call used, in disjoint buckets: wire dialects read it, prices bill it.

A provider reports `prompt_tokens` with the cached ones inside; here every token stands in exactly one bucket, so that
cost is a plain sum of units x price. `None` is never 0: a call whose usage is unknown has source `absent`.
"""

from typing import Literal

import msgspec

type UsageSource = Literal["provider", "estimated", "absent"]

MAX_UNITS = 2**31


class Usage(msgspec.Struct, frozen=True):
    """Units of one call; tokens unless the name says otherwise. `reasoning` is a part of `output`, for display only.

    `audio_ms` are milliseconds of speech, heard or spoken, and `characters` those of the text that was spoken, of
    models that are paid by time or by text instead of by tokens. `add_on_ms` are the milliseconds of
    `audio_ms` once more for each extra thing that is to be found in them, which costs beside the hearing.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    input_audio: int = 0
    cache_read_audio: int = 0
    input_image: int = 0
    cache_read_image: int = 0
    output: int = 0
    output_audio: int = 0
    web_searches: int = 0
    audio_ms: int = 0
    add_on_ms: int = 0
    characters: int = 0
    reasoning: int = 0

    @property
    def total_input(self) -> int:
        """Every input token, whatever its price."""
        text = self.input + self.cache_read + self.cache_write + self.cache_write_1h
        return text + self.input_audio + self.cache_read_audio + self.input_image + self.cache_read_image

    @property
    def total_output(self) -> int:
        """Every output token, whatever its price."""
        return self.output + self.output_audio

    def buckets(self) -> dict[str, int]:
        """The buckets that are not 0, by name; what a usage row stores."""
        return {name: units for name in ALL_BUCKETS if (units := getattr(self, name))}


INPUT_BUCKETS = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "cache_read_audio",
    "input_image",
    "cache_read_image",
)
CACHED_BUCKETS = ("cache_read", "cache_read_audio", "cache_read_image")
OUTPUT_BUCKETS = ("output", "output_audio")
TOKEN_BUCKETS = (*INPUT_BUCKETS, *OUTPUT_BUCKETS)
PRICED_BUCKETS = (*TOKEN_BUCKETS, "web_searches", "audio_ms", "add_on_ms", "characters")
ALL_BUCKETS = (*PRICED_BUCKETS, "reasoning")
