"""What a call used, in disjoint buckets: wire dialects read it, prices bill it.

A provider reports `prompt_tokens` with the cached ones inside; here every token stands in exactly one bucket, so that
cost is a plain sum of units x price. `None` is never 0: a call whose usage is unknown has source `absent`.
"""

from typing import Literal

import msgspec

type UsageSource = Literal["provider", "estimated", "absent"]

MAX_UNITS = 2**31


class Usage(msgspec.Struct, frozen=True):
    """Units of one call; tokens unless the name says otherwise. `reasoning` is a part of `output`, for display only."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    input_audio: int = 0
    output: int = 0
    output_audio: int = 0
    web_searches: int = 0
    reasoning: int = 0

    @property
    def total_input(self) -> int:
        """Every input token, whatever its price."""
        return self.input + self.cache_read + self.cache_write + self.cache_write_1h + self.input_audio

    @property
    def total_output(self) -> int:
        """Every output token, whatever its price."""
        return self.output + self.output_audio

    def buckets(self) -> dict[str, int]:
        """The buckets that are not 0, by name; what a usage row stores."""
        return {name: units for name in ALL_BUCKETS if (units := getattr(self, name))}


PRICED_BUCKETS = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "output",
    "output_audio",
    "web_searches",
)
ALL_BUCKETS = (*PRICED_BUCKETS, "reasoning")
