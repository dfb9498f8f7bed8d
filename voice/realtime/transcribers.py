"""What the client said, written down by the provider beside the answer: models that are billed on their own.

A transcription is charged when it is complete, from its own usage at the transcription model's price. Its hold is
always ahead: it pays for what was committed and is not written down yet, for what is heard and may be committed, and
for a minute more, where there is as much. Who leaves before a transcription is complete pays for the seconds that were
committed.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from komilion.common.errors import InsufficientBalance, KomilionError, ModelNotAllowed, UnknownModel
from komilion.common.money import ceil_div
from komilion.common.usage import Usage, UsageSource
from routing.catalog.resolve import resolve_voice
from routing.catalog.voice import VoiceOffer
from routing.gateway.types import Outcome
from routing.providers.realtime import transcription_usage
from voice.realtime.in_order import InOrder
from voice.realtime.input_buffer import MS_PER_S, InputBuffer
from voice.realtime.modes import CHARS_PER_S
from voice.realtime.session import Session
from voice.realtime.tab import Bounds, Rolling, Spent
from voice.speech.belief import can_be_true
from voice.speech.listening import likely_usage

HOLD_S = 60
LEAST_S = 5
HEARD_S = 1  # of speech that may go up before `covers` is asked again
TOKENS_PER_S = 10  # of audio
WRITTEN_TOKENS_PER_S = 5
PADDING_MS = 1_000  # that a provider may add to what was committed


type MakeRoom = Callable[[], Awaitable[None]]


class Transcribers:
    """Of one relayed session; only models of its own provider. `make_room` has what answers do not need given back:
    they hold as much as there is, which may be the whole of a small wallet.
    """

    def __init__(self, session: Session, provider: str, buffer: InputBuffer, make_room: MakeRoom) -> None:
        self._session = session
        self._provider = provider
        self._buffer = buffer
        self._make_room = make_room
        self._pending: dict[str, int] = {}  # committed items that are not written down, in characters of their audio
        self._rolling: Rolling | None = None
        self._offer: VoiceOffer | None = None
        self._behind = InOrder("realtime-transcription")

    @property
    def is_busy(self) -> bool:
        """Whether something is being written down, or soon will be."""
        return self._offer is not None and bool(self._pending or self._buffer.sent_chars)

    async def use(self, name: str) -> str:
        """The provider's own name for a transcription model, with a hold for what it will cost.

        Raises `UnknownModel` where the provider has none of that name with a price here, and what a hold raises.
        """
        offer = self._find(name)
        if offer != self._offer:
            await self.close()
            self._offer, self._rolling = offer, Rolling(self._session.tab, (offer,))
            await self._open(self._rolling, offer)
        return offer.target.upstream_id

    async def covers(self) -> bool:
        """Whether what is held pays for what was heard, and a second more; extends the hold where it does not, and has
        the session end where it cannot.
        """
        if not self._is_covered():
            self._behind.add(self._cover())
            await self._behind.done()
        return self._is_covered()

    def committed(self, item_id: str, chars: int) -> None:
        """So much audio became an item, which is written down now."""
        if self._offer is not None:
            self._pending[item_id] = chars

    def completed(self, event: Mapping[str, Any]) -> None:
        """A transcription is complete: charge for it, and for its length where the usage cannot be true. What a
        provider gives no usage for is not charged.
        """
        item_id = str(event.get("item_id"))
        length_ms = _milliseconds(self._pending.pop(item_id, 0))
        usage = transcription_usage(event.get("usage"))
        if usage is None:
            self._charge(item_id, Usage(), "absent")
        elif self._is_possible(usage, length_ms):
            self._charge(item_id, usage, "provider")
        elif self._offer is not None:
            self._charge(item_id, _usage(self._offer, length_ms), "estimated")

    def failed(self, item_id: str) -> None:
        """Nothing was written down, and nothing is charged."""
        self._pending.pop(item_id, None)

    def dropped(self) -> None:
        """The connection was lost, and with it what was being written down."""
        self._pending.clear()

    def left(self, then: Outcome) -> None:
        """Nobody waits any more: what was committed is charged by its length."""
        chars = sum(self._pending.values()) + self._buffer.sent_chars
        if self._offer is not None and chars:
            self._charge(None, _usage(self._offer, _milliseconds(chars)), "estimated", then)
        self._pending.clear()

    async def close(self) -> None:
        """Give back what is held, after what is being settled."""
        await self._behind.done()
        if self._rolling is not None:
            await self._rolling.close()

    def _charge(self, item_id: str | None, usage: Usage, source: UsageSource, then: Outcome = "completed") -> None:
        if self._rolling is not None and self._offer is not None:
            detail = {"item_id": item_id, "session_id": self._session.id}
            self._behind.add(self._turn(self._rolling, Spent(self._offer, usage, source, then, detail)))

    def _is_possible(self, usage: Usage, length_ms: int) -> bool:
        """Whether so much speech, and a second of silence around it, may come to this; what has no price is left out
        where it is settled.
        """
        offer = self._offer
        if offer is None or offer.price.unpriced(usage):
            return True
        return can_be_true(usage, likely_usage(length_ms + PADDING_MS, offer), offer, session_id=self._session.id)

    async def _turn(self, rolling: Rolling, spent: Spent) -> None:
        try:
            if self._session.is_ending:
                await rolling.turn(spent, None)
            else:
                await self._go_on(rolling, spent)
        except KomilionError as error:
            self._session.fail(error)
        await self._session.tab.report()

    async def _go_on(self, rolling: Rolling, spent: Spent) -> None:
        try:
            await rolling.turn(spent, self._bounds(spent.offer))
        except InsufficientBalance:
            await self._open(rolling, spent.offer)

    async def _open(self, rolling: Rolling, offer: VoiceOffer) -> None:
        try:
            await rolling.open(self._bounds(offer))
        except InsufficientBalance:
            await self._make_room()
            await rolling.open(self._bounds(offer))

    def _is_covered(self) -> bool:
        rolling, offer = self._rolling, self._offer
        return rolling is None or offer is None or self._needs_nano(offer, HEARD_S) <= rolling.held

    async def _cover(self) -> None:
        rolling, offer = self._rolling, self._offer
        if rolling is None or offer is None or not rolling.held:
            return
        needed = self._needs_nano(offer, HEARD_S), self._needs_nano(offer, HOLD_S)
        try:
            try:
                await rolling.cover(*needed)
            except InsufficientBalance:
                await self._make_room()
                await rolling.cover(*needed)
        except KomilionError as error:
            self._session.fail(error)

    def _needs_nano(self, offer: VoiceOffer, seconds: int) -> int:
        return offer.price.charge(self._needs(offer, seconds)).charge

    def _needs(self, offer: VoiceOffer, seconds: int) -> Usage:
        """What is being written down or may be, and so many seconds more."""
        chars = sum(self._pending.values()) + self._buffer.waiting_chars
        return _usage(offer, _milliseconds(chars) + seconds * MS_PER_S)

    def _bounds(self, offer: VoiceOffer) -> Bounds:
        return Bounds(self._needs(offer, HOLD_S), self._needs(offer, LEAST_S))

    def _find(self, name: str) -> VoiceOffer:
        catalog = self._session.services.catalog
        model = resolve_voice(catalog, name, "transcription")
        if not catalog.allows(self._session.caller.caller.models_allowed, model.id):
            raise ModelNotAllowed(f"This key may not call {model.id}.")
        for offer in model.offers:
            if offer.provider == self._provider:
                return offer
        raise UnknownModel(f"{model.id} cannot transcribe beside this realtime model; they are of different providers.")


def _usage(offer: VoiceOffer, milliseconds: int) -> Usage:
    """So much speech, by tokens where the price is of tokens and else by time."""
    if "input_audio" in offer.price.components:
        heard = ceil_div(milliseconds * TOKENS_PER_S, MS_PER_S)
        return Usage(input_audio=heard, output=ceil_div(milliseconds * WRITTEN_TOKENS_PER_S, MS_PER_S))
    return Usage(audio_ms=milliseconds)


def _milliseconds(chars: int) -> int:
    return ceil_div(chars * MS_PER_S, CHARS_PER_S)
