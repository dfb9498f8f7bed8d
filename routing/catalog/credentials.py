"""Providers' API keys and people's second factors at rest, and answers that are kept for a replay.

Encrypted with the installation's Fernet keys, the newest first, so that keys can rotate.
"""

from functools import cache

from cryptography.fernet import Fernet, MultiFernet

from komilion.common.numbers import numbers


def _fernet() -> MultiFernet:
    return _fernet_of(tuple(numbers.CREDENTIAL_KEYS))


@cache
def _fernet_of(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def seal(data: bytes) -> bytes:
    """Any bytes, encrypted; the result is ASCII, a third longer."""
    return _fernet().encrypt(data)


def unseal(sealed: bytes) -> bytes:
    """What was sealed. Raises `InvalidToken` when no configured key fits."""
    return _fernet().decrypt(sealed)


def reseal(sealed: bytes) -> bytes:
    """The same, sealed with the newest key. Raises `InvalidToken` when no configured key fits."""
    return _fernet().rotate(sealed)


def encrypt(secret: str) -> bytes:
    """For the database; empty stays empty."""
    return _fernet().encrypt(secret.encode()) if secret else b""


def decrypt(stored: bytes) -> str:
    """From the database. Raises `InvalidToken` when no configured key fits."""
    return _fernet().decrypt(stored).decode() if stored else ""
