"""Which of a provider's figures are believed: none above the most that was there to bill, as for chats.

A provider may read the length of a recording from a header that its sender wrote; we held for what we measured.
"""

import logging

from komilion.common.usage import Usage
from routing.catalog.voice import VoiceOffer

log = logging.getLogger(__name__)


def can_be_true(reported: Usage, most: Usage, offer: VoiceOffer, **where: str) -> bool:
    """Whether `reported` costs no more than `most`, as far as there are prices for both; else an alarm, with `where` it
    was.
    """
    if offer.price.charge(_priced(reported, offer)).charge <= offer.price.charge(_priced(most, offer)).charge:
        return True
    extra = {"alarm": "impossible_usage", "provider": offer.provider, "model": offer.model_id, **where}
    log.error("impossible usage", extra={**extra, "reported": repr(reported.buckets())})
    return False


def _priced(usage: Usage, offer: VoiceOffer) -> Usage:
    unpriced = offer.price.unpriced(usage)
    return Usage(**{name: units for name, units in usage.buckets().items() if name not in unpriced})
