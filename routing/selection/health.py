"""Breakers: which offers are known to be out of order, so that callers need not find out one by one.

One breaker for each (provider, model, credential). Closed, it counts what failed here, in this process. It opens after
`BREAKER_FAILURES` failures in a row, or when half of the last `WINDOW` tries failed, or at once where only the operator
can mend it; then every process learns of it. Where the last is so for two models, it is the credential: one breaker
opens for all that is called with it, so that nobody finds out model by model. Half-open is not a state but a loan: of
all the callers of all processes one at a time borrows the offer for a probe, at most every `BREAKER_PROBE_EVERY_S`. Any
answer closes the breaker.

    closed --failures--> open --a loan, then an answer--> closed
                         open --a loan, then a failure--> open

Reading is a look into memory. What is open is kept in one Redis hash, which every process reads once a second; a loan
is a key that expires, so a process that dies with one delays the next by `LOAN_S` at most. While Redis is away each
process goes by what it knows, and lends to itself.
"""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import orjson
import redis
import redis.asyncio

from komilion.common.clock import monotonic_s, unix_ms
from komilion.common.metrics import count
from komilion.common.numbers import numbers
from komilion.common.redis import PREFIX, connect
from komilion.common.tasks import spawn
from routing.catalog.snapshot import Catalog, OfferEntry
from routing.catalog.voice import VoiceOffer

log = logging.getLogger(__name__)

WINDOW = 20  # tries that a share of failures is looked for in
WINDOW_LEAST = 10
WINDOW_BITS = (1 << WINDOW) - 1
POLL_S = 1.0
LOAN_S = 10.0  # unless it is renewed, which the borrower's process does once a second
ASK_AGAIN_S = 0.5  # after somebody else had the loan
BORROW_TIMEOUT_S = 0.25
FORGOTTEN_AFTER_S = 900  # an open breaker that nobody has confirmed since
MOST_RECORDS = 10_000
OPEN_KEY = f"{PREFIX}breakers"
LOAN_KEY = f"{PREFIX}breaker-loan:"
DOMAIN = b"breaker credential\0"  # so that no other keyed hash of this installation is one of a provider's key

type FirstContentP99 = Callable[[str, str], float | None]  # provider, model -> measured seconds; None where unknown
type Key = tuple[str, str, str]  # provider, model, name of the credential

type Weight = Literal["one", "all", "credential"]

EVERY_MODEL = ""  # in the place of the model: the breaker of a credential


def unmeasured(_provider: str, _model: str) -> float | None:
    """No live figures."""
    return None


@lru_cache(maxsize=4_096)
def credential_name(api_key: str) -> str:
    """A name for a provider's key that says nothing about it: another key gets a breaker of its own."""
    return hmac.digest(numbers.KEY_PEPPER, DOMAIN + api_key.encode(), "sha256").hex()[:16]


def key_of(offer: OfferEntry | VoiceOffer) -> Key:
    """Whose breaker an offer has."""
    return offer.provider, offer.model_id, credential_name(offer.target.api_key)


@dataclass(slots=True)
class _Record:
    """What came of the last tries of an offer that failed lately; bit 0 of `failures` is the last one."""

    in_a_row: int = 0
    tries: int = 0
    failures: int = 0

    def add(self, *, failed: bool) -> None:
        self.in_a_row = self.in_a_row + 1 if failed else 0
        self.tries = min(self.tries + 1, WINDOW)
        self.failures = (self.failures << 1 | failed) & WINDOW_BITS

    @property
    def is_bad(self) -> bool:
        is_mostly_failing = self.tries >= WINDOW_LEAST and self.failures.bit_count() * 2 >= self.tries
        return is_mostly_failing or self.in_a_row >= numbers.BREAKER_FAILURES


