"""What is paid for but is no chat: one hold, one settlement and one usage row each, as for any call.

A transcription, a text that is spoken and each answer of a spoken conversation are such calls. How they reach a
provider is their own business; what they may spend, and that they are charged exactly and once, is decided here.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from accounts.access import Caller
from billing.ledger.items import AuthorizationChanged, Done, Extend, Granted, Place, Refused, Settle, Void
from billing.ledger.items import Outcome as LedgerOutcome
from komilion.common.clock import monotonic_s, utc_now
from komilion.common.errors import InternalError, LedgerUnavailable, Unavailable
from komilion.common.numbers import numbers
from komilion.common.usage import Usage, UsageSource
from routing.catalog.voice import VoiceOffer
from routing.gateway.exchange import Exchange, Vouch
from routing.gateway.limit import refusal
from routing.gateway.reserve import Extension, not_extended, refusal_of
from routing.gateway.services import Services
from routing.gateway.tally import tally
from routing.gateway.types import Outcome, Session, Settled
from routing.limits.admission import Admission

log = logging.getLogger(__name__)

ROUNDS = 3  # of looks at a caller whose rights change meanwhile
SOON = {"Retry-After": "1"}
TIMESTAMP_LENGTH = len("2026-01-31 12:00:00.000000")  # without the zone, which is UTC
NOTHING = Usage()


@asynccontextmanager
async def admitted(session: Session, services: Services, exchange: Exchange | None = None) -> AsyncIterator[Admission]:
    """Take one request and one parallel slot, for as long as the block lasts; raises 429.

    The answer of `exchange` carries the state of the limits.
    """
    admission = await services.limiter.admit(session.scopes, 0)
    if exchange is not None:
        exchange.admission = admission
    if not admission.allowed:
        raise refusal(admission)
    try:
        yield admission
    finally:
        services.limiter.release(session.scopes, admission, 0, 0)


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What the usage row keeps of a call beside what it used."""

    endpoint: str  # `audio.speech`, `realtime`, ...; at most 40 characters
    requested_model: str
    streamed: bool = False
    client_request_id: str = ""
    end_user: str = ""
    tags: tuple[str, ...] = ()
    app_url: str = ""
    app_title: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)  # beside what a settlement says


