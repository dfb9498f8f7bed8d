"""A transcription model beside a conversation: what it has to write down, the hold for that, and what is charged."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from komilion.common.money import ceil_div
from komilion.common.usage import Usage, UsageSource
from routing.catalog.voice import VoiceOffer
from routing.gateway.types import Outcome
from routing.providers.realtime import transcription_usage
from voice.realtime.input_buffer import MS_PER_S
from voice.realtime.modes import CHARS_PER_S
from voice.realtime.session import Session
from voice.realtime.tab import Bounds, Rolling, Spent
from voice.speech.belief import can_be_true
from voice.speech.listening import likely_usage

HOLD_S = 60
LEAST_S = 5
HEARD_S = 1  # of speech that may go up before `is_covered` is asked again
TOKENS_PER_S = 10  # of audio
WRITTEN_TOKENS_PER_S = 5
PADDING_MS = 1_000  # that a provider may add to what was committed


class Piece(NamedTuple):
    """Something to write down: characters of its audio, and bytes of the words that are read along with it."""

    chars: int = 0
    read_along: int = 0


class Scribe:
    """Of one session at one offer. `pending` are committed items that are not written down; `waiting` tells what may
    become one more, None where nothing may any more.
    """

    def __init__(self, session: Session, offer: VoiceOffer, waiting: Callable[[], Piece | None]) -> None:
        self.offer = offer
        self.pending: dict[str, Piece] = {}
        self._session = session
        self._waiting = waiting
        self._rolling = Rolling(session.tab, (offer,))

    async def open(self) -> None:
        """Place the first hold. Raises what `Tab.hold` raises."""
        await self._rolling.open(self._bounds())

    async def give_back(self) -> None:
        """Hold no more than what is needed at least. Raises what `Tab.hold` raises."""
        if self._rolling.held:
            least = self._needs(LEAST_S)
            await self._rolling.renew(Bounds(least, least))

    async def cover(self) -> None:
        """Hold for what there is, and a minute more, where there is as much. Raises what `Rolling.cover` raises."""
        if self._rolling.held:
            await self._rolling.cover(self._needs_nano(HEARD_S), self._needs_nano(HOLD_S))

    async def turn(self, spent: Spent, *, is_last: bool) -> None:
        """Settle what was written down, and hold for what comes next. Raises what `Rolling.turn` raises."""
        await self._rolling.turn(spent, None if is_last else self._bounds())

    async def close(self) -> None:
        """Give back what is held."""
        await self._rolling.close()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to write down, and nothing may become that."""
        return not self.pending and self._waiting() is None

    @property
    def is_covered(self) -> bool:
        """Whether what is held pays for what there is, and a second more."""
        return self._needs_nano(HEARD_S) <= self._rolling.held

    def cost_nano(self, piece: Piece) -> int:
        """Of it."""
        return self.offer.price.charge(self.usage(piece)).charge

    def usage(self, piece: Piece) -> Usage:
        """Of it, by tokens where the price is of tokens and else by time."""
        return self._usage(_milliseconds(piece.chars), piece.read_along)

    def written(self, event: Mapping[str, Any], piece: Piece) -> tuple[Usage, UsageSource]:
        """What is charged for a transcription: the provider's own figures, where they can be true of the piece with a
        second of silence around it. What a provider gives no usage for is not charged.
        """
        usage = transcription_usage(event.get("usage"))
        if usage is None:
            return Usage(), "absent"
        most = likely_usage(_milliseconds(piece.chars) + PADDING_MS, self.offer)
        most = replace(most, input=self._read_along(piece.read_along))
        if can_be_true(usage, most, self.offer, session_id=self._session.id):
            return usage, "provider"
        return self.usage(piece), "estimated"

    def spent(self, item_id: str | None, usage: Usage, source: UsageSource, then: Outcome = "completed") -> Spent:
        """What to settle."""
        return Spent(self.offer, usage, source, then, {"item_id": item_id, "session_id": self._session.id})

    def _needs_nano(self, seconds: int) -> int:
        return self.offer.price.charge(self._needs(seconds)).charge

    def _needs(self, seconds: int) -> Usage:
        """What is being written down or may be, and so many seconds more where anything may be."""
        pending, waiting = total(self.pending.values()), self._waiting()
        if waiting is None:
            return self.usage(pending)
        all_of_it = total((pending, waiting))
        return self._usage(_milliseconds(all_of_it.chars) + seconds * MS_PER_S, all_of_it.read_along)

    def _bounds(self) -> Bounds:
        return Bounds(self._needs(HOLD_S), self._needs(LEAST_S))

    def _usage(self, milliseconds: int, read_along: int) -> Usage:
        if "input_audio" in self.offer.price.components:
            heard = ceil_div(milliseconds * TOKENS_PER_S, MS_PER_S)
            written = ceil_div(milliseconds * WRITTEN_TOKENS_PER_S, MS_PER_S)
            return Usage(input=self._read_along(read_along), input_audio=heard, output=written)
        return Usage(audio_ms=milliseconds)

    def _read_along(self, size: int) -> int:
        """Tokens of so many bytes, at most one for each; of a model without a price for text none."""
        return size if "input" in self.offer.price.components else 0


def total(pieces: Iterable[Piece]) -> Piece:
    """All of them as if they were one."""
    chars, read_along = map(sum, zip(Piece(), *pieces, strict=True))
    return Piece(chars, read_along)


def _milliseconds(chars: int) -> int:
    return ceil_div(chars * MS_PER_S, CHARS_PER_S)
