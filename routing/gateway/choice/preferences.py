"""What an organization decided about the choice of its models, for the path: read once, then from memory.

An entry holds for the caller's `organization_epoch`. Whatever changes a pin or a switch raises that epoch, and the
transaction that reserves money compares it, so a call that was planned by an old entry is planned again. News and age
only make it sooner. A database that is away breaks no call: the last entry that is known serves, or none.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import DatabaseError, connection

from accounts.access import Caller
from komilion.common.clock import monotonic_s
from routing.selection.queries import follows_successors, pinned_models
from routing.selection.trials import Trial

log = logging.getLogger(__name__)

CACHED_ORGANIZATIONS = 10_000
FOUND_FOR_S = 60.0
ASK_AGAIN_AFTER_S = 5.0  # where the database was away


@dataclass(frozen=True, slots=True)
class Preferences:
    """Pins and trials by task type, and whether a retired model may move to a dearer successor."""

    pins: Mapping[str, str] = field(default_factory=dict)
    follows_successors: bool = False
    trials: Mapping[str, Trial] = field(default_factory=dict)


NO_PREFERENCES = Preferences()


@dataclass(frozen=True, slots=True)
class _Entry:
    preferences: Preferences
    epoch: int
    until_s: float


class PreferenceBook:
    """One per process."""

    def __init__(self) -> None:
        self._cache: OrderedDict[int, _Entry] = OrderedDict()
        self._lookups: dict[tuple[int, int], asyncio.Future[Preferences]] = {}

    async def of(self, caller: Caller) -> Preferences:
        """The preferences of the caller's organization, as of the caller's epoch or later."""
        entry = self._cache.get(caller.organization_id)
        if entry is not None and entry.epoch == caller.organization_epoch and entry.until_s > monotonic_s():
            return entry.preferences
        return await self._look_up_once(caller.organization_id, caller.organization_epoch)

    def forget_organization(self, organization_id: int) -> None:
        """Something about the organization changed: ask again, and keep what is known for when nobody answers."""
        entry = self._cache.get(organization_id)
        if entry is not None:
            self._cache[organization_id] = _Entry(entry.preferences, entry.epoch, 0.0)

    def forget_all(self) -> None:
        """News may have been missed."""
        for organization_id in list(self._cache):
            self.forget_organization(organization_id)

    async def _look_up_once(self, organization_id: int, epoch: int) -> Preferences:
        """Many requests of one organization cause one look-up."""
        key = (organization_id, epoch)
        running = self._lookups.get(key)
        if running is None:
            running = self._lookups[key] = asyncio.ensure_future(self._look_up(organization_id, epoch))
            running.add_done_callback(lambda _: self._lookups.pop(key, None))
        return await asyncio.shield(running)

    async def _look_up(self, organization_id: int, epoch: int) -> Preferences:
        held_for_s = FOUND_FOR_S
        try:
            found = await asyncio.to_thread(_read, organization_id)
        except DatabaseError as error:
            log.warning("preferences not read", extra={"error": str(error)})
            known = self._cache.get(organization_id)
            found, held_for_s = NO_PREFERENCES if known is None else known.preferences, ASK_AGAIN_AFTER_S
        self._cache[organization_id] = _Entry(found, epoch, monotonic_s() + held_for_s)
        self._cache.move_to_end(organization_id)
        if len(self._cache) > CACHED_ORGANIZATIONS:
            self._cache.popitem(last=False)
        return found


def _read(organization_id: int) -> Preferences:
    """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""
    try:
        pins, trials = pinned_models(organization_id)
        return Preferences(pins, follows_successors(organization_id), trials)
    finally:
        connection.close()
