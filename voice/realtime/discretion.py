"""What the holder of a ticket is not told: it is made for somebody's end user, and the wallet is the organization's."""

from collections.abc import Mapping
from typing import Any

from komilion.common.errors import InsufficientBalance, KeyCapReached, KomilionError

type Event = dict[str, Any]

OF_MONEY = {kind.reason: kind.default_message for kind in (InsufficientBalance, KeyCapReached)}
FAILURES = frozenset({"error", "conversation.item.input_audio_transcription.failed", "response.done"})


def discreet(event: Event) -> Event:
    """The event without figures of the wallet or of a key's caps."""
    if event["type"] not in FAILURES:
        return event
    if event["type"] != "response.done":
        return {**event, "error": _plain(event.get("error"))}
    response = event["response"]
    details = response.get("status_details")
    if not isinstance(details, Mapping) or "error" not in details:
        return event
    return {**event, "response": {**response, "status_details": {**details, "error": _plain(details["error"])}}}


def discreet_error(error: KomilionError) -> KomilionError:
    """Likewise, of an error."""
    return type(error)() if isinstance(error, InsufficientBalance) else error


def _plain(error: Any) -> Any:
    code = error.get("code") if isinstance(error, Mapping) else None
    return {**error, "message": OF_MONEY[code]} if code in OF_MONEY else error