class Breakers:
    """The breakers of one process. For one event loop, not threads."""

    def __init__(self, url: str, process_id: str, *, clock: Callable[[], float] = monotonic_s) -> None:
        self._url = url
        self._process_id = process_id
        self._clock = clock
        self._records: dict[Key, _Record] = {}  # of closed ones; an offer without a failure has none
        self._open: dict[Key, float] = {}  # -> when it may be asked for the next loan
        self._changes: dict[Key, bool] = {}  # opened (or closed) here, and Redis does not know it yet
        self._mendable: dict[tuple[str, str], str] = {}  # (provider, credential) -> a model that waits for the operator
        self._lent: set[Key] = set()  # borrowed here, being tried, and nothing is known yet
        self._returned: set[Key] = set()  # loans that ended without a finding; the next may come at once
        self._changed = asyncio.Event()
        self._redis: redis.asyncio.Redis | None = None
        self._is_alone = False  # and has said so
        self._keeper: asyncio.Task[None] | None = None

    # what callers ask and tell

    @property
    def any_open(self) -> bool:
        """Whether it is worth asking about single offers."""
        return bool(self._open)

    def is_open(self, provider: str, model: str, credential: str) -> bool:
        """Whether the offer is known to be out of order."""
        return bool(self._open) and self._covering((provider, model, credential)) is not None

    def open_of(self, catalog: Catalog) -> list[tuple[str, str]]:
        """(provider, model) of all that is out of order, for who watches; the model is empty for a whole credential.

        Nobody calls what the catalogue no longer offers, so nobody will find that it works again: a breaker of a
        credential that was replaced says nothing of now.
        """
        offered = {key_of(offer) for model in catalog.models.values() for offer in model.offers}
        offered |= {key_of(offer) for model in catalog.voice.values() for offer in model.offers}
        offered |= {(provider, EVERY_MODEL, credential) for provider, _, credential in offered}
        return sorted({(provider, model) for provider, model, _ in offered & set(self._open)})

    def failed(
        self, provider: str, model: str, credential: str, *, weight: Weight = "one", reason: str = "failed"
    ) -> None:
        """A try failed by the provider's fault; `weight` as in `routing.gateway.verdicts`."""
        key = (provider, model, credential)
        covering = self._covering(key)
        if weight != "one" and covering != (provider, EVERY_MODEL, credential):
            self._failed_for_good(key, reason, may_be_credential=weight == "credential")
            return
        if covering is not None:  # a probe failed, or somebody's last resort
            self._lent.discard(covering)
            self._note(covering, is_open=True)
            return
        record = self._records.get(key)
        if record is None:
            if len(self._records) >= MOST_RECORDS:
                del self._records[next(iter(self._records))]
            record = self._records[key] = _Record()
        record.add(failed=True)
        if record.is_bad:
            del self._records[key]
            self._note(key, is_open=True)
            log.warning("breaker opened", extra={"provider": provider, "model": model, "reason": reason})

    def _failed_for_good(self, key: Key, reason: str, *, may_be_credential: bool) -> None:
        """Open the offer's breaker; that of its credential, where another of its models has failed so too."""
        provider, model, credential = key
        before = self._mendable.setdefault((provider, credential), model) if may_be_credential else model
        opening = key if before == model else (provider, EVERY_MODEL, credential)
        self._records.pop(key, None)
        self._lent.discard(key)
        is_news = opening not in self._open
        self._note(opening, is_open=True)
        if is_news:
            log.error(
                "a provider does not serve us until an operator mends it",
                extra={"provider": provider, "model": opening[1], "reason": reason, "alarm": "provider_refuses_us"},
            )

    def succeeded(self, provider: str, model: str, credential: str) -> None:
        """The provider answered; it may have refused the request, but it is there."""
        key = (provider, model, credential)
        if self._mendable.get((provider, credential), model) != model:  # the credential serves others
            del self._mendable[provider, credential]
        if self._covering(key) is not None:
            self._mendable.pop((provider, credential), None)
            for opened in ((provider, EVERY_MODEL, credential), key):
                if opened in self._open:
                    self._lent.discard(opened)
                    self._note(opened, is_open=False)
                    log.warning("breaker closed", extra={"provider": provider, "model": opened[1]})
            return
        record = self._records.get(key)
        if record is not None:
            record.add(failed=False)
            if not record.failures:
                del self._records[key]

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has failed lately, so that a success is no news."""
        return not self._open and not self._records

    # probes

    async def borrow(self, keys: Iterable[Key]) -> Key | None:
        """The first of these offers that are out of order that may be probed now, for this caller alone; else None.

        Tell `begin` when the probe starts and `end` when it is over, whatever came of it.
        """
        now = self._clock()
        for key in keys:
            covering = self._covering(key)
            if covering is None or self._open[covering] > now:
                continue
            self._open[covering] = now + ASK_AGAIN_S
            if await self._is_lent_to_us(covering):
                return key
        return None

    def begin(self, key: Key) -> None:
        """The borrowed offer is being tried: the loan lasts until `end`."""
        self._lent.add(self._covering(key) or key)

    def end(self, key: Key) -> None:
        """The probe is over. One that showed neither success nor failure makes room for the next."""
        for lent in ((key[0], EVERY_MODEL, key[2]), key):
            if lent in self._lent:
                self._lent.discard(lent)
                if lent in self._open:
                    self._open[lent] = self._clock()
                    self._returned.add(lent)
                    self._changed.set()

    def _covering(self, key: Key) -> Key | None:
        """The open breaker that keeps callers from this offer: that of its credential, or its own."""
        of_all = (key[0], EVERY_MODEL, key[2])
        return of_all if of_all in self._open else key if key in self._open else None

    async def _is_lent_to_us(self, key: Key) -> bool:
        if self._redis is not None:
            try:
                async with asyncio.timeout(BORROW_TIMEOUT_S):
                    return bool(await self._redis.set(_loan(key), self._process_id, nx=True, px=int(LOAN_S * 1_000)))
            except (redis.RedisError, OSError) as error:  # TimeoutError is among them
                log.warning("no loan from Redis", extra={"error": str(error)})
        if key in self._lent:
            return False
        self._open[key] = self._clock() + LOAN_S
        return True

    # changes

    def _note(self, key: Key, *, is_open: bool) -> None:
        if is_open:
            self._open[key] = self._clock() + numbers.BREAKER_PROBE_EVERY_S
        else:
            del self._open[key]
        self._changes[key] = is_open
        self._changed.set()

    # Redis

    def start(self) -> None:
        """Learn what is open, then go on learning. A Redis that is not there is no error."""
        self._keeper = spawn(self._keep(), name="breakers")

    async def close(self) -> None:
        """Stop sharing."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None

    async def _keep(self) -> None:
        """Tell what changed here at once, and read what changed elsewhere once a second."""
        while True:
            try:
                async with connect(self._url) as client:
                    self._changes = dict.fromkeys(self._open, True) | self._changes  # what was opened while it was away
                    while True:
                        await self._exchange(client)
                        self._redis, self._is_alone = client, False
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(POLL_S):
                                await self._changed.wait()
            except (redis.RedisError, OSError, ValueError) as error:  # the last: what is stored is not ours
                if not self._is_alone:
                    log.warning("breakers are this process' own", extra={"error": str(error)})
                self._is_alone = True
            finally:
                self._redis = None
            await asyncio.sleep(POLL_S)

    async def _exchange(self, client: redis.asyncio.Redis) -> None:
        self._changed.clear()
        changes, returned = dict(self._changes), self._returned
        self._returned = set()
        rest_ms = int(numbers.BREAKER_PROBE_EVERY_S * 1_000)
        pipe = client.pipeline(transaction=bool(changes))
        for key, is_open in changes.items():
            if is_open:
                _ = pipe.hset(OPEN_KEY, _field(key), str(unix_ms()))
                _ = pipe.set(_loan(key), self._process_id, px=rest_ms)
            else:
                _ = pipe.hdel(OPEN_KEY, _field(key))
                _ = pipe.delete(_loan(key))
        for key in returned - changes.keys():
            _ = pipe.delete(_loan(key))
        for key in self._lent - changes.keys():
            _ = pipe.pexpire(_loan(key), int(LOAN_S * 1_000))
        _ = pipe.hgetall(OPEN_KEY)
        *_, stored = done = await pipe.execute()
        for (key, is_open), has_changed in zip(changes.items(), done[::2], strict=False):
            if self._changes.get(key) is is_open:
                del self._changes[key]
            if has_changed:  # of all the processes that found out, one changed it
                count("komilion_breakers", (key[0], key[1], "opened" if is_open else "closed"))
        self._merge({_key(field): int(since) for field, since in stored.items()})

    def _merge(self, stored: dict[Key, int]) -> None:
        """What Redis says is what counts, but for what changed here since it was asked."""
        oldest_ms = unix_ms() - FORGOTTEN_AFTER_S * 1_000
        for key, since_ms in stored.items():
            if since_ms < oldest_ms:
                self._changes.setdefault(key, False)
                self._open.pop(key, None)
            elif key not in self._changes and key not in self._open:
                self._open[key] = self._clock()
                self._records.pop(key, None)
                log.info("breaker is open", extra={"provider": key[0], "model": key[1]})
        for key in [key for key in self._open if key not in stored and key not in self._changes]:
            del self._open[key]


def _field(key: Key) -> bytes:
    return orjson.dumps(key)


def _key(field: bytes) -> Key:
    provider, model, credential = orjson.loads(field)
    return provider, model, credential


def _loan(key: Key) -> bytes:
    return LOAN_KEY.encode() + _field(key)
