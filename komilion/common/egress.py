"""The one way by which we call a URL that a tenant or a caller gave us: their files, and their webhooks.

Such a URL is an attempt to have us ask what its author cannot reach (SSRF). So: https alone, its own port, no
credentials; the name is looked up once, every address found must be public, and the connection goes to one of these
very addresses, so that a second look-up cannot say something else (DNS rebinding); redirects are followed by hand and
each is a new URL; no proxy of the environment is asked; nothing is unpacked; head, body and time have limits, and a
fetch has a least pace, so that a server that drips holds nobody up. `EGRESS_ALLOW` names the hosts and networks for
which the operator lifts the first rules.

What a caller is told never names an address, nor what answered there. Asynchronous; a job runs it in `asyncio.run`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from komilion.common.errors import KomilionError, PayloadTooLarge, UrlRefused, UrlUnreachable
from komilion.common.http_client import HttpClient, Response
from komilion.common.http_errors import HttpError, NotConnected
from komilion.common.http_message import AddrInfo, Origin, Resolve, look_up, target_of
from komilion.common.numbers import numbers
from komilion.common.public_address import is_public

REDIRECTS_MOST = 3
URL_MOST_CHARACTERS = 2_048
HEAD_LIMIT_BYTES = 16 * 2**10
CONNECT_TIMEOUT_S = 10
PACE_S = 30
LEAST_BYTES_PER_S = 50_000  # on average, over each `PACE_S` of a fetch; the wait for its head counts
PORT = 443
REDIRECTS = {301, 302, 303, 307, 308}
HEADERS = {"User-Agent": "Komilion", "Accept": "*/*", "Accept-Encoding": "identity"}

type Network = IPv4Network | IPv6Network


class Sink(Protocol):
    """Where a fetched body goes: a file that is open for writing bytes."""

    def write(self, data: bytes, /) -> object:
        """Take the next piece."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL gave: the size of its body in bytes, and what its server calls it (lower case, no parameters)."""

    size: int
    content_type: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a posted message was answered: `body` is its beginning."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Egress:
    """Calls URLs of strangers. Keeps no connection, so it may be used from any event loop."""

    resolve: Resolve = look_up

    async def fetch(self, url: str, sink: Sink, *, most_bytes: int, timeout_s: float, param: str = "url") -> Fetched:
        """Get what is at `url` into `sink`, within `timeout_s` from now, redirects included.

        Raises `UrlRefused`, `UrlUnreachable` (also for any status but 200, for packed bodies, and for less than
        `LEAST_BYTES_PER_S` over `PACE_S`), and `PayloadTooLarge` above `most_bytes`; all of them name `param`, and
        `sink` then holds a part of it at most.
        """
        with _explained(param):
            async with asyncio.timeout(timeout_s):
                return await self._follow(url, sink, most_bytes)

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, timeout_s: float, keep_bytes: int
    ) -> Answer:
        """Send a message. A redirect is an answer like any other. Raises `UrlRefused`, `UrlUnreachable`."""
        with _explained("url"):
            async with asyncio.timeout(timeout_s), self._asked("POST", url, headers, body) as response:
                return Answer(response.status, await _beginning(response, keep_bytes))

    async def _follow(self, url: str, sink: Sink, most_bytes: int) -> Fetched:
        is_secure = False
        for _ in range(REDIRECTS_MOST + 1):
            is_secure = _demand_scheme(url, is_secure=is_secure)
            async with _paced() as pace, self._asked("GET", url, {}, b"") as response:
                if response.status not in REDIRECTS:
                    return await _receive(response, sink, most_bytes, pace)
                location = response.headers.get("location", "")
            if not location:
                raise UrlUnreachable("The server redirects to nowhere.")
            url = _joined(url, location)
        raise UrlUnreachable(f"The server redirects more than {REDIRECTS_MOST} times.")

    @contextlib.asynccontextmanager
    async def _asked(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> AsyncIterator[Response]:
        """One exchange over a connection of its own."""
        check_url(url)
        client = HttpClient(
            head_limit_bytes=HEAD_LIMIT_BYTES, connect_timeout_s=CONNECT_TIMEOUT_S, resolve=self._resolve_safely
        )
        try:
            response = await client.request(method, url, {**HEADERS, **headers}, body)
            try:
                yield response
            finally:
                response.close()
        finally:
            await client.close()

    async def _resolve_safely(self, origin: Origin) -> Sequence[AddrInfo]:
        """The addresses behind a name, each of them allowed; what is connected to is one of these and no other."""
        found = await self.resolve(origin)
        _demand_allowed(origin, [str(info[4][0]).partition("%")[0] for info in found])
        return found


def check_url(url: str, *, param: str | None = None) -> None:
    """Refuse what can be refused without a look-up, so that a URL for later is refused at once. Raises `UrlRefused`."""
    if len(url) > URL_MOST_CHARACTERS:
        raise UrlRefused(f"The URL is longer than {URL_MOST_CHARACTERS:,} characters.", param=param)
    if not url.isprintable() or "\\" in url or " " in url:  # parsers differ about where such a URL leads
        raise UrlRefused("The URL holds characters that have to be escaped.", param=param)
    try:
        origin, _ = target_of(url)
    except ValueError:
        raise UrlRefused("The URL is none that can be called; it must begin with https://.", param=param) from None
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise UrlRefused("The URL holds a user name or a password; they are not sent.", param=param)
    if not _names_allowed(origin.host) and not _networks_are_allowed():  # else what the host resolves to decides
        _demand_ordinary(origin, param)
    if _is_address(origin.host):
        with _explained(param):
            _demand_allowed(origin, [origin.host.partition("%")[0]])


def _demand_ordinary(origin: Origin, param: str | None = None) -> None:
    if not origin.is_tls:
        raise UrlRefused("The URL must begin with https://.", param=param)
    if origin.port != PORT:
        raise UrlRefused(f"The URL names a port; only {PORT} is called.", param=param)


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise UrlUnreachable("The server redirects to what is no URL.") from None


def _demand_scheme(url: str, *, is_secure: bool) -> bool:
    """Whether it is https; what began so never goes on in the clear."""
    is_https = url.lower().startswith("https:")
    if is_secure and not is_https:
        raise UrlRefused("The server redirects to a URL that does not begin with https://.")
    return is_https


def _demand_allowed(origin: Origin, addresses: Sequence[str]) -> None:
    if not addresses:
        raise UrlUnreachable("The host of the URL is not known.")
    if _names_allowed(origin.host):
        return
    strangers = [address for address in addresses if not _is_in_allowed_network(address)]
    if not strangers:
        return
    _demand_ordinary(origin)
    if not all(is_public(address) for address in strangers):
        raise UrlRefused("The host of the URL is not on the public Internet.")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=8)
