"""call: one attempt at a provider. Opens the response; reading it is `answer`'s and `stream`'s business.

The client never follows redirects, reads no proxy environment, asks for identity encoding and unpacks nothing, and
caps lines, headers and bodies: an upstream is a stranger too.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import yarl
from django.conf import settings

from komilion.common.clock import monotonic_s
from komilion.common.errors import (
    KomilionError,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RequestTimeout,
)
from komilion.common.failpoints import failpoint
from routing.gateway.types import Attempt, Progress, Reserved

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


def new_session() -> aiohttp.ClientSession:
    """The process' one session; never evicted."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        raise_for_status=False,
        trust_env=False,
        skip_auto_headers=OUR_HEADERS,
        max_line_size=settings.UPSTREAM_HEADER_LIMIT_BYTES,
        max_field_size=settings.UPSTREAM_HEADER_LIMIT_BYTES,
    )


@asynccontextmanager
async def call(
    reserved: Reserved, session: aiohttp.ClientSession, progress: Progress, path: str
) -> AsyncIterator[UpstreamResponse]:
    """Send the request and read the response's head. Raises `NotSent`, or what the provider's error means.

    On the way out the response is closed, so a call that was given up on stops at the provider too.
    """
    attempt = reserved.attempt
    upstream = attempt.upstream
    note: dict[str, Any] = {"provider": attempt.offer.provider, "model": attempt.offer.model_id, "status": None}
    progress.attempts.append(note)
    response: aiohttp.ClientResponse | None = None
    try:
        response = await session.post(
            _url(upstream.url),
            data=upstream.body,
            headers=upstream.headers,
            allow_redirects=False,
            timeout=_timeout_of(attempt),
        )
        failpoint("upstream-head")
        note["status"] = response.status
        if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
            raise await _failure(attempt, response)
        yield UpstreamResponse(attempt, response)
    except aiohttp.ClientConnectorError as error:
        note["error"] = "unreachable"
        raise NotSent(ProviderUnavailable(f"{attempt.offer.provider} cannot be reached.")) from error
    except aiohttp.ConnectionTimeoutError as error:
        note["error"] = "connect_timeout"
        raise NotSent(ProviderUnavailable(f"{attempt.offer.provider} cannot be reached.")) from error
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        note["error"] = "timeout"
        raise time_is_up(path) from error
    except aiohttp.ClientError as error:
        note["error"] = type(error).__name__
        raise ProviderError(f"{attempt.offer.provider} broke off the connection.") from error
    finally:
        note["ms"] = round((monotonic_s() - progress.started_s) * 1000)
        if response is not None:
            response.close()


def time_is_up(path: str) -> KomilionError:
    """Our time limit with nowhere else to go: 408 where OpenAI's clients expect it, 503 under `/api`."""
    if path.startswith("/api/"):
        return ProviderTimeout()
    return RequestTimeout("The provider did not answer in time.")


def expected_answer_s(attempt: Attempt) -> float:
    """How long a whole answer may take: a base plus its output at the offer's speed."""
    speed = attempt.offer.tokens_per_s or settings.UNKNOWN_TOKENS_PER_S
    return min(settings.TOTAL_TIMEOUT_S, settings.ANSWER_BASE_S + attempt.output_ceiling / speed)


def _timeout_of(attempt: Attempt) -> aiohttp.ClientTimeout:
    total = settings.TOTAL_TIMEOUT_S if attempt.chat.stream else expected_answer_s(attempt)
    return aiohttp.ClientTimeout(total=total, sock_connect=settings.CONNECT_TIMEOUT_S)


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
        async with asyncio.timeout(settings.CONNECT_TIMEOUT_S):
            body = await response.content.read(ERROR_BODY_BYTES)
    except (TimeoutError, aiohttp.ClientError):
        body = b""  # the status alone has to do
    return attempt.offer.dialect.failure(response.status, response.headers, body)
