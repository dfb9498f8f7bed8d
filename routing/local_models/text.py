"""From the bytes of single tokens to text that may be shown.

A token may end in the middle of a character, and a stop sequence may begin in one token and end three tokens
later. So bytes wait until they are whole characters, and text while it may still become a stop sequence.
"""

import codecs
from collections.abc import Sequence


class TextStream:
    """One answer as it grows. Everything returned by `feed` and `finish` is final."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def feed(self, piece: bytes) -> str:
        """Text that became certain with this token, often `""`. A completed stop sequence sets `stopped`."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(piece)
        ends = [end for stop in self._stops if (end := self._held.find(stop)) >= 0]
        if ends:
            self.stopped = True
            certain, self._held = self._held[: min(ends)], ""
            return certain
        keep = self._suspicious_length()
        certain = self._held[: len(self._held) - keep]
        self._held = self._held[len(certain) :]
        return certain

    def finish(self) -> str:
        """What was held back for a stop sequence that never came; half a character at the end is dropped."""
        certain, self._held = self._held, ""
        return certain

    def _suspicious_length(self) -> int:
        """Characters at the end that could be the beginning of a stop sequence."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:length]):
                    longest = length
                    break
        return longest
