"""Bringing the sums of usage up to date in a test."""

from billing.actions.rollups import do_roll_forward
from billing.rollups import mark_entry_id, newest_entry_id
from tests.waiting import wait_until


def roll_forward() -> int:
    """As the job does, and again until nothing is left; how many ledger entries were passed.

    On PostgreSQL the sums wait for every older transaction of the server, also for those of tests that run beside
    this one in databases of their own.
    """
    passed = 0

    def is_done() -> bool:
        nonlocal passed
        passed += do_roll_forward()
        return mark_entry_id() >= newest_entry_id()

    wait_until(is_done, what="the sums to have every entry")
    return passed
