"""What the breakers know of the offers of voice, and what they learn from a try of one; the same as for chats."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from komilion.common.metrics import count
from routing.catalog.voice import VoiceOffer
from routing.gateway.services import Services
from routing.gateway.verdicts import VERDICTS
from routing.selection.health import key_of


@asynccontextmanager
async def in_order(services: Services, offers: Sequence[VoiceOffer]) -> AsyncIterator[list[VoiceOffer]]:
    """Offers known to be out of order last; one of them first where it is due for a probe, for this call alone."""
    breakers = services.breakers
    if not breakers.any_open or len(offers) == 1:
        yield list(offers)
        return
    bad = [offer for offer in offers if breakers.is_open(*key_of(offer))]
    good = [offer for offer in offers if offer not in bad]
    preferred = [offer for offer in bad if not good or offers.index(offer) < offers.index(good[0])]
    probe = await breakers.borrow(map(key_of, preferred))
    first = [offer for offer in bad if key_of(offer) == probe]
    if probe is not None:
        breakers.begin(probe)
    try:
        yield [*first, *good, *(offer for offer in bad if offer not in first)]
    finally:
        if probe is not None:
            breakers.end(probe)


def succeeded(services: Services, offer: VoiceOffer) -> None:
    """The provider did what it was asked for."""
    if not services.breakers.is_quiet:
        services.breakers.succeeded(*key_of(offer))


def failed(services: Services, offer: VoiceOffer, kind: str) -> None:
    """It did not; `kind` is a row of `routing.gateway.verdicts`."""
    count("komilion_attempts", (offer.model_id, offer.provider, kind))
    weight = VERDICTS[kind].weight
    if weight == "nothing":
        services.breakers.succeeded(*key_of(offer))
    else:
        services.breakers.failed(*key_of(offer), weight=weight, reason=kind)
