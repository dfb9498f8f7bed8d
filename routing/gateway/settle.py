"""settle: Usage -> Money. Durable before the last frame is sent; writes the usage row, frees the rest of the hold."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from billing.ledger.committer import Committer
from billing.ledger.items import Done, Settle, Void
from billing.ledger.items import Outcome as LedgerOutcome
from billing.prices import Charge, UnpricedUsage
from komilion.common.clock import monotonic_s
from komilion.common.numbers import numbers
from komilion.common.usage import Usage, UsageSource
from routing.gateway.call import NotSent
from routing.gateway.progress import Progress
from routing.gateway.recording import Composed
from routing.gateway.tally import tally
from routing.gateway.types import Admitted, Outcome, Reserved, Settled
from routing.gateway.watch import Interrupted

log = logging.getLogger(__name__)

type Compose = Callable[[Settled], Composed]

NOTHING = Usage()


class Settlement:
    """Settles one call, once: whoever comes first decides; later tries get the first one's answer."""

    def __init__(
        self,
        request_id: str,
        admitted: Admitted,
        reserved: Reserved,
        progress: Progress,
        committer: Committer,
        process_id: str,
    ) -> None:
        self.request_id = request_id
        self.admitted = admitted
        self.reserved = reserved
        self.progress = progress
        self._committer = committer
        self._process_id = process_id
        self._future: asyncio.Future[LedgerOutcome] | None = None
        self._last: Composed | None = None
        self._settled = Settled(0, is_pending=False, usage={})
        self.outcome: Outcome | None = None  # once it is decided
        self.ended_s = 0.0
        self.attempt_loss = 0  # nano-USD

    @property
    def settled(self) -> Settled:
        """What the call came to, once that is decided; nothing where it was not."""
        return self._settled

    async def __aenter__(self) -> "Settlement":
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """No way out of a call leaves its hold behind: what was not settled by now brought the caller nothing."""
        if self._future is not None:
            return
        if isinstance(error, NotSent):
            is_claimed = self.reserved.recording is not None
            self._future = self._committer.submit(
                Void(self.request_id, self.reserved.caller.organization_id, is_claimed)
            )
        elif isinstance(error, Interrupted) and error.reason == "client_left":
            self._begin("client_left", NOTHING, "absent")
        elif isinstance(error, asyncio.CancelledError):
            self._begin("server_stopped", NOTHING, "absent")
            return
        else:
            self._begin("provider_failed", NOTHING, "absent")
        assert self._future is not None
        await asyncio.wait({self._future}, timeout=numbers.SETTLEMENT_WAIT_S)

    async def settle(self, outcome: Outcome, usage: Usage, source: UsageSource) -> Settled:
        """Charge for `usage`; waits until that is durable, at most `SETTLEMENT_WAIT_S`.

        Cancelling the wait does not stop the settlement.
        """
        if self._future is None:
            self._begin(outcome, usage, source)
        assert self._future is not None
        is_durable = isinstance(await self._future, Done)
        return replace(self._settled, is_pending=not is_durable)

    async def conclude(self, outcome: Outcome, usage: Usage, source: UsageSource, compose: Compose) -> Composed:
        """Settle an answer; returns what `compose` makes of the bill: its last part, to be sent now.

        With an Idempotency-Key that part is made, and recorded, before the settlement, which carries the whole answer.
        """
        recording = self.reserved.recording
        if recording is None or self._future is not None:
            return compose(await self.settle(outcome, usage, source))
        self._begin(outcome, usage, source, lambda settled: recording.close(lambda: compose(settled)))
        settled = await self.settle(outcome, usage, source)
        if settled.is_pending:
            return compose(settled)
        assert self._last is not None
        return self._last

    def _begin(
        self,
        outcome: Outcome,
        usage: Usage,
        source: UsageSource,
        close: Callable[[Settled], tuple[Composed, str]] | None = None,
    ) -> None:
        price = self.reserved.attempt.offer.price
        try:
            charge = price.charge(usage)
        except UnpricedUsage:
            log.exception("usage without a price", extra={"alarm": "unpriced_usage", "request_id": self.request_id})
            usage, source = Usage(input=usage.total_input, output=usage.total_output), "estimated"
            charge = price.charge(usage)
        buckets = usage.buckets()
        choice = self.reserved.plan.choice
        saved = 0 if choice is None else choice.savings(usage, charge.charge)
        self._settled = Settled(charge.charge, is_pending=True, usage=buckets, savings=saved)
        self.outcome, self.ended_s = outcome, monotonic_s()
        recording, answer = self.reserved.recording, None
        if close is not None:
            self._last, answer = close(replace(self._settled, is_pending=False))
        is_charged = source != "absent"
        self.admitted.used_tokens = usage.total_input + usage.total_output
        self.admitted.used_tokens += self.progress.lost_tokens(is_charged=is_charged)
        self.attempt_loss = self.progress.loss_nano(is_charged=is_charged)
        usage_row = self._usage_row(outcome, buckets, source, charge)
        tally(usage_row)
        self._future = self._committer.submit(
            Settle(
                request_id=self.request_id,
                wallet_id=self.reserved.caller.organization_id,
                held=self.reserved.held,
                cost=charge.cost,
                fee=charge.fee,
                price_ids=[price.id],
                process_id=self._process_id,
                usage_row=usage_row,
                caps=self.reserved.caps,
                claim=None if recording is None else recording.claim,
                answer=answer,
                attempt_loss=self.attempt_loss,
            )
        )

    def _usage_row(
        self, outcome: Outcome, usage: dict[str, int], source: UsageSource, charge: Charge
    ) -> dict[str, Any]:
        inbound, caller, offer = self.admitted.inbound, self.reserved.caller, self.reserved.attempt.offer
        progress = self.progress
        first = progress.first_content_s
        return {
            "created_at": progress.started_at,
            "request_id": self.request_id,
            "client_request_id": inbound.client_request_id,
            "organization_id": caller.organization_id,
            "key_id": caller.key_id,
            "member_id": caller.member_id,
            "end_user": inbound.chat.end_user,
            "tags": inbound.chat.tags,
            "app_url": inbound.app_url,
            "app_title": inbound.app_title,
            "endpoint": inbound.form.endpoint,
            "requested_model": self.reserved.plan.requested_model,
            "model": offer.model_id,
            "provider": offer.provider,
            "streamed": inbound.chat.stream,
            "outcome": outcome,
            "usage_source": source,
            "usage": usage,
            "price_id": offer.price.id,
            "cost_nano": charge.cost,
            "fee_nano": charge.fee,
            "charge_nano": charge.charge,
            "savings_nano": self._settled.savings or 0,
            "first_content_ms": None if first is None else round((first - progress.started_s) * 1000),
            "duration_ms": round((self.ended_s - progress.started_s) * 1000),
            "detail": self._detail(),
        }

    def _detail(self) -> dict[str, Any]:
        progress, plan = self.progress, self.reserved.plan
        is_chosen = self.reserved.attempt.offer.model_id == plan.model
        return {
            "attempts": [tried.note for tried in progress.tries],
            "adjusted": self.reserved.adjusted,
            "finish_reason": progress.finish_reason,
            **({} if plan.choice is None else plan.choice.detail()),
            **({} if is_chosen else {"instead_of": plan.model}),
        }

    @property
    def usage(self) -> Mapping[str, int]:
        """What was charged for, by bucket."""
        return self._settled.usage
