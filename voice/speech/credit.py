"""What a wallet pays for, before anything is fetched or decoded for it: a small one must not buy hours of work."""

from dataclasses import replace

from accounts.access import Caller
from billing.queries import available_nano
from komilion.common.audio.decode import Limits
from komilion.common.errors import InsufficientBalance
from komilion.common.money import format_usd
from routing.gateway.services import Services
from voice.speech.choice import Chosen
from voice.speech.listening import likely_usage
from voice.threads import in_thread

TYPICAL_S = 1_000  # by which a second's price is told: short texts have a least price
SPARE_S = 60  # beyond what is payable by that; the hold decides, and whoever is refused is told by how much


async def payable_s(chosen: Chosen, caller: Caller, services: Services) -> int | None:
    """How many seconds of audio the wallet likely pays for; None where they are free.

    Raises `InsufficientBalance` where that is not a single one. How much more is needed is known, and held, once the
    length is.
    """
    needed = min(offer.price.charge(likely_usage(TYPICAL_S * 1_000, offer)).charge for offer in chosen.offers)
    needed //= TYPICAL_S
    if not needed:
        return None
    available = await in_thread(available_nano, caller.organization_id) or 0
    if available < needed:
        message = (
            f"A second of audio costs ${format_usd(needed)} and the wallet has ${format_usd(available)}. Top it up."
        )
        raise _refused(message, needed, caller, services)
    return available // needed


def limits_for(payable: int | None, limits: Limits) -> Limits:
    """No more is decoded than is likely paid for."""
    return limits if payable is None else replace(limits, longest_s=min(limits.longest_s, payable + SPARE_S))


def too_long(limits: Limits, caller: Caller, services: Services) -> InsufficientBalance:
    """The audio is longer than what the wallet pays for."""
    message = f"The audio is longer than {limits.longest_s} seconds, and the wallet does not cover so much. Top it up."
    return _refused(message, 0, caller, services)


def _refused(message: str, needed_nano: int, caller: Caller, services: Services) -> InsufficientBalance:
    error = InsufficientBalance(message, needed_nano=needed_nano)
    services.refusals.note(caller, error)
    return error
