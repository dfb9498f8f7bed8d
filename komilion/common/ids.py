"""Identifiers that leave the process: request ids, API keys and their keyed hash.

An API key is `ck_` + 32 base62 characters + 6 characters of checksum, so a mistyped key is refused without a look-up.
"""

import hmac
import secrets
import string
import zlib
from contextvars import ContextVar

from komilion.common.clock import unix_ms

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
KEY_PREFIX = "ck_"
KEY_SECRET_LENGTH = 32
KEY_CHECKSUM_LENGTH = 6
KEY_LENGTH = len(KEY_PREFIX) + KEY_SECRET_LENGTH + KEY_CHECKSUM_LENGTH
REQUEST_ID_RANDOM_BYTES = 9
REQUEST_IDS_AT_ONCE = 64
_randoms: list[str] = []

# Of the request that is being answered, for the lines that code which knows of no request writes into the log.
current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)


def new_request_id() -> str:
    """`gen-` + 12 hexadecimal digits of Unix milliseconds + 18 random ones: unique without asking anybody.

    Ids that begin with the time lie side by side in every index (RFC 9562, section 6.11), so a large table costs no
    more than a small one. The kernel is asked for many random parts at once; a process that forks must not share what
    is left, so none of ours forks.
    """
    if not _randoms:
        raw = secrets.token_hex(REQUEST_ID_RANDOM_BYTES * REQUEST_IDS_AT_ONCE)
        step = 2 * REQUEST_ID_RANDOM_BYTES
        _randoms.extend(raw[start : start + step] for start in range(0, len(raw), step))
    return f"gen-{unix_ms():012x}{_randoms.pop()}"


def new_id(kind: str) -> str:
    """`KIND-` + 12 hexadecimal digits of Unix milliseconds + 18 random ones, for what is not made by the thousand."""
    return f"{kind}-{unix_ms():012x}{secrets.token_hex(REQUEST_ID_RANDOM_BYTES)}"


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(reversed(digits))


def _checksum(secret: str) -> str:
    return _base62(zlib.crc32(secret.encode()), KEY_CHECKSUM_LENGTH)


def new_api_key() -> str:
    """A fresh key; 190 random bits."""
    secret = "".join(secrets.choice(BASE62) for _ in range(KEY_SECRET_LENGTH))
    return KEY_PREFIX + secret + _checksum(secret)


def is_well_formed_api_key(key: str) -> bool:
    """Whether the text has the shape and the checksum of a key; says nothing about whether it exists."""
    if len(key) != KEY_LENGTH or not key.startswith(KEY_PREFIX) or not key.isascii() or not key[3:].isalnum():
        return False
    secret = key[len(KEY_PREFIX) : -KEY_CHECKSUM_LENGTH]
    return hmac.compare_digest(_checksum(secret), key[-KEY_CHECKSUM_LENGTH:])


def hash_api_key(key: str, pepper: bytes) -> bytes:
    """HMAC-SHA256 of the key under the installation's pepper: 32 bytes, the only form that is stored."""
    return hmac.digest(pepper, key.encode(), "sha256")


def hint_of_api_key(key: str) -> str:
    """What a page may show of a key: `ck_Ab12...wxyz`."""
    return f"{key[:7]}...{key[-4:]}"
