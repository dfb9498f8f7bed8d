"""Which of a provider's figures are believed: none above the most that was there to bill, as for chats.

A provider may read the length of a recording from a header that its sender wrote; we held for what we measured.
"""

import logging

from komilion.common.usage import Usage
from routing.catalog.voice import VoiceOffer

log = logging.getLogger(__name__)


def can_be_true(reported: Usage, most: Usage, offer: VoiceOffer, **where: str) -> bool:
    """Whether `reported`, all of which has a price, costs no more than `most`, which is held for; else an alarm, with
    `where` it was.
    """
    unpriced = offer.price.unpriced(most)
    held_for = Usage(**{name: units for name, units in most.buckets().items() if name not in unpriced})
    if offer.price.charge(reported).charge <= offer.price.charge(held_for).charge:
        return True
    extra = {"alarm": "impossible_usage", "provider": offer.provider, "model": offer.model_id, **where}
    log.error("impossible usage", extra={**extra, "reported": repr(reported.buckets())})
    return False
