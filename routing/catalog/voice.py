"""Models that hear or speak, as the gateway sees them: who offers them, and at what price.

Their prices are per token, per millisecond of audio (`audio_ms`) or per character, see `komilion.common.usage`.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from billing.prices import PriceVersion
from routing.providers.base import Target

type Kind = Literal["transcription", "speech", "realtime"]

KINDS: dict[Kind, str] = {
    "transcription": "turns speech into text",
    "speech": "speaks a text",
    "realtime": "holds a spoken conversation",
}


@dataclass(frozen=True, slots=True)
class VoiceOffer:
    """One model at one provider, ready to be called; `dialect` names one of `routing.providers`."""

    model_id: str
    provider: str
    dialect: str
    target: Target
    price: PriceVersion


@dataclass(frozen=True, slots=True)
class VoiceModel:
    """A model that can be called and who offers it, the first choice first."""

    id: str
    name: str
    kind: Kind
    created_unix_s: int
    offers: tuple[VoiceOffer, ...]
    sunset_on: date | None = None  # (UTC)
