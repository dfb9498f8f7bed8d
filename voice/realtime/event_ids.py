"""Ids of the events that go to a provider: its `error` names the one at fault, and the client must not be able to make
it name another.
"""

import secrets
from collections.abc import Mapping
from itertools import count
from typing import Any

MARK_BYTES = 6
MOST_CHARACTERS = 512  # that a provider takes


class EventIds:
    """Of one session. Each id is new, and holds the client's own."""

    def __init__(self) -> None:
        self._mark = f"{secrets.token_hex(MARK_BYTES)}."
        self._numbers = count(1)

    def of(self, event: Mapping[str, Any]) -> str:
        """For an event that goes up now."""
        return f"{self._mark}{next(self._numbers)}.{event.get('event_id') or ''}"[:MOST_CHARACTERS]

    def clients(self, event_id: Any) -> str | None:
        """What the client called the event; None where it gave it no id."""
        if not isinstance(event_id, str):
            return None
        if not event_id.startswith(self._mark):
            return event_id
        return event_id.split(".", 2)[2] or None
