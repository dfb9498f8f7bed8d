"""How much of what a client appends becomes items of the conversation: input of answers and of transcriptions. Pure.

Sizes are characters of base64, as `modes` counts them. A provider that detects turns commits what it takes for speech,
and throws silence away. Where speech begins and ends is known from its `speech_started` and `speech_stopped`, whose
milliseconds count from the first audio of the connection; what it says nothing of for a while is silence. Without
detection the client commits all there is.

What waits when the client takes another format may be read in that one as well as in the one in which it was sent: no
protocol says which. It counts by what lasts longer, but for what was committed before. Who detects turns has read it.

What a client commits or clears is fixed when that goes up: the provider takes events in the order of their sending, and
confirms them later, when more may have been appended. Until it has, all that was there may become an item: a `clear`
that is refused throws nothing away, and what a client commits may include what was taken for silence.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from voice.realtime.modes import CHARS_PER_S

SILENCE_S = 15  # without a word of the provider, after which what was heard before was no speech
MS_PER_S = 1_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A commit or a clear of the client that is not confirmed, and how much had been heard when it went up."""

    kind: Literal["commit", "clear"]
    event_id: str
    heard_chars: int


@dataclass(slots=True)
class InputBuffer:
    """Of one session. `item_chars` of `heard_chars` have become items."""

    heard_chars: int = 0
    item_chars: int = 0
    weight: int = 1  # of a character that is appended now; only `weigh` changes it
    detects_turns: bool = True
    _kept: int = 0  # what was heard before is an item, or was cleared
    _until: int = 0  # what was heard before is that, or silence by the word of the provider
    _origin: int = 0  # the first of this connection
    _heavy: int = 0  # what was heard before counts by the heavier of the two weights
    _is_speech: bool = False
    _speech_end: int | None = None
    _sent: deque[Sent] = field(default_factory=deque)
    _looked_s: float = 0.0
    _looked_chars: int = 0

    @property
    def waiting_chars(self) -> int:
        """What may become an item yet, what the client committed included."""
        is_of_provider = self.detects_turns and not self._sent
        return self.heard_chars - (self._until if is_of_provider else self._kept)

    @property
    def sent_chars(self) -> int:
        """What the client committed and the provider has not confirmed, if it takes all that it was sent."""
        total, begin = 0, self._kept
        for sent in self._sent:
            if sent.kind == "commit":
                total += max(sent.heard_chars - begin, 0)
            begin = max(begin, sent.heard_chars)
        return total

    @property
    def kept_chars(self) -> int:
        """What was heard until there is an item, or was thrown away."""
        return self._kept

    @property
    def sent(self) -> tuple[Sent, ...]:
        """What the client committed and cleared that is not confirmed, in the order of its sending."""
        return tuple(self._sent)

    def weigh(self, weight: int) -> None:
        """From now on a character counts so much; what waits lasts as long as before, or longer. There are two
        weights.
        """
        if weight > self.weight and not self.detects_turns:
            committed = max((sent.heard_chars for sent in self._sent if sent.kind == "commit"), default=0)
            light = self.heard_chars - max(self._kept, self._heavy, committed)
            longer = light * (weight // self.weight - 1)
            self.heard_chars += longer
            self._origin += longer
        elif weight < self.weight:
            self._heavy = self.heard_chars
        self.weight = weight

    def append(self, chars: int) -> None:
        """So many characters go up."""
        self.heard_chars += chars * self.weight

    def connect(self) -> None:
        """Another connection begins, and has heard nothing. What was not confirmed was not done."""
        self._origin = self._kept = self._until = self.heard_chars
        self._sent.clear()
        self._is_speech, self._speech_end = False, None

    def speech_started(self, at_ms: int) -> None:
        """What was heard before is silence."""
        self._until = self._position(at_ms)
        self._is_speech, self._speech_end = True, None

    def speech_stopped(self, at_ms: int) -> None:
        """A turn is over; the provider commits it next."""
        self._is_speech, self._speech_end = False, self._position(at_ms)

    def commit(self, event_id: str = "") -> None:
        """The client has all that was heard so far made into an item."""
        self._sent.append(Sent("commit", event_id, self.heard_chars))

    def clear(self, event_id: str = "") -> None:
        """The client has all that was heard so far thrown away."""
        self._sent.append(Sent("clear", event_id, self.heard_chars))

    def committed(self) -> int:
        """The provider has made an item: of the turn that it heard the end of, else of the oldest commit of the client;
        how much is in it.
        """
        begin, end = self._until, self.heard_chars
        if self._speech_end is not None:
            end, self._speech_end = self._speech_end, None
        else:
            commit = next((sent for sent in self._sent if sent.kind == "commit"), None)
            if commit is not None:
                self._forget(commit)
                begin, end = self._kept, commit.heard_chars
        size = max(end - begin, 0)
        self.item_chars += size
        self._end_at(begin + size)
        return size

    def refused(self, event_id: str) -> None:
        """What was sent by this event was not done."""
        self._sent = deque(sent for sent in self._sent if sent.event_id != event_id)

    def cleared(self) -> None:
        """What was there when the oldest clear went up was thrown away."""
        clear = next((sent for sent in self._sent if sent.kind == "clear"), None)
        if clear is not None:
            self._forget(clear)
            self._speech_end = None
            self._end_at(clear.heard_chars)

    def look(self, now_s: float) -> None:
        """Once in a while: what was heard long ago, and was not taken for speech, is silence."""
        if now_s - self._looked_s < SILENCE_S:
            return
        if self.detects_turns and not self._is_speech:
            self._until = max(self._until, self._looked_chars)
        self._looked_s, self._looked_chars = now_s, self.heard_chars

    def _forget(self, done: Sent) -> None:
        """It is confirmed, and with it that no clear before it will be."""
        while self._sent and self._sent[0].kind == "clear" and self._sent[0] is not done:
            self._sent.popleft()
        self._sent.remove(done)

    def _end_at(self, end: int) -> None:
        self._kept = max(self._kept, end)
        self._until = max(self._until, end)

    def _position(self, at_ms: int) -> int:
        """Never before what is accounted for, nor after what was heard."""
        return max(self._until, min(self._origin + at_ms * CHARS_PER_S // MS_PER_S, self.heard_chars))
