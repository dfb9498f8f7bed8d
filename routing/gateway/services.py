"""What one process keeps for all its requests: built when the server starts, closed when it stops."""

import asyncio
import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.db import DatabaseError, connection

from billing.errors import StoreBusy, StoreUnavailable
from billing.ledger.committer import Committer
from billing.ledger.journal import Journal
from billing.ledger.open_store import open_store
from billing.ledger.process import Heartbeat
from billing.ledger.reap import journal_folder, reap
from billing.partitions import ensure_partitions
from komilion.common import news
from komilion.common.clock import unix_exact_s, utc_now
from komilion.common.http_client import HttpClient
from komilion.common.numbers import numbers
from komilion.common.tasks import all_done, spawn
from routing.catalog.load import load_catalog
from routing.catalog.models import CatalogVersion
from routing.catalog.snapshot import EMPTY, Catalog
from routing.gateway.authenticate import Authenticator
from routing.gateway.body import BodyReader
from routing.gateway.call import new_client
from routing.gateway.choice.learning import Learning, Listener
from routing.gateway.choice.preferences import PreferenceBook
from routing.gateway.count_tokens import tokenizer
from routing.gateway.losses import Losses
from routing.gateway.refusals import Refusals
from routing.limits.limiter import Limiter
from routing.selection.health import Breakers, FirstContentP99, unmeasured

log = logging.getLogger(__name__)

SQLITE_PAUSE_S = 0.002
CATALOG_POLL_S = 30.0
CATALOG_POLL_DEGRADED_S = 1.0
LAST_CALLS_S = 10.0
GC_ALLOCATIONS = 20_000
GC_GENERATION_RATIO = 20


@dataclass(slots=True)
class Services:
    """Everything a request needs beside itself."""

    heartbeat: Heartbeat
    committer: Committer
    limiter: Limiter
    authenticator: Authenticator
    client: HttpClient
    refusals: Refusals
    learning: Learning
    breakers: Breakers
    first_content_p99_s: FirstContentP99 = unmeasured
    bodies: BodyReader = field(default_factory=BodyReader)
    losses: Losses = field(default_factory=Losses)
    preferences: PreferenceBook = field(default_factory=PreferenceBook)
    catalog: Catalog = EMPTY
    active: int = 0
    watchers: "set[Callable[[news.Message | None], None]]" = field(default_factory=set)
    """Told of every change of a key or an organization, and None where news may have been missed; must be quick."""
    _reload: "asyncio.Task[None] | None" = None
    _reloads_wanted: int = 0
    _reloads_seen: int = 0  # wishes that the latest reading has seen to
    _listener: news.Listener | None = None
    _poller: "asyncio.Task[None] | None" = None

    @property
    def process_id(self) -> str:
        """The owner of this process' holds."""
        return self.heartbeat.process_id

    async def start(self) -> None:
        """Register, clear up after the dead, load the catalogue, then listen for news."""
        await asyncio.to_thread(_register, self.heartbeat)
        self.committer.start()
        await self.limiter.start()
        self.breakers.start()
        await self._load_catalog()
        self.learning.start()
        self._listener = news.Listener(self._hear, self._reconnected)
        self._listener.start()
        self._poller = spawn(self._poll_catalog(), name="catalog-poll")
        _ = spawn(asyncio.to_thread(tokenizer), name="tokenizer")  # before the first long prompt has to wait for it
        _spare_the_collector()

    async def stop(self) -> None:
        """Let what runs come to its settled end, then close everything; the ledger last."""
        deadline = asyncio.get_running_loop().time() + LAST_CALLS_S
        while self.active and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(0.05)
        assert self._poller is not None, "stopped without a start"
        assert self._listener is not None
        self._poller.cancel()
        await self._listener.close()
        await self.learning.close()
        await self.client.close()
        await all_done(timeout_s=1.0)
        await self.breakers.close()
        await self.limiter.close()
        await self.committer.stop()
        self.authenticator.close()
        await asyncio.to_thread(self.heartbeat.stop)

    async def current_catalog(self, version: int) -> Catalog:
        """The catalogue, at least at `version` (which a limit call brought back), with the prices of the moment."""
        if version > self.catalog.version:
            await self.reload_catalog()
        elif unix_exact_s() >= self.catalog.expires_s:
            await self._follow_the_clock()
        return self.catalog

    async def _follow_the_clock(self) -> None:
        """A price has come into force or a model has ended. Where the database is away nothing can be called anyway."""
        try:
            await self.reload_catalog()
        except DatabaseError as error:
            log.warning("catalogue not read", extra={"error": str(error)})

    async def fresh_catalog(self) -> Catalog:
        """The catalogue compared with the database first; as it is where the database is away."""
        try:
            version = await asyncio.to_thread(_version)
            if version < self.catalog.version:  # the database was restored from a copy
                await self.reload_catalog()
            return await self.current_catalog(version)
        except DatabaseError as error:
            log.warning("catalogue not compared", extra={"error": str(error)})
            return self.catalog

    async def reload_catalog(self) -> None:
        """Read the catalogue again, by a reading that begins after this call; many callers at once share one.

        One that is under way may have begun before the change that is called for.
        """
        self._reloads_wanted += 1
        wanted = self._reloads_wanted
        while self._reloads_seen < wanted:
            if self._reload is None or self._reload.done():
                self._reload = spawn(self._load_catalog(), name="catalog-load")
            await asyncio.shield(self._reload)

    async def _load_catalog(self) -> None:
        """The brain knows a catalogue before anybody gets it."""
        seen = self._reloads_wanted
        catalog = await asyncio.to_thread(_load)
        ready = await asyncio.to_thread(self.learning.brain.prepare, catalog)
        self.learning.brain.ready, self.catalog = ready, catalog
        self._reloads_seen = seen

    async def _poll_catalog(self) -> None:
        """For changes whose news were lost; often while Redis, which carries them, is away."""
        while True:
            await asyncio.sleep(CATALOG_POLL_DEGRADED_S if self.limiter.degraded else CATALOG_POLL_S)
            try:
                if await asyncio.to_thread(_version) != self.catalog.version:
                    await self.reload_catalog()
            except Exception as error:  # noqa: BLE001 - whatever keeps it from reading now, it tries again
                log.warning("catalogue not read", extra={"error": str(error)})

    def _hear(self, message: news.Message) -> None:
        kind = message["kind"]
        if kind == "key_changed":
            self.authenticator.forget(bytes.fromhex(str(message["hash"])))
            self._tell_watchers(message)
        elif kind == "organization_changed":
            self.authenticator.forget_organization(int(str(message["id"])))
            self.preferences.forget_organization(int(str(message["id"])))
            self._tell_watchers(message)
        elif kind == "catalog_changed":
            _ = spawn(self.reload_catalog(), name="catalog-news")
        elif kind == "feedback_given":
            self.learning.votes.hear(replaced=bool(message.get("replaced")))

    def _reconnected(self) -> None:
        self.authenticator.forget_all()
        self.preferences.forget_all()
        self.learning.votes.begin_again()
        self._tell_watchers(None)
        _ = spawn(self.reload_catalog(), name="catalog-news")

    def _tell_watchers(self, message: news.Message | None) -> None:
        for watcher in tuple(self.watchers):
            watcher(message)


