"""The hold of a text that is paid by what becomes of it, kept ahead of the sound as that comes.

How long a text takes is the voice's business, and of who tells it to read slowly: no first hold can be the most.
"""

from komilion.common.errors import InsufficientBalance, KeyCapReached, LedgerUnavailable
from komilion.common.usage import Usage
from routing.catalog.voice import VoiceOffer
from routing.gateway.funds import Stopped
from routing.gateway.metered import MeteredCall
from routing.gateway.reserve import Extension


class Cover:
    """Of one call, whose first hold is placed."""

    def __init__(self, call: MeteredCall) -> None:
        self._call = call
        self._refused: Extension | None = None

    async def reach(self, offer: VoiceOffer, usage: Usage) -> None:
        """So much is spoken, or about to be passed on: hold twice as much where less than that is held.

        Raises `Stopped` where it is beyond what is held and nothing more is to be had, or `LedgerUnavailable`.
        """
        due = offer.price.charge(usage).charge
        while 2 * due > self._call.held and self._refused is None:
            extension = await self._call.extend(2 * due - self._call.held)
            self._refused = None if extension == "granted" else extension
        if due <= self._call.held:
            return
        if self._refused in ("insufficient_balance", "key_cap_reached"):
            raise Stopped(self._refused, self._refused)
        raise LedgerUnavailable


def unpaid(stop: Stopped) -> InsufficientBalance:
    """What a caller is told of it."""
    kind = KeyCapReached if stop.reason == "key_cap_reached" else InsufficientBalance
    return kind("What is available does not cover more of this speech: it takes longer than its text made likely.")
