"""call: one attempt at a provider. Opens the response; reading it is `answer`'s and `stream`'s business.

Answers are asked for as they are (identity encoding), redirects are failures like any other: an upstream is a stranger
too.
"""

import asyncio
import logging
from typing import Any

import msgspec

from komilion.common.clock import monotonic_s
from komilion.common.errors import (
    KomilionError,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RequestTimeout,
)
from komilion.common.failpoints import failpoint
from komilion.common.http_client import Disconnected, HttpClient, HttpError, NotConnected, Response, TooLarge
from komilion.common.numbers import numbers
from routing.gateway.types import Attempt, Progress, Reserved
from routing.providers.scrub import scrub

log = logging.getLogger(__name__)

ERROR_BODY_BYTES = 64 * 2**10


class NotSent(Exception):
    """The provider could not be reached at all: no byte went out. `error` is what the caller gets."""

    def __init__(self, error: KomilionError) -> None:
        super().__init__(error.message)
        self.error = error


class UpstreamResponse(msgspec.Struct, frozen=True):
    """An open 200 answer of a provider."""

    attempt: Attempt
    response: Response


def new_client() -> HttpClient:
    """The process' one client."""
    return HttpClient(head_limit_bytes=numbers.UPSTREAM_HEADER_LIMIT_BYTES, connect_timeout_s=numbers.CONNECT_TIMEOUT_S)


class Call:
    """`async with Call(...) as upstream:` sends the request and reads the response's head.

    Raises `NotSent`, or what the provider's error means. A call that was given up on is closed behind the block, so it
    stops at the provider too; what breaks off while it is read comes out as an error of ours.
    """

    __slots__ = ("_attempt", "_client", "_note", "_path", "_progress", "_response")

    def __init__(self, reserved: Reserved, client: HttpClient, progress: Progress, path: str) -> None:
        self._attempt = reserved.attempt
        self._client = client
        self._progress = progress
        self._path = path
        self._response: Response | None = None
        self._note: dict[str, Any] = {
            "provider": reserved.attempt.offer.provider,
            "model": reserved.attempt.offer.model_id,
            "status": None,
            "ms": None,
        }

    async def __aenter__(self) -> UpstreamResponse:
        self._progress.attempts.append(self._note)
        try:
            return await self._open()
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise

    async def _open(self) -> UpstreamResponse:
        upstream = self._attempt.upstream
        timeout_s = None if self._attempt.chat.stream else expected_answer_s(self._attempt)  # streams have a watch
        response = self._response = await self._client.request(
            "POST", upstream.url, upstream.headers, upstream.body, timeout_s=timeout_s
        )
        failpoint("upstream-head")
        self._note["status"] = response.status
        self._note["ms"] = self._elapsed_ms()  # until the provider began to answer; the row has when it ended
        if response.status != 200 or response.headers.get("content-encoding", "identity") != "identity":
            raise await _failure(self._attempt, response)
        return UpstreamResponse(self._attempt, response)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            assert self._response is not None
            self._response.release()
            return
        if self._response is not None:
            self._response.close()
        self._translate(error)

    def _translate(self, error: BaseException) -> None:
        """Raise what a fault of the connection means; everything else goes on as it is."""
        provider = self._attempt.offer.provider
        if self._note["ms"] is None:
            self._note["ms"] = self._elapsed_ms()
        if isinstance(error, NotConnected):
            self._note["error"] = "unreachable"
            raise NotSent(ProviderUnavailable(f"{provider} cannot be reached.")) from error
        if isinstance(error, TimeoutError):
            self._note["error"] = "timeout"
            raise time_is_up(self._path) from error
        if isinstance(error, HttpError):
            self._note["error"] = type(error).__name__
            raise ProviderError(f"{provider} {_fault(error)}.") from error

    def _elapsed_ms(self) -> int:
        """Since the request came in."""
        return round((monotonic_s() - self._progress.started_s) * 1000)


def _fault(error: HttpError) -> str:
    if isinstance(error, TooLarge):
        return "sent an answer that is too large"
    return "broke off the connection" if isinstance(error, Disconnected) else "sent something that is no HTTP answer"


def time_is_up(path: str) -> KomilionError:
    """Our time limit with nowhere else to go: 408 where OpenAI's clients expect it, 503 under `/api`."""
    if path.startswith("/api/"):
        return ProviderTimeout()
    return RequestTimeout("The provider did not answer in time.")


def expected_answer_s(attempt: Attempt) -> float:
    """How long a whole answer may take: a base plus its output at the offer's speed."""
    speed = attempt.offer.tokens_per_s or numbers.UNKNOWN_TOKENS_PER_S
    return min(numbers.TOTAL_TIMEOUT_S, numbers.ANSWER_BASE_S + attempt.output_ceiling / speed)


async def _failure(attempt: Attempt, response: Response) -> KomilionError:
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
    body = scrub(body[:ERROR_BODY_BYTES], attempt.offer.target.api_key.encode())  # an upstream may echo what we sent
    return attempt.offer.dialect.failure(response.status, response.headers, body)
