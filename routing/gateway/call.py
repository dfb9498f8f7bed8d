"""call: one request to one provider. Opens the response; reading it is `answer`'s and `stream`'s business.

Answers are asked for as they are (identity encoding), redirects are failures like any other: an upstream is a stranger
too. Whatever goes wrong between the first byte out and the last byte in leaves the block as one `AttemptFailed`.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from komilion.common.clock import monotonic_s
from komilion.common.errors import (
    AnswerTooLarge,
    KomilionError,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RequestTimeout,
)
from komilion.common.failpoints import failpoint
from komilion.common.http_client import HttpClient, Response
from komilion.common.http_errors import Disconnected, HttpError, NotConnected, TooLarge
from komilion.common.numbers import numbers
from routing.gateway.meter import Meter
from routing.gateway.progress import Progress, Try
from routing.gateway.types import Attempt, Reserved
from routing.gateway.verdicts import BROKEN_OFF, TOO_LARGE, UNREACHABLE, VERDICTS, kind_of
from routing.providers.failures import retry_after_s
from routing.providers.scrub import scrub

log = logging.getLogger(__name__)

ERROR_BODY_BYTES = 64 * 2**10
KEPT_FOR_OTHERS = 0.5  # of the whole time
NO_RETRY = {"x-should-retry": "false"}  # OpenAI's clients try again after any 5xx but this


class NotSent(Exception):
    """No provider could be reached at all: no byte went out. `error` is what the caller gets."""

    def __init__(self, error: KomilionError) -> None:
        super().__init__(error.message)
        self.error = error


class AttemptFailed(Exception):
    """An attempt came to nothing. `kind` is its row in `VERDICTS`, `error` what the caller gets if nothing follows."""

    def __init__(
        self, kind: str, error: KomilionError, *, wait_s: float | None = None, is_abandoned: bool = False
    ) -> None:
        super().__init__(f"{kind}: {error.message}")
        self.kind = kind
        self.error = error
        self.wait_s = wait_s  # for which the provider asked to be left alone
        self.is_abandoned = is_abandoned  # it was us who gave up


class UpstreamResponse(msgspec.Struct, frozen=True):
    """An open 200 answer of a provider."""

    tried: Try
    response: Response

    @property
    def attempt(self) -> Attempt:
        """What was asked."""
        return self.tried.attempt


def new_client() -> HttpClient:
    """The process' one client."""
    return HttpClient(head_limit_bytes=numbers.UPSTREAM_HEADER_LIMIT_BYTES, connect_timeout_s=numbers.CONNECT_TIMEOUT_S)


