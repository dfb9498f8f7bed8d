"""How much of what a client appends becomes items of the conversation: input of answers and of transcriptions. Pure.

Sizes are characters of base64. A provider that detects turns commits what it takes for speech, and throws silence away.
Where speech begins and ends is known from its `speech_started` and `speech_stopped`, whose milliseconds count from the
first audio of the connection; what it says nothing of for a while is silence. Without detection the client commits all
there is.
"""

from collections import deque
from dataclasses import dataclass, field

SILENCE_S = 15  # without a word of the provider, after which what was heard before was no speech
MS_PER_S = 1_000


@dataclass(slots=True)
class InputBuffer:
    """Of one session. `item_chars` of `heard_chars` have become items."""

    heard_chars: int = 0
    item_chars: int = 0
    chars_per_s: int = 64_000
    detects_turns: bool = True
    _until: int = 0  # what was heard before is an item, or none any more
    _origin: int = 0  # the first of this connection
    _is_speech: bool = False
    _speech_end: int | None = None
    _sent: deque[int] = field(default_factory=deque)  # commits of the client that are not confirmed
    _looked_s: float = 0.0
    _looked_chars: int = 0

    @property
    def waiting_chars(self) -> int:
        """What may become an item yet."""
        return self.heard_chars - self._until

    @property
    def sent_chars(self) -> int:
        """What the client committed and the provider has not confirmed."""
        return sum(self._sent)

    def connect(self, replayed_chars: int) -> None:
        """Another connection begins, with so much of what was heard already."""
        self._origin = self.heard_chars - replayed_chars
        self._until = min(self._until, self._origin)
        self._sent.clear()
        self._is_speech, self._speech_end = False, None

    def speech_started(self, at_ms: int) -> None:
        """What was heard before is silence."""
        self._until = self._position(at_ms)
        self._is_speech, self._speech_end = True, None

    def speech_stopped(self, at_ms: int) -> None:
        """A turn is over."""
        self._is_speech, self._speech_end = False, self._position(at_ms)

    def commit(self) -> None:
        """The client has all that waits made into an item."""
        self._sent.append(self.waiting_chars)
        self._take(self.heard_chars)

    def committed(self) -> int:
        """The provider has made an item; how much is in it."""
        if self._sent:
            return self._sent.popleft()
        return self._take(self.heard_chars if self._speech_end is None else self._speech_end)

    def refused(self) -> None:
        """The oldest commit of the client was not taken."""
        if self._sent:
            self._sent.popleft()

    def cleared(self) -> None:
        """What waits was thrown away."""
        self._until = self.heard_chars

    def look(self, now_s: float) -> None:
        """Once in a while: what was heard long ago, and was not taken for speech, is silence."""
        if now_s - self._looked_s < SILENCE_S:
            return
        if self.detects_turns and not self._is_speech:
            self._until = max(self._until, self._looked_chars)
        self._looked_s, self._looked_chars = now_s, self.heard_chars

    def _take(self, end: int) -> int:
        size = max(end - self._until, 0)
        self.item_chars += size
        self._until += size
        return size

    def _position(self, at_ms: int) -> int:
        """Never before what is accounted for, nor after what was heard."""
        return max(self._until, min(self._origin + at_ms * self.chars_per_s // MS_PER_S, self.heard_chars))
