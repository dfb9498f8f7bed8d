"""The money of one session: holds that roll on from answer to answer, and the events that say what was charged.

Every answer is a call of its own, with a request id and a usage row. `Rolling` keeps one hold open ahead of what
comes: it settles the call that ended and places the hold of the next one in the same tick, so that both share a
transaction. The client hears of every settlement once, in an `x_komilion.cost` event: their sum is exactly what the
wallet loses.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from komilion.common.errors import InsufficientBalance, KeyCapReached, KomilionError, LedgerUnavailable
from komilion.common.ids import new_request_id
from komilion.common.usage import Usage, UsageSource
from routing.catalog.voice import VoiceOffer
from routing.gateway.metered import CallFacts, MeteredCall
from routing.gateway.notes import usd
from routing.gateway.reserve import Extension
from routing.gateway.services import Services
from routing.gateway.types import Outcome, Settled
from routing.gateway.types import Session as CallerSession

WARN_AT_PERCENT = 20
COST_EVENT = "x_komilion.cost"
WARNING_EVENT = "x_komilion.low_balance"


class Payer(Protocol):
    """Whose money it is, and where its events go: a `Session`."""

    services: Services
    caller: CallerSession

    async def emit(self, event: dict[str, Any]) -> None:
        """Send a server event."""

    async def reauthenticate(self) -> CallerSession:
        """Look the caller up again. Raises `KomilionError` where there is none any more."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one call was settled for."""

    offer: VoiceOffer
    usage: Usage
    source: UsageSource = "provider"
    outcome: Outcome = "completed"
    detail: Mapping[str, Any] = field(default_factory=dict)

    async def settle(self, call: MeteredCall) -> Settled:
        """Charge for it."""
        return await call.settle(self.offer, self.usage, outcome=self.outcome, source=self.source, detail=self.detail)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the next hold asks for: `most`, and `least` where the wallet does not cover that."""

    most: Usage
    least: Usage


class Tab:
    """Of one session; amounts are nano-USD."""

    def __init__(self, payer: Payer, facts: CallFacts, *, tells_balance: bool = True) -> None:
        self.payer = payer
        self.facts = facts
        self._tells_balance = tells_balance
        self.charged = 0
        self._parts: list[dict[str, Any]] = []  # settled, and not in an event yet
        self._held: dict[str, int] = {}  # by request id
        self._available = 0
        self._warn_below: int | None = None

    async def hold(self, offers: Sequence[VoiceOffer], bounds: Bounds) -> MeteredCall:
        """A new call with its hold. Raises `InsufficientBalance`, `KeyCapReached`, `LedgerUnavailable`, 401 and 403."""
        call = await self.place(offers, bounds)
        self.note(call)
        return call

    async def settle(self, call: MeteredCall, spent: Spent) -> None:
        """Charge for what a call used; `report` tells the client."""
        self.record(call, spent, await spent.settle(call))

    async def place(self, offers: Sequence[VoiceOffer], bounds: Bounds) -> MeteredCall:
        """`hold`, but for `note`."""
        call = self.new_call()
        await call.hold(offers, bounds.most, bounds.least)
        return call

    def new_call(self) -> MeteredCall:
        """A call that holds nothing."""
        payer = self.payer
        return MeteredCall(payer.services, payer.caller, new_request_id(), self.facts, payer.reauthenticate)

    def note(self, call: MeteredCall) -> None:
        """The ledger said how much the call holds, and what is available beside it."""
        self._held[call.request_id] = call.held
        self._available = call.available
        if self._warn_below is None:
            self._warn_below = self.balance * WARN_AT_PERCENT // 100

    def record(self, call: MeteredCall, spent: Spent, settled: Settled) -> None:
        """The call was settled: what is left of its hold is available again."""
        self._available += self._held.pop(call.request_id, settled.charge) - settled.charge
        settlement = "pending" if settled.is_pending else "settled"
        part = {"request_id": call.request_id, "model": spent.offer.model_id, "usage": dict(settled.usage)}
        self.add(settled.charge, {**part, "settlement": settlement})

    async def void(self, call: MeteredCall) -> None:
        """Give back the hold of a call that nothing was used of."""
        self._available += self._held.pop(call.request_id, 0)
        await call.void()

    def add(self, charge: int, part: Mapping[str, Any]) -> None:
        """Note something that was charged, for the next `report`."""
        self.charged += charge
        self._parts.append({**part, **money("cost", charge)})

    def spend(self, charge: int, part: Mapping[str, Any]) -> None:
        """Note what was held and settled elsewhere: a call of a part of the cascade."""
        self._available -= charge
        self.add(charge, part)

    @property
    def balance(self) -> int:
        """What the session may still spend, as far as it knows: what is available to it, and what it holds."""
        return self._available + sum(self._held.values())

    async def report(self, response_id: str | None = None) -> None:
        """Tell the client what was charged since the last report, and warn once where little is left."""
        if not self._parts:
            return
        parts, self._parts = self._parts, []
        cost = sum(part["cost_nano_usd"] for part in parts)
        balance = self.balance
        await self.payer.emit(
            {
                "type": COST_EVENT,
                "response_id": response_id,
                **money("cost", cost),
                **money("session_cost", self.charged),
                **self._told(balance),
                "parts": parts,
            }
        )
        if self._warn_below is not None and balance < self._warn_below:
            self._warn_below = 0  # never again
            await self.payer.emit({"type": WARNING_EVENT, "percent_left": WARN_AT_PERCENT, **self._told(balance)})

    def _told(self, balance: int) -> dict[str, Any]:
        return money("balance", balance) if self._tells_balance else {}


class Rolling:
    """One hold open ahead of what comes. `turn` ends a call and begins the next one in one transaction."""

    def __init__(self, tab: Tab, offers: Sequence[VoiceOffer]) -> None:
        self._tab = tab
        self.offers = offers
        self._call: MeteredCall | None = None

    @property
    def held(self) -> int:
        """Nano-USD that the call at hand may cost before it has to be extended."""
        return 0 if self._call is None else self._call.held

    def note_first_content(self) -> None:
        """The first of the answer is there."""
        if self._call is not None:
            self._call.note_first_content()

    async def open(self, bounds: Bounds) -> None:
        """Place the first hold. Raises what `Tab.hold` raises."""
        self._call = await self._tab.hold(self.offers, bounds)

    async def extend(self, amount: int) -> Extension:
        """Reserve so much more for the call at hand."""
        assert self._call is not None
        extension = await self._call.extend(amount)
        self._tab.note(self._call)
        return extension

    async def cover(self, needed: int, wanted: int) -> None:
        """Have the call at hand hold `needed`, and `wanted` where there is as much.

        Raises `InsufficientBalance`, `KeyCapReached`, `LedgerUnavailable`.
        """
        while self.held < needed:
            extension = await self.extend(max(needed, wanted) - self.held)
            if extension == "unavailable":
                raise LedgerUnavailable
            if extension != "granted":
                raise uncovered(extension)

    async def turn(self, spent: Spent, bounds: Bounds | None) -> None:
        """Settle the call at hand, and place the next hold where there is to be one.

        Raises what `Tab.hold` raises, after the settlement; then nothing is held.
        """
        call, self._call = self._call or self._tab.new_call(), None  # an answer that ran on beside a refusal has none
        if bounds is None:
            await self._tab.settle(call, spent)
            return
        settling = asyncio.ensure_future(spent.settle(call))
        holding = asyncio.ensure_future(self._tab.place(self.offers, bounds))
        await asyncio.wait({settling, holding})
        self._tab.record(call, spent, settling.result())
        self._call = holding.result()
        self._tab.note(self._call)

    async def renew(self, bounds: Bounds) -> None:
        """Replace a hold of which nothing was used, before it is too old. Raises what `Tab.hold` raises."""
        await self.close()
        await self.open(bounds)

    async def close(self) -> None:
        """Give back a hold of which nothing was used."""
        call, self._call = self._call, None
        if call is not None:
            await self._tab.void(call)


def uncovered(extension: Extension | None) -> KomilionError:
    """Why a conversation ends for which nothing more is held."""
    kind = KeyCapReached if extension == "key_cap_reached" else InsufficientBalance
    return kind("The wallet does not cover more of this conversation. Top it up and open another session.")


def money(name: str, nano: int) -> dict[str, Any]:
    """`NAME_usd`, an exact JSON number, and `NAME_nano_usd` beside it."""
    return {f"{name}_usd": usd(nano), f"{name}_nano_usd": nano}
