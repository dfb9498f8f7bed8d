"""For the pages about paying: Stripe's cents as the wallet's nano-USD."""

from django import template

from komilion.common.money import NANO_PER_CENT

register = template.Library()


@register.filter
def in_nano(cents: int) -> int:
    """1_050 -> 10_500_000_000, for `{% money %}`."""
    return cents * NANO_PER_CENT


@register.filter
def in_words(state: str) -> str:
    """Stripe's `needs_response` as `needs response`."""
    return state.replace("_", " ")
