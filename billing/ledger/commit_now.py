"""The same batch without a committer: for commands and jobs, on a connection of the caller's own."""

from collections.abc import Sequence

from billing.errors import StoreBusy, StoreUnavailable
from billing.ledger.batch import Batch, Deferred
from billing.ledger.items import Failure, Item, Outcome
from billing.ledger.store import Store, run_blocking


def commit_now(store: Store, items: Sequence[Item]) -> list[Outcome]:
    """Run items on the caller's own connection, waiting for locks, in as few transactions as they allow.

    Raises `StoreUnavailable` and `StoreBusy`; an item that the database refuses, or whose
    wallet does not exist, is a `Failure` and takes no other item with it.
    """
    outcomes: dict[int, Outcome] = {}
    parts = [list(range(len(items)))] if items else []
    while parts:
        part = parts.pop(0)
        try:
            batch = Batch(store, [items[index] for index in part], wait_for_locks=True, is_retry=True)
            answers = run_blocking(batch.run())
        except (StoreUnavailable, StoreBusy):
            raise
        except Exception as error:  # noqa: BLE001 - whatever the database objects to must stand alone
            if len(part) == 1:
                outcomes[part[0]] = Failure(str(error))
            else:
                half = len(part) // 2
                parts = [part[:half], part[half:], *parts]
            continue
        answered = list(zip(part, answers, strict=True))
        outcomes.update({index: answer for index, answer in answered if not isinstance(answer, Deferred)})
        if later := [index for index, answer in answered if isinstance(answer, Deferred)]:
            parts = [later, *parts]
    return [outcomes[index] for index in range(len(items))]