def build_services(listeners: Sequence[Listener] = ()) -> Services:
    """For one process; call it inside its event loop. `listeners` hear of calls whose answer was sent."""
    heartbeat = Heartbeat()
    journal = Journal(journal_folder(), heartbeat.process_id)
    learning = Learning(numbers.REDIS_URL, heartbeat.process_id, listeners)
    pause_s = SQLITE_PAUSE_S if connection.vendor == "sqlite" else 0.0
    return Services(
        heartbeat=heartbeat,
        committer=Committer(open_store, journal, pause_s=pause_s),
        limiter=Limiter(numbers.REDIS_URL, heartbeat.process_id, numbers.WORKERS),
        authenticator=Authenticator(),
        client=new_client(),
        refusals=Refusals(numbers.REDIS_URL),
        learning=learning,
        breakers=Breakers(numbers.REDIS_URL, heartbeat.process_id),
        first_content_p99_s=learning.brain.first_content_p99_s,
    )


def _spare_the_collector() -> None:
    """Take what was loaded at start out of the garbage collector's sight, and let it run less often.

    A full collection walks everything Django ever loaded, and every call of the process waits for it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, GC_GENERATION_RATIO, GC_GENERATION_RATIO)


def _register(heartbeat: Heartbeat) -> None:
    heartbeat.start()
    try:
        ensure_partitions(utc_now().date())
        reap()
    except (StoreBusy, StoreUnavailable):
        log.warning("nothing reaped at start", exc_info=True)
    finally:
        connection.close()


def _load() -> Catalog:
    try:
        return load_catalog()
    finally:
        connection.close()


def _version() -> int:
    try:
        return CatalogVersion.objects.filter(pk=1).values_list("version", flat=True).first() or 0
    finally:
        connection.close()
