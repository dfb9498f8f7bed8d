"""What is found out after a call is added to its usage row, and to no other."""

from datetime import UTC, datetime

import pytest

from billing.actions.usage_notes import UsageNote, do_note_usage
from billing.models import UsageRow
from tests.billing.calling import Calls, at
from tests.billing.ledger_database import LedgerDatabase, new_name

MOMENT = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def calls(ledger: LedgerDatabase) -> Calls:
    return Calls(ledger, ledger.open_wallet(paid=1_000_000))


def detail_of(request_id: str) -> dict[str, object]:
    detail: dict[str, object] = UsageRow.objects.get(request_id=request_id).detail
    return detail


def test_facts_stand_beside_what_was_there(calls: Calls):
    first = calls.add(MOMENT, detail={"attempts": [1]})
    second = calls.add(MOMENT, detail={"attempts": [2]})
    assert do_note_usage([UsageNote(first, at(MOMENT), {"task_type": "math"})]) == 1
    assert detail_of(first) == {"attempts": [1], "task_type": "math"}
    assert detail_of(second) == {"attempts": [2]}


def test_what_is_not_settled_is_passed_over(calls: Calls):
    there = calls.add(MOMENT, detail={})
    notes = [UsageNote(name, at(MOMENT), {"task_type": "math"}) for name in (new_name("gen"), there)]
    assert do_note_usage(notes) == 1
    assert detail_of(there) == {"task_type": "math"}
    assert do_note_usage([]) == 0