def _allowed(words: tuple[str, ...]) -> tuple[frozenset[str], tuple[Network, ...]]:
    """Names, and networks (an address is one of its own), of `EGRESS_ALLOW`."""
    names, networks = set[str](), list[Network]()
    for word in words:
        try:
            networks.append(ip_network(word))
        except ValueError:
            names.add(word.lower())
    return frozenset(names), tuple(networks)


def _names_allowed(host: str) -> bool:
    return host.lower() in _allowed(tuple(numbers.EGRESS_ALLOW))[0]


def _networks_are_allowed() -> bool:
    return bool(_allowed(tuple(numbers.EGRESS_ALLOW))[1])


def _is_in_allowed_network(address: str) -> bool:
    found = ip_address(address)
    return any(found in network for network in _allowed(tuple(numbers.EGRESS_ALLOW))[1])


@contextlib.asynccontextmanager
async def _paced() -> AsyncIterator[asyncio.Timeout]:
    """Ends after `PACE_S`, which whoever reads puts off by what came. Raises `UrlUnreachable`."""
    try:
        async with asyncio.timeout(PACE_S) as pace:
            yield pace
    except TimeoutError:
        least = f"{LEAST_BYTES_PER_S // 1_000} kB a second"
        message = f"The server of the URL is too slow: for {PACE_S:g} s there came less than {least}."
        raise UrlUnreachable(message) from None


async def _receive(response: Response, sink: Sink, most_bytes: int, pace: asyncio.Timeout) -> Fetched:
    if response.status != 200:
        raise UrlUnreachable(f"The server of the URL answered {response.status}.")
    if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise UrlUnreachable("The server of the URL sends its body packed, which it was asked not to.")
    declared = response.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most_bytes:
        raise _too_large(most_bytes)
    size = counted = 0
    while piece := await response.read_some():
        size += len(piece)
        if size > most_bytes:
            raise _too_large(most_bytes)
        if size - counted >= LEAST_BYTES_PER_S * PACE_S:
            counted = size
            pace.reschedule(asyncio.get_running_loop().time() + PACE_S)
        await asyncio.to_thread(sink.write, piece)  # a disk that is busy must not hold up what else the process does
    return Fetched(size, response.headers.get("content-type", "").partition(";")[0].strip().lower())


def _too_large(most_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"What the URL leads to is larger than {most_bytes / 2**20:,.0f} MiB.")


async def _beginning(response: Response, keep_bytes: int) -> bytes:
    """Up to `keep_bytes` of a body; the rest is not waited for. A body that breaks off is as good."""
    kept = b""
    with contextlib.suppress(HttpError):
        while len(kept) < keep_bytes and (piece := await response.read_some()):
            kept += piece
    return kept[:keep_bytes]


@contextlib.contextmanager
def _explained(param: str | None) -> Iterator[None]:
    """Whatever went wrong, in words for whoever gave the URL."""
    try:
        yield
    except KomilionError as error:
        error.param = error.param or param
        raise
    except TimeoutError:
        raise UrlUnreachable("The server of the URL took too long.", param=param) from None
    except NotConnected:
        message = "The server of the URL cannot be reached, or its certificate does not hold."
        raise UrlUnreachable(message, param=param) from None
    except HttpError:
        raise UrlUnreachable("The server of the URL broke off, or its answer is no valid HTTP.", param=param) from None
