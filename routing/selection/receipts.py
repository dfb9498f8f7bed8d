"""Receipts as usage rows keep them, read with the market that they name."""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from billing.models import UsageRow
from routing.selection.explain import explain
from routing.selection.markets import market_facts
from routing.selection.receipt import Unpacked, WrongMarket, unpack

log = logging.getLogger(__name__)

CHOICE = "choice"  # where the detail of a usage row has it


def stored_receipt(detail: Mapping[str, Any]) -> Unpacked | None:
    """The receipt in the detail of a usage row; None for a call that named its model, or one that cannot be read."""
    packed = detail.get(CHOICE)
    facts = market_facts(packed["market"]) if isinstance(packed, dict) and "market" in packed else None
    if facts is None:
        return None
    try:
        return unpack(packed, facts)
    except (msgspec.ValidationError, WrongMarket):
        log.warning("a receipt cannot be read", exc_info=True)
        return None


def stored_explanation(row: UsageRow) -> dict[str, Any] | None:
    """The receipt of a call for people, with who answered; None likewise."""
    receipt = stored_receipt(row.detail)
    return None if receipt is None else explain(row.detail[CHOICE], receipt.facts, answered_by(row))


def answered_by(row: UsageRow) -> str | None:
    """The model that answered a call; None where none did."""
    return None if row.usage_source == "absent" else row.model