class MeteredCall:
    """One hold and the one settlement of it, under the id `request_id`. Amounts are nano-USD.

    Leaving the block without a settlement is one of nothing: the caller pays nothing, the hold is free. `renew` finds
    the caller's session again where its rights changed meanwhile.
    """

    def __init__(
        self, services: Services, session: Session, request_id: str, facts: CallFacts, renew: Vouch | None = None
    ) -> None:
        self.request_id = request_id
        self.session = session
        self.held = 0
        self.available = 0  # in the wallet beside the hold, as far as caps let the call draw on it; when last seen
        self._services = services
        self._facts = facts
        self._renew = renew
        self._offers: Sequence[VoiceOffer] = ()
        self._caps: list[tuple[int, str, int]] = []
        self._extensions = 0
        self._ended: asyncio.Future[LedgerOutcome] | None = None
        self._started_at = utc_now().isoformat(" ", "microseconds")[:TIMESTAMP_LENGTH]
        self._started_s = monotonic_s()
        self._first_content_s: float | None = None

    @property
    def caller(self) -> Caller:
        """Who pays."""
        return self.session.caller

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ended is not None or not self.held:
            return
        outcome: Outcome = "server_stopped" if isinstance(error, asyncio.CancelledError) else "provider_failed"
        _, ended = self._settle(self._offers[0], NOTHING, outcome, "absent", {})
        if outcome == "provider_failed":
            await asyncio.wait({ended}, timeout=numbers.SETTLEMENT_WAIT_S)

    async def hold(self, offers: Sequence[VoiceOffer], most: Usage, least: Usage | None = None) -> None:
        """Hold what the dearest of these offers charges for `most`; where the wallet has less, down to the cheapest's
        charge for `least`.

        Raises `InsufficientBalance`, `KeyCapReached`, `LedgerUnavailable`, `Unauthenticated`, `Suspended`.
        """
        ceiling = max(offer.price.charge(most).charge for offer in offers)
        minimum = min(offer.price.charge(least or most).charge for offer in offers)
        await self.hold_nano(ceiling, minimum if least else ceiling, offers)

    async def hold_nano(self, ceiling: int, minimum: int, offers: Sequence[VoiceOffer] = ()) -> None:
        """Hold `ceiling` for a call of one of these offers; where the wallet has less, down to `minimum`. Raises what
        `hold` does.

        Without offers it is for what is given back (`void`) before anything is used: no price stands behind it.
        """
        self._offers = offers
        for _ in range(ROUNDS):
            outcome = await self._services.committer.submit(self._place(ceiling, minimum))
            if not isinstance(outcome, AuthorizationChanged):
                self._take(outcome)
                return
            self._services.authenticator.forget_organization(self.caller.organization_id)
            if self._renew is None:
                break
            self.session = await self._renew()
        raise Unavailable("Something about your organization is being changed; try again.", headers=SOON)

    def _place(self, ceiling: int, minimum: int) -> Place:
        caller = self.caller
        return Place(
            request_id=self.request_id,
            wallet_id=caller.organization_id,
            key_id=caller.key_id,
            key_epoch=caller.key_epoch,
            organization_epoch=caller.organization_epoch,
            ceiling=ceiling,
            minimum=minimum,
            is_byte_bound=False,
            price_ids=[offer.price.id for offer in self._offers],
            process_id=self._services.process_id,
            lifetime_s=numbers.HOLD_LIFETIME_S,
            capped_keys=caller.capped_keys,
        )

    def _take(self, outcome: LedgerOutcome) -> None:
        if isinstance(outcome, Refused):
            error = refusal_of(outcome, self.caller)
            self._services.refusals.note(self.caller, error)
            raise error
        if not isinstance(outcome, Granted):
            raise InternalError
        self.held, self.available, self._caps = outcome.amount, outcome.available, outcome.caps

    async def extend(self, amount: int) -> Extension:
        """Hold up to `amount` more."""
        ordinal = self._extensions + 1
        try:
            outcome = await self._services.committer.submit(
                Extend(self.request_id, self.caller.organization_id, ordinal, amount, self._caps)
            )
        except LedgerUnavailable:
            return "unavailable"  # it may have been granted unseen: the same ordinal then gets the same amount
        self._extensions = ordinal
        if not isinstance(outcome, Granted):
            return not_extended(outcome)
        self.held += outcome.amount
        self.available, self._caps = outcome.available, outcome.caps
        return "granted"

    def note_first_content(self) -> None:
        """The first of the answer is there."""
        if self._first_content_s is None:
            self._first_content_s = monotonic_s()

    async def settle(
        self,
        offer: VoiceOffer,
        usage: Usage,
        *,
        outcome: Outcome = "completed",
        source: UsageSource = "provider",
        detail: Mapping[str, Any] | None = None,
    ) -> Settled:
        """Charge for `usage` at the offer's price; waits until that is durable, at most `SETTLEMENT_WAIT_S`.

        A second settlement changes nothing. Cancelling the wait does not stop it.
        """
        settled, ended = self._settle(offer, usage, outcome, source, detail or {})
        done = await asyncio.shield(ended)
        if isinstance(done, Done):
            self.available = done.available
            return settled
        return Settled(settled.charge, is_pending=True, usage=settled.usage)

    async def void(self) -> None:
        """Give the hold back; only where not a byte went to a provider."""
        if self._ended is None and self.held:
            self._ended = self._services.committer.submit(Void(self.request_id, self.caller.organization_id))
            await asyncio.wait({self._ended}, timeout=numbers.SETTLEMENT_WAIT_S)

    def _settle(
        self, offer: VoiceOffer, usage: Usage, outcome: Outcome, source: UsageSource, detail: Mapping[str, Any]
    ) -> tuple[Settled, "asyncio.Future[LedgerOutcome]"]:
        usage, source = self._priced(offer, usage, source)
        charge = offer.price.charge(usage)
        settled = Settled(charge.charge, is_pending=False, usage=usage.buckets())
        if self._ended is not None:
            return settled, self._ended
        facts, caller, first, now_s = self._facts, self.caller, self._first_content_s, monotonic_s()
        row = {
            "created_at": self._started_at,
            "request_id": self.request_id,
            "client_request_id": facts.client_request_id,
            "organization_id": caller.organization_id,
            "key_id": caller.key_id,
            "member_id": caller.member_id,
            "end_user": facts.end_user,
            "tags": facts.tags,
            "app_url": facts.app_url,
            "app_title": facts.app_title,
            "endpoint": facts.endpoint,
            "requested_model": facts.requested_model,
            "model": offer.model_id,
            "provider": offer.provider,
            "streamed": facts.streamed,
            "outcome": outcome,
            "usage_source": source,
            "usage": settled.usage,
            "price_id": offer.price.id,
            "cost_nano": charge.cost,
            "fee_nano": charge.fee,
            "charge_nano": charge.charge,
            "savings_nano": 0,
            "first_content_ms": None if first is None else round((first - self._started_s) * 1000),
            "duration_ms": round((now_s - self._started_s) * 1000),
            "detail": {**facts.detail, **detail},
        }
        tally(row)
        self._ended = self._services.committer.submit(
            Settle(
                request_id=self.request_id,
                wallet_id=caller.organization_id,
                held=self.held,
                cost=charge.cost,
                fee=charge.fee,
                price_ids=[offer.price.id],
                process_id=self._services.process_id,
                usage_row=row,
                caps=self._caps,
            )
        )
        return settled, self._ended

    def _priced(self, offer: VoiceOffer, usage: Usage, source: UsageSource) -> tuple[Usage, UsageSource]:
        """Without what the price has no figure for: nobody could have held for it."""
        unpriced = offer.price.unpriced(usage)
        if not unpriced:
            return usage, source
        extra = {"alarm": "unpriced_usage", "request_id": self.request_id, "buckets": unpriced}
        log.error("usage without a price", extra=extra)
        kept = {name: units for name, units in usage.buckets().items() if name not in unpriced}
        return Usage(**kept), "estimated"
