"""What the brain of one process learns from: the catalogue, traffic, votes, and what is looked at afterwards."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec
from django.db import DatabaseError, connection

from accounts.access import Caller
from accounts.models import Tier
from komilion.common.clock import unix_s
from komilion.common.usage import TOKEN_BUCKETS
from routing.catalog.snapshot import OfferEntry
from routing.gateway.choice.afterwards import Afterwards, Quota
from routing.gateway.choice.brain import Brain
from routing.gateway.choice.live_share import LiveShare
from routing.gateway.choice.selected import Selected
from routing.gateway.choice.votes import Votes
from routing.gateway.settle import Settlement
from routing.providers.base import ChatRequest
from routing.selection.guesses import median_tokens
from routing.selection.market import Facts, Market
from routing.selection.markets import keep_market

log = logging.getLogger(__name__)

LEAST_MEASURED_S = 0.001
MEASURED_MOST_PER_S = 50  # calls that latencies and lengths are learnt from; more would say the same
CUT = "length"


class Finished(msgspec.Struct, frozen=True):
    """A call that brought its caller an answer, as far as others can be told by it."""

    request_id: str
    started_at: str
    endpoint: str  # as the usage row names it
    chat: ChatRequest
    caller: Caller
    offer: OfferEntry  # that answered
    selected: Selected | None
    is_whole: bool  # the model came to its own end
    usage: Mapping[str, int]
    first_content_s: float | None  # since this offer was asked; None where the answer came whole
    took_s: float  # since then, too

    @property
    def output_tokens(self) -> int:
        """Over all choices."""
        return self.usage.get("output", 0) + self.usage.get("output_audio", 0)

    @property
    def tokens(self) -> int:
        """All that the conversation has now."""
        return tokens_of(self.usage)

    @property
    def guessed_tokens(self) -> float | None:
        """The length that was guessed of each choice; None where the answer's own says nothing of others' answers.

        So it is where the caller pinned the model, or set a limit below the guess: what ends by itself within that is
        short.
        """
        task = None if self.selected is None or self.selected.rule == "pinned" else self.selected.task
        if task is None or not self.is_whole or not self.output_tokens:
            return None
        effort = self.chat.parameters.get("reasoning_effort")
        guessed = median_tokens(task, effort, thinks=self.offer.is_reasoning)
        limit = self.chat.max_output_tokens
        return guessed if limit is None or limit >= guessed else None

    @property
    def tokens_per_s(self) -> float | None:
        """After the first content; None where nothing can be said."""
        writing_s = self.took_s - (self.first_content_s or 0.0)
        return self.output_tokens / writing_s if self.output_tokens and writing_s >= LEAST_MEASURED_S else None


type Listener = Callable[[Finished], None]
"""Somebody else who wants to hear of such calls; returns at once."""


def tokens_of(usage: Mapping[str, int]) -> int:
    """All that a conversation has after a call that used this."""
    return sum(units for name, units in usage.items() if name in TOKEN_BUCKETS)


class Learning:
    """One per process."""

    def __init__(self, url: str, process_id: str, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = listeners
        self.brain = Brain()
        self.live = LiveShare(url, process_id, self.brain.take_live)
        self.votes = Votes(self.brain.take_offsets)
        self.afterwards = Afterwards(self.brain.classify)
        self._kept_market = ""
        self._measured = Quota(MEASURED_MOST_PER_S)

    def start(self) -> None:
        """Begin to share and to count."""
        self.live.start()
        self.votes.begin_again()

    async def close(self) -> None:
        """Stop sharing."""
        await self.live.close()

    async def keep(self, market: Market) -> None:
        """Keep what somebody is going to choose from, for receipts; the first choice of a market waits for it."""
        if market.fingerprint == self._kept_market:
            return
        try:
            await asyncio.to_thread(_keep, market.facts)
            self._kept_market = market.fingerprint
        except DatabaseError as error:
            log.warning("market not kept", extra={"error": str(error)})

    def take_notice(self, settlement: Settlement) -> None:
        """Of a call whose answer was sent; one that was cut or failed says nothing but to the breakers."""
        if settlement.outcome != "completed":
            return
        progress, reserved = settlement.progress, settlement.reserved
        inbound = settlement.admitted.inbound
        if not self._measured.has_room():
            self._remember(settlement)
            return
        asked_s = (progress.charged or progress.tries[-1]).started_s
        first_s = progress.first_content_s
        self.finished(
            Finished(
                request_id=settlement.request_id,
                started_at=progress.started_at,
                endpoint=inbound.form.endpoint,
                chat=inbound.chat,
                caller=reserved.caller,
                offer=reserved.attempt.offer,
                selected=reserved.plan.choice,
                is_whole=progress.finish_reason != CUT,
                usage=settlement.usage,
                first_content_s=None if first_s is None or first_s < asked_s else first_s - asked_s,
                took_s=settlement.ended_s - asked_s,
            )
        )

    def _remember(self, settlement: Settlement) -> None:
        """What has to be known of every call, though this second has shown enough of latencies and lengths."""
        inbound, reserved = settlement.admitted.inbound, settlement.reserved
        selected = reserved.plan.choice
        if selected is None:
            self.afterwards.note(settlement.request_id, settlement.progress.started_at, inbound.chat)
        else:
            offer = reserved.attempt.offer
            self.brain.remember(selected.session, offer.model_id, offer.provider, tokens_of(settlement.usage))

    def finished(self, call: Finished) -> None:
        """Take notice of what such a call shows."""
        for hear in self._listeners:
            hear(call)
        now_s = unix_s()
        offer, selected = call.offer, call.selected
        self.live.own.answered((offer.provider, offer.model_id), call.first_content_s, call.tokens_per_s, now_s)
        if selected is None:
            self.afterwards.note(call.request_id, call.started_at, call.chat)
            return
        self.brain.remember(selected.session, offer.model_id, offer.provider, call.tokens)
        guessed = call.guessed_tokens
        if guessed is not None and call.caller.tier != Tier.FREE:
            length = call.output_tokens / call.chat.choices / guessed
            assert selected.task is not None
            self.live.own.wrote((offer.model_id, selected.task), str(call.caller.organization_id), length, now_s)


def _keep(facts: Facts) -> None:
    """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""
    try:
        keep_market(facts)
    finally:
        connection.close()
