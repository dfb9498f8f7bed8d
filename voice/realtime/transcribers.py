"""What the client said, written down by the provider beside the answer: models that are billed on their own.

A transcription is charged when it is complete, from its own usage at the price of the model that was in force when its
audio was committed: the client may take another model while something is still being written down. The hold of each is
always ahead: it pays for what was committed and is not written down yet, for what is heard and may be committed, and
for a minute more, where there is as much. Who leaves before a transcription is complete pays for the seconds that were
committed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from komilion.common.errors import InsufficientBalance, KomilionError, ModelNotAllowed, UnknownModel
from routing.catalog.resolve import resolve_voice
from routing.catalog.voice import VoiceOffer
from routing.gateway.types import Outcome
from voice.realtime.in_order import InOrder
from voice.realtime.reckoning import Reckoning
from voice.realtime.scribe import Piece, Scribe, total
from voice.realtime.session import Session
from voice.realtime.tab import Spent

type MakeRoom = Callable[[], Awaitable[None]]


class Transcribers:
    """Of one relayed session; only models of its own provider. `make_room` has what answers do not need given back:
    they hold as much as there is, which may be the whole of a small wallet.
    """

    def __init__(self, session: Session, provider: str, reckoning: Reckoning, make_room: MakeRoom) -> None:
        self._session = session
        self._provider = provider
        self._reckoning = reckoning
        self._make_room = make_room
        self._scribes: dict[str, Scribe] = {}  # by the name in the configuration
        self._opening: set[str] = set()  # names that are about to be in force
        self._one_at_a_time = asyncio.Lock()
        self._behind = InOrder("realtime-transcription")

    @property
    def is_busy(self) -> bool:
        """Whether something is being written down, or soon will be."""
        if any(scribe.pending for scribe in self._scribes.values()):
            return True
        return bool(self._in_force and self._reckoning.buffer.sent_chars)

    async def use(self, name: str) -> str:
        """The provider's own name for a transcription model, with a hold for what it will cost. The configuration that
        names it is reckoned with before anything else happens.

        Raises `UnknownModel` where the provider has none of that name with a price here, and what a hold raises.
        """
        self._opening.add(name)
        try:
            async with self._one_at_a_time:
                if name not in self._scribes:
                    scribe = Scribe(self._session, self._find(name), partial(self._waiting, name))
                    await self._hold_for(scribe)
                    self._scribes[name] = scribe
                return self._scribes[name].offer.target.upstream_id
        finally:
            self._opening.discard(name)

    async def covers(self) -> bool:
        """Whether what is held pays for what was heard, and a second more; extends the holds where it does not, and has
        the session end where it cannot.
        """
        if not self._is_covered:
            self._behind.add(self._cover())
            await self._behind.done()
        return self._is_covered

    def committed(self, item_id: str, chars: int) -> None:
        """So much audio became an item, which is written down now."""
        modes = self._reckoning.in_force.confirmed
        scribe = self._scribes.get(modes.transcriber)
        if scribe is not None:
            scribe.pending[item_id] = Piece(chars, modes.transcriber_bytes)

    def completed(self, event: Mapping[str, Any]) -> None:
        """A transcription is complete: charge for it, and for its length where the usage cannot be true."""
        item_id = str(event.get("item_id"))
        scribe = self._scribe_of(item_id)
        if scribe is not None:
            usage, source = scribe.written(event, scribe.pending.pop(item_id, Piece()))
            self._charge(scribe, scribe.spent(item_id, usage, source))
        self.follow()

    def failed(self, item_id: str) -> None:
        """Nothing was written down, and nothing is charged."""
        for scribe in self._scribes.values():
            scribe.pending.pop(item_id, None)
        self.follow()

    def follow(self) -> None:
        """What is in force has changed, or something is done: who has nothing to do any more holds nothing."""
        idle = [name for name, scribe in self._scribes.items() if scribe.is_idle]
        for name in idle:
            self._behind.add(self._scribes.pop(name).close())

    def dropped(self) -> None:
        """The connection was lost, and with it what was being written down."""
        for scribe in self._scribes.values():
            scribe.pending.clear()

    def left(self, then: Outcome) -> None:
        """Nobody waits any more: what was committed is charged by its length. What was not confirmed is written down by
        whom that would cost most.
        """
        read_along = max(modes.transcriber_bytes for modes in self._reckoning.in_force)
        sent = Piece(self._reckoning.buffer.sent_chars, read_along)
        last = max(self._in_force, key=lambda scribe: scribe.cost_nano(sent), default=None)
        for scribe in self._scribes.values():
            piece = total((*scribe.pending.values(), sent if scribe is last else Piece()))
            if piece.chars:
                self._charge(scribe, scribe.spent(None, scribe.usage(piece), "estimated", then))
            scribe.pending.clear()

    async def close(self) -> None:
        """Give back what is held, after what is being settled."""
        await self._behind.done()
        for scribe in self._scribes.values():
            await scribe.close()

    @property
    def _in_force(self) -> list[Scribe]:
        """Who may write down what is committed next."""
        names = {modes.transcriber for modes in self._reckoning.in_force}
        return [scribe for name, scribe in self._scribes.items() if name in names]

    def _waiting(self, name: str) -> Piece | None:
        found = [modes for modes in self._reckoning.in_force if modes.transcriber == name]
        if not found and name not in self._opening:
            return None
        read_along = max((modes.transcriber_bytes for modes in found), default=0)
        return Piece(self._reckoning.buffer.waiting_chars, read_along)

    def _scribe_of(self, item_id: str) -> Scribe | None:
        """Of an item that nobody was told of as committed, who is in force."""
        for scribe in self._scribes.values():
            if item_id in scribe.pending:
                return scribe
        return next(iter(self._in_force), None)

    def _charge(self, scribe: Scribe, spent: Spent) -> None:
        self._behind.add(self._turn(scribe, spent))

    async def _turn(self, scribe: Scribe, spent: Spent) -> None:
        is_last = self._session.is_ending or scribe not in self._scribes.values()
        try:
            try:
                await scribe.turn(spent, is_last=is_last)
            except InsufficientBalance:
                await self._open(scribe)
        except KomilionError as error:
            self._session.fail(error)
        await self._session.tab.report()

    async def _hold_for(self, scribe: Scribe) -> None:
        """In its turn: others give back for it. Raises what a hold raises."""
        refused: list[KomilionError] = []

        async def open_it() -> None:
            try:
                await self._open(scribe)
            except KomilionError as error:
                refused.append(error)

        self._behind.add(open_it())
        await self._behind.done()
        if refused:
            raise refused[0]

    async def _open(self, scribe: Scribe) -> None:
        try:
            await scribe.open()
        except InsufficientBalance:
            await self._make_room_for(scribe)
            await scribe.open()

    async def _make_room_for(self, scribe: Scribe) -> None:
        for other in list(self._scribes.values()):
            if other is not scribe:
                await other.give_back()
        await self._make_room()

    @property
    def _is_covered(self) -> bool:
        return all(scribe.is_covered for scribe in self._scribes.values())

    async def _cover(self) -> None:
        try:
            for scribe in list(self._scribes.values()):
                try:
                    await scribe.cover()
                except InsufficientBalance:
                    await self._make_room_for(scribe)
                    await scribe.cover()
        except KomilionError as error:
            self._session.fail(error)

    def _find(self, name: str) -> VoiceOffer:
        catalog = self._session.services.catalog
        model = resolve_voice(catalog, name, "transcription")
        if not catalog.allows(self._session.caller.caller.models_allowed, model.id):
            raise ModelNotAllowed(f"This key may not call {model.id}.")
        for offer in model.offers:
            if offer.provider == self._provider:
                return offer
        raise UnknownModel(f"{model.id} cannot transcribe beside this realtime model; they are of different providers.")
