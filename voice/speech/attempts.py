"""The offers of one call of speech, one after the other, until one of them brings an answer.

What follows a failure is the table of chats, `routing.gateway.verdicts`, and so are the breakers; which models' offers
they are is the caller's business. Nothing follows once a byte of an answer was passed on.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from komilion.common.clock import monotonic_s
from komilion.common.errors import KomilionError, ProviderError, ProviderUnavailable
from komilion.common.http_client import Response
from komilion.common.http_errors import Disconnected, HttpError, NotConnected
from komilion.common.numbers import numbers
from routing.catalog.voice import VoiceOffer
from routing.gateway.call import ERROR_BODY_BYTES, AttemptFailed, NotSent, out_of_time
from routing.gateway.services import Services
from routing.gateway.verdicts import BROKEN_OFF, UNREACHABLE, VERDICTS, kind_of
from routing.providers.failures import retry_after_s
from routing.providers.registry import speech_dialect
from routing.providers.scrub import scrub
from voice import offer_health

log = logging.getLogger(__name__)


class Attempts:
    """Runs what asks one offer for an answer. `notes` has each try, for the usage row."""

    def __init__(self, services: Services, offers: Sequence[VoiceOffer], path: str = "/v1") -> None:
        self.notes: list[dict[str, Any]] = []
        self.is_committed = False  # something of an answer was passed on: no other can take its place
        self.is_at_last = False  # no other offer comes after the one that is asked
        self._services = services
        self._offers = offers
        self._path = path  # of the caller's request: it decides how a time limit is told
        self._was_reached = False
        self._started_s = monotonic_s()

    async def run[T](self, ask: Callable[[VoiceOffer], Awaitable[T]]) -> tuple[VoiceOffer, T]:
        """The first answer, and whose it is. Raises the last offer's error; `NotSent` where none could be reached."""
        async with offer_health.in_order(self._services, self._offers) as offers:
            return await self._run(ask, offers)

    async def _run[T](
        self, ask: Callable[[VoiceOffer], Awaitable[T]], offers: Sequence[VoiceOffer]
    ) -> tuple[VoiceOffer, T]:
        place, tries_here = 0, 0
        while True:
            tries_here += 1
            self.is_at_last = place + 1 == len(offers)
            try:
                return offers[place], await self._try(offers[place], ask)
            except AttemptFailed as failure:
                wait_s = self._wait_s(failure, tries_here)
                if wait_s is None:
                    if self._is_over(failure) or self.is_at_last:
                        raise (failure.error if self._was_reached else NotSent(failure.error)) from failure
                    place, tries_here = place + 1, 0
                else:
                    await asyncio.sleep(wait_s)

    async def _try[T](self, offer: VoiceOffer, ask: Callable[[VoiceOffer], Awaitable[T]]) -> T:
        note: dict[str, Any] = {"provider": offer.provider, "model": offer.model_id}
        self.notes.append(note)
        try:
            answer = await ask(offer)
        except Exception as error:
            failure = self._failure(offer, error)
            if failure is None:
                raise
            note["error"] = failure.kind
            self._was_reached = self._was_reached or failure.kind != UNREACHABLE
            offer_health.failed(self._services, offer, failure.kind)
            raise failure from error
        finally:
            note["ms"] = round((monotonic_s() - self._started_s) * 1000)
        offer_health.succeeded(self._services, offer)
        return answer

    def _failure(self, offer: VoiceOffer, error: Exception) -> AttemptFailed | None:
        """What broke off the try; None for what is not the provider's doing."""
        if isinstance(error, AttemptFailed):
            return error
        if isinstance(error, NotConnected):
            return AttemptFailed(UNREACHABLE, ProviderUnavailable(f"{offer.provider} cannot be reached."))
        if isinstance(error, TimeoutError):
            return out_of_time(self._path)
        if isinstance(error, HttpError):
            broken = ProviderError(f"{offer.provider} broke off its answer.")
            return AttemptFailed(BROKEN_OFF if isinstance(error, Disconnected) else broken.reason, broken)
        if isinstance(error, KomilionError):
            return AttemptFailed(kind_of(error), error) if kind_of(error) in VERDICTS else None
        return None

    def _is_over(self, failure: AttemptFailed) -> bool:
        is_late = monotonic_s() - self._started_s > numbers.TOTAL_TIMEOUT_S
        is_enough = is_late or len(self.notes) >= numbers.ATTEMPTS_MOST
        return self.is_committed or is_enough or VERDICTS[failure.kind].then != "any"

    def _wait_s(self, failure: AttemptFailed, tries_here: int) -> float | None:
        """After how long the same offer is tried once more; None where it is not."""
        verdict = VERDICTS[failure.kind]
        if self.is_committed or tries_here >= numbers.TRIES_PER_OFFER or len(self.notes) >= numbers.ATTEMPTS_MOST:
            return None
        if verdict.again == "at once":
            return 0.0
        if verdict.again == "when told" and failure.wait_s is not None:
            return failure.wait_s if failure.wait_s <= numbers.RETRY_AFTER_MOST_S else None
        is_last_resort = self.is_at_last and verdict.again in ("as a last resort", "when told")
        may_again = verdict.again == "after a pause" or is_last_resort
        return numbers.RETRY_PAUSE_S * random.uniform(0.5, 1.5) if may_again else None  # noqa: S311 - spreads callers


@asynccontextmanager
async def opened(
    services: Services,
    offer: VoiceOffer,
    url: str,
    headers: Mapping[str, str],
    body: bytes | tuple[bytes, ...],
    *,
    timeout_s: float | None,
) -> AsyncIterator[Response]:
    """POST to an offer's provider and give its answer, a plain 200.

    Raises `AttemptFailed`, `HttpError`, `TimeoutError`, and what a refusal means that is nobody's failure.
    """
    response = await services.client.request("POST", url, headers, body, timeout_s=timeout_s)
    try:
        if response.status != 200:
            raise await _refusal(offer, response)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ProviderError(f"{offer.provider} answered in an encoding nobody asked for.")
        yield response
    finally:
        response.close()


async def _refusal(offer: VoiceOffer, response: Response) -> Exception:
    """What an answer that is no 200 means to our caller."""
    body = b""
    try:
        async with asyncio.timeout(numbers.CONNECT_TIMEOUT_S):
            while len(body) < ERROR_BODY_BYTES and (piece := await response.read_some()):
                body += piece
    except (TimeoutError, HttpError):
        log.debug("an error's body broke off", extra={"provider": offer.provider})
    body = scrub(body[:ERROR_BODY_BYTES], offer.target.api_key.encode())
    error = speech_dialect(offer.dialect).failure(response.status, response.headers, body)
    kind = kind_of(error)
    if kind not in VERDICTS:
        return error
    return AttemptFailed(kind, error, wait_s=retry_after_s(response.headers, body))
