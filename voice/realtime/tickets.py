"""Tickets: one opens one voice session, for whoever asked for it with a key or a session of our pages, within ten
minutes.

The token is a secret of 190 bits that is never stored: Redis holds what it stands for under its keyed hash. It is taken
from there when its session is open, so that who is refused for want of money, of a free slot or of a provider can try
again. A ticket says which key or session token it was made with by what finds that again (the hash of the key,
the fields of the token), so it is worth nothing once those are not.
"""

import hmac
import secrets
from functools import partial
from typing import Any

import msgspec
import redis

from accounts.access import access_api_key, access_session_token
from accounts.session_tokens import Ticket as SessionTicket
from accounts.session_tokens import read_token
from komilion.common.clock import unix_s
from komilion.common.errors import PayloadTooLarge, Unauthenticated, Unavailable
from komilion.common.ids import hash_api_key, is_well_formed_api_key
from komilion.common.numbers import numbers
from komilion.common.redis import PREFIX, connect
from routing.gateway.exchange import Vouch
from routing.gateway.services import Services

TOKEN_PREFIX = "ek_"  # noqa: S105 - as OpenAI's ephemeral keys begin
TOKEN_BYTES = 24
TICKET_MOST_BYTES = 256 * 2**10  # it lies in Redis, which limits and jobs share
DOMAIN = b"komilion voice ticket\0"


class Page(msgspec.Struct, frozen=True):
    """What a session token of our pages says, but for when it ends: a conversation may outlast it."""

    organization_id: int
    membership_id: int
    organization_epoch: int
    session_epoch: int


class Identity(msgspec.Struct, frozen=True):
    """Who a credential stands for, without the credential. `hash`: of the key, else of the session token."""

    hash: bytes
    page: Page | None = None
    until_unix_s: int = 0  # of a page

    def vouch(self, services: Services) -> Vouch:
        """Finds the caller's session. Raises `Unauthenticated`, `Suspended`, `LedgerUnavailable`."""
        if self.page is None:
            return partial(services.authenticator.recall, self.hash, partial(access_api_key, self.hash))
        ticket = SessionTicket(**msgspec.structs.asdict(self.page), expires_at_unix_s=self.until_unix_s)
        return partial(services.authenticator.recall, self.hash, partial(access_session_token, ticket))


class Ticket(msgspec.Struct, frozen=True):
    """What a token stands for. `model` is a name as in a URL, `config` the GA `session` to begin with."""

    identity: Identity
    model: str
    config: dict[str, Any]
    tells_balance: bool = False  # to whoever holds the token


def identity_of(token: str) -> Identity:
    """Who an API key or a session token stands for; it is not looked up. Raises `Unauthenticated`."""
    if is_well_formed_api_key(token):
        return Identity(hash_api_key(token, numbers.KEY_PEPPER))
    said = read_token(token)
    if said is None:
        raise Unauthenticated
    page = Page(said.organization_id, said.membership_id, said.organization_epoch, said.session_epoch)
    until_unix_s = unix_s() + numbers.REALTIME_TICKET_LIFETIME_S + numbers.REALTIME_SESSION_LIMIT_S
    return Identity(hmac.digest(numbers.KEY_PEPPER, DOMAIN + token.encode(), "sha256"), page, until_unix_s)


async def keep(ticket: Ticket, lifetime_s: int) -> str:
    """A token that stands for the ticket, once. Raises `PayloadTooLarge`, `Unavailable` where Redis is gone."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    kept = msgspec.json.encode(ticket)
    if len(kept) > TICKET_MOST_BYTES:
        raise PayloadTooLarge(f"A session may be prepared with {TICKET_MOST_BYTES // 2**10} KiB of configuration.")
    try:
        async with connect() as client:
            await client.set(_key(token), kept, ex=lifetime_s)
    except (redis.RedisError, OSError) as error:
        raise Unavailable("Sessions cannot be prepared right now; connect with the API key itself.") from error
    return token


async def look(token: str) -> Ticket:
    """What the token stands for; it can still be used. Raises `Unauthenticated`, `Unavailable`."""
    return await _found(token, is_taken=False)


async def take(token: str) -> None:
    """Use the token up, once a session is open for it; of two that try only one can. Raises as `look` does."""
    await _found(token, is_taken=True)


async def _found(token: str, *, is_taken: bool) -> Ticket:
    key = _key(token)
    try:
        async with connect() as client:
            kept = await (client.getdel(key) if is_taken else client.get(key))
    except (redis.RedisError, OSError) as error:
        raise Unavailable(
            "Sessions cannot be opened with a token right now; connect with the API key itself."
        ) from error
    if kept is None:
        raise Unauthenticated("This token is unknown, was used already, or is older than ten minutes.")
    return msgspec.json.decode(kept, type=Ticket)


def _key(token: str) -> str:
    return f"{PREFIX}voice:ticket:{hmac.digest(numbers.KEY_PEPPER, DOMAIN + token.encode(), 'sha256').hex()}"
