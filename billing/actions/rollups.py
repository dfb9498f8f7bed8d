"""Building the sums of usage rows. docs/usage.md says why nothing is missed and nothing is counted twice.

Whatever writes sums has the mark's row locked, or on SQLite the write lock, so two workers take turns. Steps are small:
on SQLite nobody else can write meanwhile.
"""

from datetime import datetime, timedelta
from threading import Event

from django.db import connection, transaction

from billing.cubes import CUBES, Cube, is_postgres, moment, settled_rows
from billing.models import UsageMark
from billing.models.rollup import GRAINS_S
from billing.rollups import Days, filled, have_ended, newest_entry_id, wrong_slots

ENTRIES_A_STEP = 20_000
SQLITE_ENTRIES_A_STEP = 500
SQLITE_PAUSE_S = 0.005  # without it another process would not get the write lock for seconds


def do_roll_forward() -> int:
    """Add what was settled since the last time to the sums; returns how many ledger entries that was.

    Does nothing where another worker is at it. Entries that are being written at this moment are left to the next time.
    """
    UsageMark.objects.get_or_create(pk=1)
    passed = _roll_to_seen()
    _look()
    return passed + _roll_to_seen()


def _roll_to_seen() -> int:
    passed = 0
    while step := _step():
        passed += step
        if not is_postgres():
            Event().wait(SQLITE_PAUSE_S)
    return passed


def _step() -> int:
    """Move the mark a step towards what was seen and add what it passes, in one transaction; 0 when there is no way."""
    with transaction.atomic():
        mark = UsageMark.objects.select_for_update(skip_locked=True).filter(pk=1).first()
        if mark is None or mark.seen_entry_id <= mark.entry_id or not have_ended(mark.seen_before_xid):
            return 0
        size = ENTRIES_A_STEP if is_postgres() else SQLITE_ENTRIES_A_STEP
        start, end = mark.entry_id, min(mark.seen_entry_id, mark.entry_id + size)
        with connection.cursor() as cursor:
            for cube in CUBES:
                cursor.execute(cube.add(settled_rows()), [start, end])
        mark.entry_id = end
        mark.save(update_fields=["entry_id"])
    return end - start


def _look() -> None:
    """Note the newest entry, and the id of this transaction.

    The order matters: whoever took an entry id up to the newest had a transaction id by then, which is lower than the
    one that this transaction gets after it has read the newest. A look that is still waited for stays, so that calls
    that overlap for ever cannot keep the mark where it is; unless it comes from another PostgreSQL server, as after a
    dump was restored, whose transactions had higher ids.
    """
    with transaction.atomic():
        newest = newest_entry_id()
        mark = UsageMark.objects.select_for_update(skip_locked=True).filter(pk=1).first()
        if mark is None:
            return
        xid = _own_xid()
        if mark.seen_entry_id <= mark.entry_id or xid < mark.seen_before_xid:
            mark.seen_entry_id, mark.seen_before_xid = newest, xid
            mark.save(update_fields=["seen_entry_id", "seen_before_xid"])


def _own_xid() -> int:
    if not is_postgres():
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        return int(cursor.fetchone()[0])


def do_rebuild(days: Days) -> int:
    """Make every slot of these days again that is not as its rows say; returns how many were not.

    Slots that are right are only read. Run again it finds nothing.
    """
    UsageMark.objects.get_or_create(pk=1)
    repaired = 0
    for start, end in filled(days):
        for cube in CUBES:
            for grain_s in GRAINS_S:
                for slot in wrong_slots(cube, grain_s, start, end):
                    _make_again(cube, grain_s, slot)
                    repaired += 1
    return repaired


def _make_again(cube: Cube, grain_s: int, slot: datetime) -> None:
    """All rows of one slot, under the mark's lock: else the mark might pass a call of it meanwhile."""
    end = slot + timedelta(seconds=grain_s)
    with transaction.atomic(), connection.cursor() as cursor:
        mark = UsageMark.objects.select_for_update().get(pk=1)
        cursor.execute(cube.remove(grain_s), [moment(slot), moment(end)])
        cursor.execute(cube.insert(grain_s), cube.span(grain_s, slot, end, mark.entry_id))
