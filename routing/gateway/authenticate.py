"""authenticate: token -> Session. A process cache keyed by the keyed hash of the full key; no database while it hits.

The token is an API key, or a session token of one of our pages (`accounts.session_tokens`).

A cached answer may be stale for a moment; that is safe because the transaction that reserves money compares the
caller's epochs with the database's.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import DatabaseError, connection

from accounts.access import Caller, access_api_key, access_session_token
from accounts.session_tokens import read_token
from komilion.common.clock import monotonic_s, unix_s
from komilion.common.credentials import CREDENTIAL_HEADERS, bare_token
from komilion.common.errors import LedgerUnavailable, Suspended, Unauthenticated
from komilion.common.ids import hash_api_key, is_well_formed_api_key
from komilion.common.numbers import numbers
from routing.gateway.exchange import Exchange
from routing.gateway.types import Session
from routing.limits.admission import Scope
from routing.limits.tiers import limits_for

log = logging.getLogger(__name__)

type Access = Callable[[], Caller | None]

CACHE_KEYS = 50_000
FOUND_FOR_S = 60.0
TICKET_FOUND_FOR_S = 5.0  # a person may end her sessions, which no news tells of
MISSING_FOR_S = 5.0
LOOKUP_THREADS = 4


class Authenticator:
    """Finds the session behind a request's key; one per process."""

    def __init__(self) -> None:
        self._cache: OrderedDict[bytes, tuple[Session | None, float]] = OrderedDict()
        self._lookups: dict[bytes, asyncio.Future[Session | None]] = {}
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="authenticate")

    async def authenticate(self, exchange: Exchange, *, keys_only: bool = False) -> Session:
        """The session of the request's key, or of its session token unless `keys_only`.

        Raises `Unauthenticated`, `Suspended`, `LedgerUnavailable`.
        """
        if exchange.vouched is not None:
            exchange.session = await exchange.vouched()
        else:
            exchange.session = await self._of_token(credential_of(exchange), keys_only=keys_only)
        return _in_force(exchange.session)

    async def recognise(self, token: str) -> Session:
        """The session of a key or a session token that came otherwise than in a header. Raises like `authenticate`."""
        return _in_force(await self._of_token(token, keys_only=False))

    async def recall(self, identity: bytes, access: Access) -> Session:
        """The session of a caller who was recognised before: `access` looks it up, unless what it found under this
        identity (for a key its hash) is remembered. Raises like `authenticate`.
        """
        session = await self._find(identity, access)
        if session is None:
            raise Unauthenticated
        return _in_force(session)

    async def _of_token(self, token: str, *, keys_only: bool) -> Session:
        if is_well_formed_api_key(token):
            key_hash = hash_api_key(token, numbers.KEY_PEPPER)
            session = await self._find(key_hash, partial(access_api_key, key_hash))
        elif not keys_only and (ticket := read_token(token)) is not None:
            key_hash = hash_api_key(token, numbers.KEY_PEPPER)
            session = await self._find(key_hash, partial(access_session_token, ticket))
        else:
            raise Unauthenticated
        if session is None:
            raise Unauthenticated
        return session

    def forget(self, key_hash: bytes) -> None:
        """The key changed."""
        self._cache.pop(key_hash, None)

    def forget_organization(self, organization_id: int) -> None:
        """Something about the organization changed."""
        stale = [
            key_hash
            for key_hash, (session, _) in self._cache.items()
            if session is not None and session.caller.organization_id == organization_id
        ]
        for key_hash in stale:
            del self._cache[key_hash]

    def forget_all(self) -> None:
        """News may have been missed."""
        self._cache.clear()

    def close(self) -> None:
        """End the look-up threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _find(self, key_hash: bytes, access: Access) -> Session | None:
        """Many requests with one unknown key cause one look-up."""
        cached = self._cache.get(key_hash)
        if cached is not None and cached[1] > monotonic_s():
            return cached[0]
        running = self._lookups.get(key_hash)
        if running is None:
            running = asyncio.ensure_future(self._look_up(key_hash, access))
            self._lookups[key_hash] = running
            running.add_done_callback(lambda _: self._lookups.pop(key_hash, None))
        return await asyncio.shield(running)

    async def _look_up(self, key_hash: bytes, access: Access) -> Session | None:
        loop = asyncio.get_running_loop()
        try:
            caller = await loop.run_in_executor(self._threads, _run, access)
        except DatabaseError as error:
            log.warning("key look-up failed", extra={"error": str(error)})
            raise LedgerUnavailable from error
        session = None if caller is None else Session(caller, scopes_of(caller))
        self._cache[key_hash] = (session, monotonic_s() + _kept_for_s(caller))
        if len(self._cache) > CACHE_KEYS:
            self._cache.popitem(last=False)
        return session


def _in_force(session: Session) -> Session:
    """Raises for a key that has expired since it was read, and for a suspended organization."""
    caller = session.caller
    if caller.expires_at_unix_s is not None and caller.expires_at_unix_s <= unix_s():
        raise Unauthenticated
    if caller.is_suspended:
        raise Suspended
    return session


def _kept_for_s(caller: Caller | None) -> float:
    if caller is None:
        return MISSING_FOR_S
    return TICKET_FOUND_FOR_S if caller.key_id is None else FOUND_FOR_S


def _run(access: Access) -> Caller | None:
    """In a look-up thread: its connection is closed at once, as nothing would ever close it later."""
    try:
        return access()
    finally:
        connection.close()


def scopes_of(caller: Caller) -> tuple[Scope, ...]:
    """Where the caller's requests are counted: its organization, and of its key and those above it who has limits."""
    limits = limits_for(caller.tier, caller.organization_limits)
    scopes = [Scope(f"org:{caller.organization_id}", limits)]
    if caller.key_limits:
        scopes.append(Scope(f"key:{caller.key_id}", limits_for(caller.tier, caller.key_limits)))
    scopes += [Scope(f"key:{key_id}", limits_for(caller.tier, own)) for key_id, own in caller.limits_above.items()]
    return tuple(scopes)


def credential_of(exchange: Exchange) -> str:
    """The one key that the request carries. Raises `Unauthenticated` for none, two that differ, or odd bytes."""
    headers = exchange.headers
    if len(headers) != len(exchange.raw_headers):  # a repeated header: the dictionary shows only the last
        found = {bare_token(value) for name, value in exchange.raw_headers if name in CREDENTIAL_HEADERS}
    else:
        found = {bare_token(headers[name]) for name in CREDENTIAL_HEADERS if name in headers}
    found.discard(b"")
    if len(found) > 1:
        raise Unauthenticated("The request carries two different API keys.")
    if not found:
        raise Unauthenticated("The request carries no API key. Send it as `Authorization: Bearer ck_...`.")
    try:
        return found.pop().decode("ascii")
    except UnicodeDecodeError:
        raise Unauthenticated from None


def has_credential(exchange: Exchange) -> bool:
    """Whether any of the credential headers is there and not empty."""
    return any(exchange.headers.get(name) for name in CREDENTIAL_HEADERS)
