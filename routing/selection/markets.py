"""The markets that receipts name: what there was to choose from, kept once for each state of the catalogue."""

from functools import lru_cache

import msgspec

from komilion.common.clock import utc_now
from routing.selection.market import Facts
from routing.selection.models import Market

READ_KEPT = 16


def keep_market(facts: Facts) -> None:
    """Keep these facts, where they are not kept yet."""
    content = msgspec.to_builtins(facts)
    defaults = {"content": content, "created_at": utc_now()}
    Market.objects.get_or_create(fingerprint=facts.fingerprint, defaults=defaults)


@lru_cache(maxsize=READ_KEPT)
def _facts(fingerprint: str) -> Facts:
    content = Market.objects.values_list("content", flat=True).get(pk=fingerprint)
    return msgspec.convert(content, Facts)


def market_facts(fingerprint: str) -> Facts | None:
    """The facts of the market with this fingerprint; None where they are not kept."""
    try:
        return _facts(fingerprint)
    except Market.DoesNotExist:
        return None
