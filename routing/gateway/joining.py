"""Going on with a broken stream where another answer repeats what was delivered of it.

The text that the client has is kept, within a limit. A new answer is read unseen until it has come to where the old one
broke off, and from there it is delivered. That place is found in one of two ways, white space aside:

- the new answer begins with all that was delivered;
- it took another way, but comes to the same words: the last `SEAM_CHARACTERS` that were delivered, as often as they
  occur in what was delivered.

Else there is no honest place, and the stream ends with an error. Only plain text of one choice is joined: calls of
tools, reasoning, refusals and token probabilities cannot be cut anywhere.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from komilion.common.numbers import numbers

SEAM_CHARACTERS = 64
RAW_BYTES = 24 * 2**10  # frames kept as they are; with more, their text is taken out
LONGER_AT_MOST = 2  # times what was delivered, that a new answer may take to come to the same words
LONGER_BY_CHARACTERS = 2_000
FRAME_START = b"data: "
PLAIN_FIELDS = frozenset({"role", "content"})


class Diverged(Exception):
    """The new answer does not repeat the old one."""


class NotPlain(Exception):
    """There is more than text in a frame."""


def chunks_in(frames: bytes) -> Iterator[dict[str, Any]]:
    """The JSON of each frame. Raises `NotPlain` for what is none."""
    for frame in frames.split(b"\n\n"):
        if frame:
            try:
                chunk = orjson.loads(frame[len(FRAME_START) :])
            except orjson.JSONDecodeError as error:
                raise NotPlain from error
            yield chunk


def text_of(chunk: dict[str, Any]) -> str:
    """What the model wrote in a chunk of one choice. Raises `NotPlain` where that is more than text."""
    choices = chunk["choices"]
    if len(choices) > 1:
        raise NotPlain
    parts = []
    for choice in choices:
        delta = choice.get("delta") or {}
        if choice.get("logprobs") or any(value for name, value in delta.items() if name not in PLAIN_FIELDS):
            raise NotPlain
        content = delta.get("content") or ""
        if type(content) is not str:
            raise NotPlain
        parts.append(content)
    return "".join(parts)


class Delivered:
    """The text of one stream that its client has."""

    __slots__ = ("_is_plain", "_raw", "_raw_bytes", "_texts", "_texts_bytes")

    def __init__(self) -> None:
        self._raw: list[bytes] = []
        self._raw_bytes = 0
        self._texts: list[str] = []
        self._texts_bytes = 0
        self._is_plain = True

    def add(self, frames: bytes) -> None:
        """Note what was sent."""
        if self._is_plain:
            self._raw.append(frames)
            self._raw_bytes += len(frames)
            if self._raw_bytes > RAW_BYTES:
                self._distil()

    @property
    def text(self) -> str | None:
        """All of it; None where it cannot be joined to: it is too long, or more than text."""
        self._distil()
        return "".join(self._texts) if self._is_plain else None

    def _distil(self) -> None:
        try:
            text = "".join(text_of(chunk) for frames in self._raw for chunk in chunks_in(frames))
        except (NotPlain, KeyError, TypeError, AttributeError):  # or it is no chunk at all
            self._give_up()
            return
        self._raw, self._raw_bytes = [], 0
        self._texts.append(text)
        self._texts_bytes += len(text.encode("utf-8", "replace"))
        if self._texts_bytes > numbers.JOIN_LIMIT_BYTES:
            self._give_up()

    def _give_up(self) -> None:
        self._is_plain = False
        self._raw, self._texts = [], []


class Joiner:
    """Looks for the place in a new answer from which it can be delivered behind `delivered`."""

    def __init__(self, delivered: str) -> None:
        self._wanted = _Plain(delivered)
        self._found = _Plain()
        self._is_same_so_far = True
        self._searched = 0  # characters of `_found` in which the seam may not begin any more
        self._passed = 0
        seam = self._wanted.text[-SEAM_CHARACTERS:]
        self._seam = seam if len(seam) == SEAM_CHARACTERS else ""
        self._occurrence = _count(self._wanted.text, self._seam) if self._seam else 0
        self._end: int | None = None  # the place, as characters of `_found`

    def feed(self, text: str) -> str | None:
        """More of the new answer; what of it comes behind the place, or None while the place has not come.

        Raises `Diverged`.
        """
        self._found.add(text)
        if not self._wanted.text:
            return self._found.raw.lstrip() or None
        if self._end is None and self._is_same_so_far:
            self._end = self._end_of_same()
        if self._end is None and not self._is_same_so_far:
            self._end = self._end_of_seam()
        if self._end is None:
            return None
        if self._end == len(self._found.text):
            return None  # nothing new yet, and how much white space follows is not known
        return self._found.behind(self._end, self._wanted.space_behind)

    def finish(self) -> None:
        """The new answer is over without more to deliver. Raises `Diverged` where it has not come to the place."""
        if self._end is None and self._found.text.rstrip() != self._wanted.text.rstrip():
            raise Diverged

    def _end_of_same(self) -> int | None:
        wanted, found = self._wanted.text, self._found.text
        if len(found) >= len(wanted):
            if found.startswith(wanted):
                return len(wanted)
        elif wanted.startswith(found):
            return None
        self._is_same_so_far = False
        return None

    def _end_of_seam(self) -> int | None:
        """Raises `Diverged` where there is nothing to look for, or it should have come by now."""
        if not self._seam:
            raise Diverged
        while (place := self._found.text.find(self._seam, self._searched)) >= 0:
            self._searched = place + 1
            self._passed += 1
            if self._passed == self._occurrence:
                return place + SEAM_CHARACTERS
        self._searched = max(self._searched, len(self._found.text) - SEAM_CHARACTERS + 1)
        if len(self._found.text) > LONGER_AT_MOST * len(self._wanted.text) + LONGER_BY_CHARACTERS:
            raise Diverged
        return None


def _count(text: str, part: str) -> int:
    """Occurrences, also those that overlap."""
    count, place = 0, text.find(part)
    while place >= 0:
        count, place = count + 1, text.find(part, place + 1)
    return count


class _Plain:
    """A text whose runs of white space are one blank each, and that begins without; `_ends` leads back."""

    def __init__(self, text: str = "") -> None:
        self.raw = ""
        self.text = ""
        self._ends: list[int] = []  # for each character of `text` where it ends in `raw`; a run ends with its first
        self.add(text)

    def add(self, more: str) -> None:
        """More of it."""
        parts = []
        in_space = not self.text or self.text[-1] == " "
        for place, character in enumerate(more, start=len(self.raw) + 1):
            is_space = character.isspace()
            if not (is_space and in_space):
                parts.append(" " if is_space else character)
                self._ends.append(place)
            in_space = is_space
        self.raw += more
        self.text += "".join(parts)

    @property
    def space_behind(self) -> str:
        """The white space at its end, as it is."""
        return self.raw[len(self.raw.rstrip()) :]

    def behind(self, end: int, space: str) -> str:
        """What comes behind the first `end` characters of `text`, less the white space that is there already."""
        start = self._ends[end - 1]
        if not space:
            return self.raw[start:]
        start -= 1  # back to the beginning of the run
        shared = 0
        while shared < len(space) and self.raw[start + shared : start + shared + 1] == space[shared]:
            shared += 1
        return self.raw[start + max(shared, 1) :]
