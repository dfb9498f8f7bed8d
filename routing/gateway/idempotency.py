"""Calls with an Idempotency-Key: claimed with their hold, answered again to who repeats them."""

import asyncio
import hmac
import logging
from collections.abc import Callable

import msgspec
from cryptography.fernet import InvalidToken
from django.db import DatabaseError, connection

from billing.ledger.items import Claim, Claimed
from billing.queries import idempotent_answer, idempotent_call
from komilion.common.errors import (
    BadRequest,
    IdempotencyInProgress,
    IdempotencyMismatch,
    IdempotencyNotKept,
    KomilionError,
    LedgerUnavailable,
)
from komilion.common.numbers import numbers
from routing.catalog.credentials import unseal
from routing.gateway.exchange import Exchange
from routing.gateway.recording import Answer

log = logging.getLogger(__name__)

HEADER = b"idempotency-key"
LONGEST_KEY = 255
DOMAIN = b"idempotent body\0"  # so that no other keyed hash of this installation is one of a body
NO_RETRY = {"x-should-retry": "false"}  # the SDKs would try a 409 again
REPLAYED = (b"idempotent-replayed", b"true")
NOT_KEPT = (b"idempotency-kept", b"false")


class AlreadyMade(Exception):
    """Somebody has made, or makes, this very call; `call` says how far it is."""

    def __init__(self, claim: Claim, call: Claimed) -> None:
        super().__init__(call.request_id)
        self.claim = claim
        self.call = call


def claim_of(exchange: Exchange, body: bytes) -> Claim | None:
    """What a request with an Idempotency-Key claims; None without one. Raises `BadRequest` for a bad key."""
    if HEADER not in exchange.headers:
        return None
    values = [value for name, value in exchange.raw_headers if name == HEADER]
    key = values[0].strip()
    if len(values) > 1 or not 1 <= len(key) <= LONGEST_KEY or not all(0x20 <= byte <= 0x7E for byte in key):
        raise BadRequest(f"Idempotency-Key must be one header of 1 to {LONGEST_KEY} printable ASCII characters.")
    mac = hmac.new(numbers.KEY_PEPPER, DOMAIN, "sha256")
    mac.update(body)
    return Claim(_claimant(exchange), exchange.path, key.decode(), mac.hexdigest())


def _claimant(exchange: Exchange) -> int:
    """The API key's id. A call of our own for somebody without one claims under the organization's, below zero, where
    no caller's name can be met. Raises `BadRequest` for other callers without a key.
    """
    assert exchange.session is not None, "the body is read after the key"
    caller = exchange.session.caller
    if caller.key_id is not None:
        return caller.key_id
    if exchange.vouched is None:
        raise BadRequest("Idempotency-Key belongs to an API key; a session token cannot have one.")
    return -caller.organization_id


async def find(claim: Claim) -> Claimed | None:
    """The call that has this claim. Raises `LedgerUnavailable`."""
    return await _read(lambda: idempotent_call(claim))


async def replay(exchange: Exchange, made: AlreadyMade) -> None:
    """Send the answer of the first call again, its request id too. Raises 409 or 422 where there is none to send."""
    claim, call = made.claim, made.call
    if not hmac.compare_digest(call.body_hmac, claim.body_hmac):
        raise IdempotencyMismatch
    if not call.is_finished:
        raise IdempotencyInProgress(headers={"Retry-After": "1"})
    sealed = await _read(lambda: idempotent_answer(claim.key_id, call.request_id)) if call.is_kept else ""
    if not sealed:
        raise IdempotencyNotKept(headers=NO_RETRY)
    try:
        answer = msgspec.msgpack.decode(unseal(sealed.encode()), type=Answer)
    except InvalidToken as error:  # its key was taken out of CREDENTIAL_KEYS
        log.error("an answer cannot be decrypted any more", extra={"request_id": call.request_id})
        raise IdempotencyNotKept(headers=NO_RETRY) from error
    exchange.request_id = call.request_id
    length = (b"content-length", b"%d" % len(answer.body))
    await exchange.start(answer.status, [*answer.headers, length, REPLAYED])
    await exchange.write(answer.body, last=True)


async def refuse_or_replay(claim: Claim | None, error: KomilionError) -> None:
    """A request that cannot be made any more may have been made before: then that answer counts, not the error."""
    if claim is not None and (call := await find(claim)) is not None:
        raise AlreadyMade(claim, call) from error


async def _read[T](read: Callable[[], T]) -> T:
    """In a thread of the loop's pool: its connection is closed at once, as nothing would ever close it later."""

    def read_and_close() -> T:
        try:
            return read()
        finally:
            connection.close()

    try:
        return await asyncio.to_thread(read_and_close)
    except DatabaseError as error:
        raise LedgerUnavailable from error
