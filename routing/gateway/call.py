"""call: one attempt at a provider. Opens the response; reading it is `answer`'s and `stream`'s business.

The client never follows redirects, reads no proxy environment, asks for identity encoding and unpacks nothing, and
caps lines, headers and bodies: an upstream is a stranger too.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, override

import aiohttp
import yarl

from komilion.common.clock import monotonic_s
from komilion.common.errors import (
    KomilionError,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RequestTimeout,
)
from komilion.common.failpoints import failpoint
from komilion.common.numbers import numbers
from routing.gateway.types import Attempt, Progress, Reserved
from routing.providers.scrub import scrub

ERROR_BODY_BYTES = 64 * 2**10
OUR_HEADERS = frozenset({"User-Agent", "Accept", "Accept-Encoding", "Content-Type"})
_urls: dict[str, yarl.URL] = {}


class NotSent(Exception):
    """The provider could not be reached at all: no byte went out. `error` is what the caller gets."""

    def __init__(self, error: KomilionError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """An open 200 answer of a provider."""

    attempt: Attempt
    response: aiohttp.ClientResponse


class CleanConnector(aiohttp.TCPConnector):
    """Never hands out a kept connection on which bytes came that nobody had asked for.

    An upstream that sends a second answer behind the first would else have it read as the answer to the next call,
    which may be another tenant's.
    """

    @override
    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close:
                break
            connection.close()
        return connection


def new_session() -> aiohttp.ClientSession:
    """The process' one session; never evicted."""
    return aiohttp.ClientSession(
        connector=CleanConnector(limit=0, keepalive_timeout=60, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        raise_for_status=False,
        trust_env=False,
        skip_auto_headers=OUR_HEADERS,
        max_line_size=numbers.UPSTREAM_HEADER_LIMIT_BYTES,
        max_field_size=numbers.UPSTREAM_HEADER_LIMIT_BYTES,
    )


class Call:
    """`async with Call(...) as upstream:` sends the request and reads the response's head.

    Raises `NotSent`, or what the provider's error means. Behind the block the response is closed, so a call that was
    given up on stops at the provider too; what breaks off while it is read comes out as an error of ours.
    """

    __slots__ = ("_attempt", "_note", "_path", "_progress", "_response", "_session")

    def __init__(self, reserved: Reserved, session: aiohttp.ClientSession, progress: Progress, path: str) -> None:
        self._attempt = reserved.attempt
        self._session = session
        self._progress = progress
        self._path = path
        self._response: aiohttp.ClientResponse | None = None
        self._note: dict[str, Any] = {
            "provider": reserved.attempt.offer.provider,
            "model": reserved.attempt.offer.model_id,
            "status": None,
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
        response = self._response = await self._session.post(
            _url(upstream.url),
            data=upstream.body,
            headers=upstream.headers,
            allow_redirects=False,
            timeout=_timeout_of(self._attempt),
        )
        failpoint("upstream-head")
        self._note["status"] = response.status
        if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
            raise await _failure(self._attempt, response)
        return UpstreamResponse(self._attempt, response)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._note["ms"] = round((monotonic_s() - self._progress.started_s) * 1000)
        if self._response is not None:
            self._response.close()
        if error is not None:
            self._translate(error)

    def _translate(self, error: BaseException) -> None:
        """Raise what a fault of the connection means; everything else goes on as it is."""
        provider = self._attempt.offer.provider
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            self._note["error"] = "unreachable"
            raise NotSent(ProviderUnavailable(f"{provider} cannot be reached.")) from error
        if isinstance(error, TimeoutError):
            self._note["error"] = "timeout"
            raise time_is_up(self._path) from error
        if isinstance(error, aiohttp.ClientError):
            self._note["error"] = type(error).__name__
            raise ProviderError(f"{provider} broke off the connection.") from error


def time_is_up(path: str) -> KomilionError:
    """Our time limit with nowhere else to go: 408 where OpenAI's clients expect it, 503 under `/api`."""
    if path.startswith("/api/"):
        return ProviderTimeout()
    return RequestTimeout("The provider did not answer in time.")


def expected_answer_s(attempt: Attempt) -> float:
    """How long a whole answer may take: a base plus its output at the offer's speed."""
    speed = attempt.offer.tokens_per_s or numbers.UNKNOWN_TOKENS_PER_S
    return min(numbers.TOTAL_TIMEOUT_S, numbers.ANSWER_BASE_S + attempt.output_ceiling / speed)


def _timeout_of(attempt: Attempt) -> aiohttp.ClientTimeout:
    total = None if attempt.chat.stream else expected_answer_s(attempt)  # a stream's limits are its watch's
    return aiohttp.ClientTimeout(total=total, sock_connect=numbers.CONNECT_TIMEOUT_S)


def _url(text: str) -> yarl.URL:
    """Parsing a URL costs as much as hashing a key; there are only as many as providers."""
    url = _urls.get(text)
    if url is None:
        url = _urls[text] = yarl.URL(text)
    return url


async def _failure(attempt: Attempt, response: aiohttp.ClientResponse) -> KomilionError:
    """What a response that is not a plain 200 means to our caller."""
    if response.status == 200:
        return ProviderError(f"{attempt.offer.provider} answered in an encoding nobody asked for.")
    body = b""
    try:
        async with asyncio.timeout(numbers.CONNECT_TIMEOUT_S):
            body = await response.content.read(ERROR_BODY_BYTES)
    except (TimeoutError, aiohttp.ClientError):
        body = b""  # the status alone has to do
    body = scrub(body, attempt.offer.target.api_key.encode())  # an upstream may echo what we sent
    return attempt.offer.dialect.failure(response.status, response.headers, body)
