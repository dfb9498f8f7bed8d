"""What the client said, written down by the provider beside the answer: models that are billed on their own.

A transcription is charged when it is complete, from its own usage at the transcription model's price. Its hold is
small and always one ahead, as that of an answer.
"""

from collections.abc import Mapping
from typing import Any

from komilion.common.errors import KomilionError, ModelNotAllowed, UnknownModel
from komilion.common.usage import Usage
from routing.catalog.resolve import resolve_voice
from routing.catalog.voice import VoiceOffer
from routing.providers.realtime import transcription_usage
from voice.realtime.in_order import InOrder
from voice.realtime.session import Session
from voice.realtime.tab import Bounds, Rolling, Spent

HOLD_S = 60
LEAST_S = 5
TOKENS_PER_S = 10  # of audio
WRITTEN_TOKENS_PER_S = 5
MS_PER_S = 1_000


class Transcribers:
    """Of one relayed session; only models of its own provider."""

    def __init__(self, session: Session, provider: str) -> None:
        self._session = session
        self._provider = provider
        self._rolling: Rolling | None = None
        self._offer: VoiceOffer | None = None
        self._behind = InOrder("realtime-transcription")

    async def use(self, name: str) -> str:
        """The provider's own name for a transcription model, with a hold for what it will cost.

        Raises `UnknownModel` where the provider has none of that name with a price here, and what a hold raises.
        """
        offer = self._find(name)
        if offer != self._offer:
            await self.close()
            self._offer, self._rolling = offer, Rolling(self._session.tab, (offer,))
            await self._rolling.open(_bounds(offer))
        return offer.target.upstream_id

    def completed(self, event: Mapping[str, Any]) -> None:
        """A transcription is complete: charge for it. What a provider gives no usage for is not charged."""
        if self._rolling is not None and self._offer is not None:
            self._behind.add(self._charge(self._rolling, self._offer, event))

    async def _charge(self, rolling: Rolling, offer: VoiceOffer, event: Mapping[str, Any]) -> None:
        usage = transcription_usage(event.get("usage"))
        detail = {"item_id": event.get("item_id"), "session_id": self._session.id}
        spent = Spent(offer, usage or Usage(), "absent" if usage is None else "provider", "completed", detail)
        try:
            await rolling.turn(spent, None if self._session.is_ending else _bounds(offer))
        except KomilionError as error:
            self._session.fail(error)
        await self._session.tab.report()

    async def close(self) -> None:
        """Give back what is held, after what is being settled."""
        await self._behind.done()
        if self._rolling is not None:
            await self._rolling.close()

    def _find(self, name: str) -> VoiceOffer:
        catalog = self._session.services.catalog
        model = resolve_voice(catalog, name, "transcription")
        if not catalog.allows(self._session.caller.caller.models_allowed, model.id):
            raise ModelNotAllowed(f"This key may not call {model.id}.")
        for offer in model.offers:
            if offer.provider == self._provider:
                return offer
        raise UnknownModel(f"{model.id} cannot transcribe beside this realtime model; they are of different providers.")


def _bounds(offer: VoiceOffer) -> Bounds:
    return Bounds(_usage(offer, HOLD_S), _usage(offer, LEAST_S))


def _usage(offer: VoiceOffer, seconds: int) -> Usage:
    """So many seconds of speech, by tokens where the price is of tokens and else by time."""
    if "input_audio" in offer.price.components:
        return Usage(input_audio=seconds * TOKENS_PER_S, output=seconds * WRITTEN_TOKENS_PER_S)
    return Usage(audio_ms=seconds * MS_PER_S)
