"""The reaper: replays orphaned journals, then expires holds that are overdue or whose process is gone."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from billing.ledger.commit_now import commit_now
from billing.ledger.items import Done, Expire, Failure
from billing.ledger.journal import line_of, orphans, set_aside, waiting_request_ids
from billing.ledger.open_store import open_store
from billing.ledger.process import forget_old_processes, living_process_ids
from billing.ledger.store import Store
from billing.models import Hold, HoldState

log = logging.getLogger(__name__)

CHUNK = 200


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one pass did."""

    replayed: int
    expired: int


def journal_folder() -> Path:
    """Where the processes of this data folder keep their journals."""
    return settings.DATA_DIR / "journal"


def reap() -> Reaped:
    """One pass. Raises `StoreUnavailable` or `StoreBusy` when the database is away; the next pass tries again."""
    store = open_store()
    try:
        replayed = _replay_orphans(store)
        expired = _expire(store)
    finally:
        store.close()
    forget_old_processes()
    if replayed or expired:
        log.warning("reaped", extra={"replayed": replayed, "expired": expired})
    return Reaped(replayed, expired)


def _replay_orphans(store: Store) -> int:
    count = 0
    folder = journal_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, items, unreadable in orphans(folder):
        refused = []
        for start in range(0, len(items), CHUNK):
            part = items[start : start + CHUNK]
            outcomes = commit_now(store, part)
            refused += [item for item, outcome in zip(part, outcomes, strict=True) if isinstance(outcome, Failure)]
        if refused or unreadable:
            requests = [item.request_id for item in refused]
            log.critical("orphaned settlements refused", extra={"journal": path.name, "requests": requests})
            set_aside(path, [*map(line_of, refused), *unreadable])
        path.unlink()
        count += len(items)
    return count


def _expire(store: Store) -> int:
    living = living_process_ids()
    waiting = waiting_request_ids(journal_folder())
    due = Hold.objects.filter(state=HoldState.OPEN).filter(Q(expires_at__lte=Now()) | ~Q(process_id__in=living))
    items = [
        Expire(request_id, wallet_id, only_if_due=True, process_gone=process_id not in living)
        for request_id, wallet_id, process_id in due.values_list("request_id", "wallet_id", "process_id")
        if request_id not in waiting
    ]
    return sum(_expire_chunk(store, items[start : start + CHUNK]) for start in range(0, len(items), CHUNK))


def _expire_chunk(store: Store, items: Sequence[Expire]) -> int:
    outcomes = commit_now(store, items)
    return sum(isinstance(outcome, Done) and outcome.changed for outcome in outcomes)