class Call:
    """`async with Call(...) as upstream:` sends the request of the running attempt and reads the response's head.

    Raises `AttemptFailed`. A call that was given up on is closed behind the block, so it stops at the provider too.
    """

    __slots__ = (
        "_client",
        "_has_fallback",
        "_is_first",
        "_is_open",
        "_path",
        "_response",
        "_started_s",
        "_wait_s",
        "tried",
    )

    def __init__(
        self,
        reserved: Reserved,
        client: HttpClient,
        progress: Progress,
        path: str,
        has_fallback: Callable[[], bool],
    ) -> None:
        attempt = reserved.attempt
        note = {"provider": attempt.offer.provider, "model": attempt.offer.model_id, "status": None, "ms": None}
        self.tried = Try(attempt, Meter(attempt, reserved), note, monotonic_s())
        self._client = client
        self._path = path
        self._has_fallback = has_fallback  # whether another attempt would follow
        self._started_s = progress.started_s
        self._response: Response | None = None
        self._wait_s: float | None = None
        self._is_first = not progress.tries
        self._is_open = False  # an answer can be read
        progress.tries.append(self.tried)

    async def __aenter__(self) -> UpstreamResponse:
        try:
            return await self._open()
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise

    async def _open(self) -> UpstreamResponse:
        attempt = self.tried.attempt
        upstream = attempt.upstream
        timeout_s = None if attempt.chat.stream else self._answer_limit_s()  # streams have a watch
        response = self._response = await self._client.request(
            "POST", upstream.url, upstream.headers, upstream.body, timeout_s=timeout_s
        )
        failpoint("upstream-head")
        note = self.tried.note
        note["status"] = response.status
        note["ms"] = self._elapsed_ms()  # until the provider began to answer; the row has when it ended
        if response.status != 200 or response.headers.get("content-encoding", "identity") != "identity":
            raise await self._refusal(attempt, response)
        self._is_open = True
        return UpstreamResponse(self.tried, response)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            assert self._response is not None
            self._response.release()
            return
        if self._response is not None:
            self._response.close()
        note = self.tried.note
        if note["ms"] is None:
            note["ms"] = self._elapsed_ms()
        failure = self._failure(error)
        if failure is not None:
            raise failure from error

    def _failure(self, error: BaseException) -> AttemptFailed | None:
        """What broke off the attempt; None for everything that is not its own fault."""
        provider = self.tried.attempt.offer.provider
        if isinstance(error, NotConnected):
            return AttemptFailed(UNREACHABLE, ProviderUnavailable(f"{provider} cannot be reached."))
        if isinstance(error, TimeoutError):
            return out_of_time(self._path)
        if isinstance(error, TooLarge):
            return AttemptFailed(TOO_LARGE, AnswerTooLarge(headers=NO_RETRY), is_abandoned=True)
        if isinstance(error, HttpError):
            broken = ProviderError(f"{provider} {_fault(error)}.")
            kind = BROKEN_OFF if isinstance(error, Disconnected) else broken.reason
            return AttemptFailed(kind, broken)
        if isinstance(error, KomilionError):
            kind = kind_of(error)
            return AttemptFailed(kind, error, wait_s=self._wait_s) if kind in VERDICTS else None
        if isinstance(error, Exception) and not (self._is_open and self.tried.attempt.chat.stream):
            return self._unforeseen(error)
        return None

    def _unforeseen(self, error: Exception) -> AttemptFailed:
        """A fault of ours, or of the catalogue, in what has delivered nothing yet: another offer may do without it."""
        offer = self.tried.attempt.offer
        extra = {"alarm": "attempt_crashed", "provider": offer.provider, "model": offer.model_id}
        log.error("an attempt crashed", exc_info=error, extra=extra)
        broken = ProviderError(f"{offer.provider} could not be asked.")
        return AttemptFailed(broken.reason, broken)

    def _answer_limit_s(self) -> float:
        """How long a whole answer may take: its own limit, within what is left of the whole call's.

        Where another attempt would follow, half of the whole time is kept for it.
        """
        attempt = self.tried.attempt
        limit_s = expected_answer_s(attempt)
        enough_s = max(numbers.TOTAL_TIMEOUT_S * KEPT_FOR_OTHERS, thinking_s(attempt))
        if limit_s > enough_s and self._has_fallback():
            limit_s = enough_s
        if self._is_first:
            return limit_s
        return max(0.0, min(limit_s, numbers.TOTAL_TIMEOUT_S - (monotonic_s() - self._started_s)))

    def _elapsed_ms(self) -> int:
        """Since the request came in."""
        return round((monotonic_s() - self._started_s) * 1000)

    async def _refusal(self, attempt: Attempt, response: Response) -> KomilionError:
        """What a response that is not a plain 200 means to our caller."""
        if response.status == 200:
            return ProviderError(f"{attempt.offer.provider} answered in an encoding nobody asked for.")
        body = b""
        try:
            async with asyncio.timeout(numbers.CONNECT_TIMEOUT_S):
                while len(body) < ERROR_BODY_BYTES and (piece := await response.read_some()):
                    body += piece
        except (TimeoutError, HttpError):
            log.debug("an error's body broke off", extra={"provider": attempt.offer.provider})
        # An upstream may echo what we sent.
        body = scrub(body[:ERROR_BODY_BYTES], attempt.offer.target.api_key.encode())
        self._wait_s = retry_after_s(response.headers, body)
        return attempt.offer.dialect.failure(response.status, response.headers, body)


def _fault(error: HttpError) -> str:
    return "broke off the connection" if isinstance(error, Disconnected) else "sent something that is no HTTP answer"


def time_is_up(path: str) -> KomilionError:
    """Our time limit with nowhere else to go: 408 where OpenAI's clients expect it, 503 under `/api`."""
    if path.startswith("/api/"):
        return ProviderTimeout()
    return RequestTimeout("The provider did not answer in time.")


def out_of_time(path: str) -> AttemptFailed:
    """We gave up waiting."""
    error = time_is_up(path)
    return AttemptFailed(error.reason, error, is_abandoned=True)


def prefill_s(attempt: Attempt) -> float:
    """How long a provider may take to read the input."""
    return attempt.likely_input / numbers.PREFILL_TOKENS_PER_S


def thinking_s(attempt: Attempt) -> float:
    """How long it may say nothing because it thinks."""
    return numbers.REASONING_TIMEOUT_S if attempt.offer.is_reasoning else 0


def expected_answer_s(attempt: Attempt) -> float:
    """How long a whole answer may take: a base plus its input and its output at the offer's speed."""
    speed = attempt.offer.tokens_per_s or numbers.UNKNOWN_TOKENS_PER_S
    expected_s = numbers.ANSWER_BASE_S + prefill_s(attempt) + attempt.output_ceiling / speed
    return min(numbers.TOTAL_TIMEOUT_S, max(expected_s, thinking_s(attempt)))
