"""The attempts of one call, one after the other, until one of them is delivered.

    the first that fits -> Call -> delivered
                             |
                             failed -> VERDICTS: the same offer again, a later attempt, or the end

Nothing follows where the caller has left (unless an Idempotency-Key says that it will ask again), where the whole time
is over, where this server stops, or where giving up on attempts has cost the house enough. Two tries an offer, four
in all.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator

from komilion.common.clock import monotonic_s
from komilion.common.errors import KomilionError
from komilion.common.metrics import count
from komilion.common.numbers import numbers
from routing.gateway.call import AttemptFailed, Call, NotSent, UpstreamResponse, out_of_time, prefill_s, thinking_s
from routing.gateway.exchange import Exchange
from routing.gateway.progress import Progress, if_abandoned
from routing.gateway.reserve import take_up
from routing.gateway.services import Services
from routing.gateway.types import Attempt, Reserved
from routing.gateway.verdicts import UNREACHABLE, VERDICTS
from routing.gateway.watch import Interrupted, Watch
from routing.selection.health import key_of

P99_MULTIPLE = 3
LEAST_S = 0.05  # in less nobody answers


class Calls:
    """Runs the attempts that a hold pays for."""

    def __init__(
        self, exchange: Exchange, reserved: Reserved, progress: Progress, watch: Watch, services: Services
    ) -> None:
        self.reserved = reserved
        self.progress = progress
        self.is_resumable: Callable[[], bool] | None = None  # whether another attempt could still be delivered
        self._exchange = exchange
        self._watch = watch
        self._client = services.client
        self._breakers = services.breakers
        self._losses = services.losses
        self._first_content_p99_s = services.first_content_p99_s
        self._place = 0
        self._tries_here = 0

    async def run[T](self, deliver: Callable[[UpstreamResponse], Awaitable[T]]) -> T:
        """What `deliver` makes of the first attempt that it can deliver.

        Raises the error of the last attempt (`NotSent` where none reached a provider), or what interrupted it.
        """
        probe = self.reserved.plan.probe
        if probe is not None:
            self._breakers.begin(probe)
        try:
            while True:
                try:
                    return await self._try(deliver)
                except AttemptFailed as failure:
                    await self._move_on(failure)
                except asyncio.CancelledError:
                    await self._move_on(self._interruption())
        finally:
            if probe is not None:
                self._breakers.end(probe)

    def answered(self) -> None:
        """The provider of the running attempt has shown that it is there."""
        if not self._breakers.is_quiet:
            self._breakers.succeeded(*key_of(self.reserved.attempt.offer))

    async def _try[T](self, deliver: Callable[[UpstreamResponse], Awaitable[T]]) -> T:
        self._tries_here += 1
        attempt = self.reserved.attempt
        call = Call(self.reserved, self._client, self.progress, self._exchange.path, self._has_fallback)
        # Nobody wants the answer once the caller has left; with a key it will be asked for again.
        ends_with_client = attempt.offer.cancel_stops_billing and self.reserved.recording is None
        if attempt.chat.stream:
            first_content_s, gap_s = self._limits_s(attempt)
            self._watch.begin_stream(first_content_s=first_content_s, gap_s=gap_s, ends_with_client=ends_with_client)
        else:
            self._watch.begin_whole(ends_with_client=ends_with_client)
        async with call as upstream:
            delivered = await deliver(upstream)
        self.answered()
        return delivered

    def _limits_s(self, attempt: Attempt) -> tuple[float, float]:
        """For the first content, and for the gap between two frames."""
        floor_s = thinking_s(attempt)
        gap_s = max(numbers.FRAME_GAP_TIMEOUT_S, floor_s)
        longer_s = numbers.FIRST_CONTENT_TIMEOUT_S + prefill_s(attempt)
        if not self._has_fallback():
            return max(longer_s, floor_s), gap_s
        measured_s = self._first_content_p99_s(attempt.offer.provider, attempt.offer.model_id)
        first_content_s = max(numbers.FIRST_CONTENT_FALLBACK_S + prefill_s(attempt), P99_MULTIPLE * (measured_s or 0))
        if floor_s and self.reserved.plan.probe == key_of(attempt.offer):
            # With all its time to think, one that hangs would be probed once in five minutes.
            floor_s = longer_s if measured_s is None else 0
        return max(first_content_s, floor_s), gap_s

    def _has_fallback(self) -> bool:
        """Whether another attempt would follow if the running one is given up."""
        has_later = self._place + 1 < len(self.reserved.attempts)
        if not has_later or len(self.progress.tries) >= numbers.ATTEMPTS_MOST:
            return False
        attempt = self.reserved.attempt
        goes_on = not attempt.offer.cancel_stops_billing
        return self._is_within_loss(attempt.offer.price.charge(if_abandoned(attempt)).cost if goes_on else 0)

    def _is_within_loss(self, more_nano: int = 0) -> bool:
        """Whether the house can bear what it cost to give up on attempts so far, and so much more."""
        loss = self.progress.abandoned_nano + more_nano
        is_over = loss > 0 and self._losses.is_over(self.reserved.caller.organization_id)
        return not is_over and loss < numbers.ATTEMPT_LOSS_MOST_NANO

    # after a failure

    def _interruption(self) -> AttemptFailed:
        """Silence is a failure of the attempt; every other limit ends the call, and so does a server that stops."""
        reason = self._watch.absorb()
        if reason is None:
            raise asyncio.CancelledError
        if reason == "total":
            self.progress.tries[-1].end = "abandoned"
        if reason != "silence":
            raise Interrupted(reason)
        return out_of_time(self._exchange.path)

    async def _move_on(self, failure: AttemptFailed) -> None:
        """Make the next attempt the running one, after a pause where one is due. Raises what ends the call."""
        self._watch.rest()
        self._note(failure)
        following = self._following(failure)
        if following is None or not await self._pause(following[1]):
            raise self._final(failure) from failure
        place = following[0]
        if place != self._place:
            self._place, self._tries_here = place, 0
            take_up(self.reserved, self.reserved.attempts[place])

    def _note(self, failure: AttemptFailed) -> None:
        """In the row, the metrics and the breaker."""
        tried = self.progress.tries[-1]
        tried.note["error"] = failure.kind
        tried.end = "not_sent" if failure.kind == UNREACHABLE else "abandoned" if failure.is_abandoned else "failed"
        offer = tried.attempt.offer
        count("komilion_attempts", (offer.model_id, offer.provider, failure.kind))
        weight = VERDICTS[failure.kind].weight
        if weight == "nothing":
            self.answered()
        else:
            self._breakers.failed(*key_of(offer), weight=weight, reason=failure.kind)

    def _following(self, failure: AttemptFailed) -> tuple[int, float] | None:
        """Which attempt is next, and after how many seconds; None where none is."""
        if len(self.progress.tries) >= numbers.ATTEMPTS_MOST or not self._is_within_loss():
            return None
        if self.is_resumable is not None and not self.is_resumable():
            return None
        verdict = VERDICTS[failure.kind]
        is_reserved = self._is_reserved()
        may_again = self._tries_here < numbers.TRIES_PER_OFFER and not is_reserved
        later = next(self._later(verdict.then, only_new=is_reserved), None)
        here: tuple[int, float] | None = None
        if may_again and verdict.again == "at once":
            here = self._place, 0.0
        elif may_again and verdict.again == "after a pause":
            here = self._place, _pause_s()
        elif may_again and verdict.again == "when told" and failure.wait_s is not None:
            here = (self._place, failure.wait_s) if failure.wait_s <= numbers.RETRY_AFTER_MOST_S else None
        if here is not None:
            return here
        if later is not None:
            return later, 0.0
        is_untold = verdict.again == "when told" and failure.wait_s is None
        if may_again and (is_untold or verdict.again == "as a last resort"):
            return self._place, _pause_s()
        return None

    def _new_models(self) -> set[str]:
        """Those of the attempts to come that have not been asked yet."""
        coming = {attempt.offer.model_id for attempt in self.reserved.attempts[self._place + 1 :]}
        return coming - {tried.attempt.offer.model_id for tried in self.progress.tries}

    def _is_reserved(self) -> bool:
        """Whether the tries that are left are no more than those models: each is to have its turn."""
        return numbers.ATTEMPTS_MOST - len(self.progress.tries) <= len(self._new_models())

    def _later(self, then: str, *, only_new: bool) -> Iterator[int]:
        """The places of the attempts that may follow the running one, of models that have not been asked or of all."""
        running, new = self.reserved.attempt.offer, self._new_models()
        for place in range(self._place + 1, len(self.reserved.attempts)):
            attempt = self.reserved.attempts[place]
            if only_new and attempt.offer.model_id not in new:
                continue
            is_larger = attempt.offer.context_length > running.context_length
            is_other = attempt.is_named and attempt.offer.model_id != running.model_id
            if then == "any" or (then == "larger context" and is_larger) or (then == "named model" and is_other):
                yield place

    async def _pause(self, seconds: float) -> bool:
        """Whether there is still somebody to answer, and time to do it, after so many seconds."""
        left_s = numbers.TOTAL_TIMEOUT_S - (monotonic_s() - self.progress.started_s)
        if left_s < seconds + LEAST_S or not await self._is_wanted():
            return False
        if not seconds:
            return True
        await asyncio.sleep(seconds)
        return await self._is_wanted()

    async def _is_wanted(self) -> bool:
        """Whether the caller is still there, or will come back for the answer."""
        if self.reserved.recording is not None:
            return True
        self._watch.watch_client()
        await asyncio.sleep(0)  # one who left long ago is noticed in the first turn
        return not self._exchange.is_gone

    def _final(self, failure: AttemptFailed) -> KomilionError | NotSent:
        """What the caller is told."""
        if all(tried.end == "not_sent" for tried in self.progress.tries):
            return NotSent(failure.error)
        return failure.error


def _pause_s() -> float:
    """So that the callers of a provider that stumbled do not all come back in one moment."""
    return numbers.RETRY_PAUSE_S * random.uniform(0.5, 1.5)  # noqa: S311 - nobody gains by guessing it
