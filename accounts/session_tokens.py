"""Session tokens: with one a page of ours calls the gateway for the person who looks at it. `cs_...`, 15 minutes.

A token is no row: it names organization and membership with the epochs that were current when it was made, under an
HMAC of a key that is derived from `CREDENTIAL_KEYS`, so it rotates with them. Whoever reads one compares the epochs
with the database's (`accounts.access.access_session_token`): a change of the organization's rights, or the end of the
person's sessions, ends the token.
"""

import binascii
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from functools import cache

from komilion.common.clock import unix_s
from komilion.common.numbers import numbers

PREFIX = "cs_"
LIFETIME_S = 900
FIELDS = struct.Struct(">BQQQQQ")  # version, then the fields of a `Ticket` in their order
VERSION = 1
MAC_BYTES = 32
LENGTH = len(PREFIX) + (FIELDS.size + MAC_BYTES + 2) // 3 * 4
DOMAIN = b"komilion session token\0"  # so that no other use of the same keys makes one


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a token says; it is worth something only while the database says the same."""

    organization_id: int
    membership_id: int
    organization_epoch: int
    session_epoch: int  # of the person
    expires_at_unix_s: int


def make_token(ticket: Ticket) -> str:
    """The ticket, signed with the newest key."""
    body = FIELDS.pack(
        VERSION,
        ticket.organization_id,
        ticket.membership_id,
        ticket.organization_epoch,
        ticket.session_epoch,
        ticket.expires_at_unix_s,
    )
    return PREFIX + urlsafe_b64encode(body + _mac(_keys()[0], body)).decode()


def read_token(token: str) -> Ticket | None:
    """What the token says; None where it is not one of ours, or over."""
    if len(token) != LENGTH or not token.startswith(PREFIX) or not token.isascii():
        return None
    try:
        raw = urlsafe_b64decode(token[len(PREFIX) :])
    except binascii.Error:
        return None
    body, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
    if len(body) != FIELDS.size or not any(hmac.compare_digest(_mac(key, body), mac) for key in _keys()):
        return None
    version, *fields = FIELDS.unpack(body)
    ticket = Ticket(*fields)
    return ticket if version == VERSION and ticket.expires_at_unix_s > unix_s() else None


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")


def _keys() -> tuple[bytes, ...]:
    """Newest first."""
    return _derived(tuple(numbers.CREDENTIAL_KEYS))


@cache
def _derived(credential_keys: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(hmac.digest(urlsafe_b64decode(key), DOMAIN, "sha256") for key in credential_keys)
