"""When a day's evidence is built: after its end, once more a day later, and in turn after an outage."""

from datetime import date, timedelta

import pytest
import time_machine

from advisor.actions import evidence as module
from advisor.actions.evidence import do_build_day, do_build_due
from advisor.days import days_due
from advisor.models import DayEvidence, EvidenceDay
from advisor.tasks import build_evidence
from tests.advisor.chats import DAY, NOON, rows
from tests.billing.calling import Calls
from tests.billing.ledger_database import LedgerDatabase

MIDNIGHT = NOON.replace(hour=0) + timedelta(days=1)  # at which the day ends
HOUR = timedelta(hours=1)


@pytest.fixture
def alice(books: LedgerDatabase, monkeypatch: pytest.MonkeyPatch) -> Calls:
    monkeypatch.setattr(module, "PAUSE_S", 0)
    return Calls(books, books.open_wallet(paid=10**9))


def days(*numbers: int) -> list[date]:
    return [DAY + timedelta(days=number) for number in numbers]


def test_without_calls_nothing_is_due(books):
    assert days_due(NOON) == []


def test_a_day_is_due_an_hour_after_its_end(alice):
    alice.add(NOON)
    assert days_due(NOON) == []
    assert days_due(MIDNIGHT + HOUR - timedelta(seconds=1)) == []
    assert days_due(MIDNIGHT + HOUR) == days(0)


def test_it_is_due_once_more_a_day_later_and_never_again(alice):
    alice.add(NOON)
    with time_machine.travel(MIDNIGHT + HOUR, tick=False):
        assert do_build_due(MIDNIGHT + HOUR) == days(0)
        assert days_due(MIDNIGHT + HOUR) == []
    assert days_due(MIDNIGHT + 24 * HOUR) == []
    assert days_due(MIDNIGHT + 25 * HOUR) == days(0, 1)
    with time_machine.travel(MIDNIGHT + 25 * HOUR, tick=False):
        do_build_due(MIDNIGHT + 25 * HOUR)
    assert days_due(MIDNIGHT + 49 * HOUR) == days(1, 2)


def test_a_day_that_somebody_built_before_its_end_is_due(alice):
    alice.add(NOON)
    with time_machine.travel(NOON, tick=False):
        do_build_day(DAY)
    assert days_due(MIDNIGHT + HOUR) == days(0)


def test_after_an_outage_all_days_that_were_missed_are_built_the_oldest_first_and_once(alice):
    for number in range(4):
        alice.add(NOON + timedelta(days=number))
    now = MIDNIGHT + timedelta(days=10) + HOUR
    with time_machine.travel(now, tick=False):
        assert do_build_due(now) == days(*range(11))
        assert days_due(now) == []
    assert [len(rows(day)) for day in days(*range(5))] == [1, 1, 1, 1, 0]


def test_calls_of_long_ago_are_left(alice):
    alice.add(NOON)
    now = NOON + timedelta(days=100)
    due = days_due(now)
    assert (due[0], due[-1], len(due)) == (now.date() - timedelta(days=60), now.date() - timedelta(days=1), 60)


def test_what_another_worker_built_meanwhile_is_not_built_again(alice, monkeypatch):
    for number in range(3):
        alice.add(NOON + timedelta(days=number))
    now = MIDNIGHT + timedelta(days=2) + HOUR

    def build(day: date) -> int:
        for each in days(0, 1):  # the other one is a day ahead
            do_build_day(each)
        return 0

    with time_machine.travel(now, tick=False):
        monkeypatch.setattr(module, "do_build_day", lambda day: build(day) if day == DAY else do_build_day(day))
        assert do_build_due(now) == days(0, 2)


def test_evidence_is_forgotten_after_its_time(alice):
    alice.add(NOON)
    do_build_day(DAY)
    do_build_due(NOON + timedelta(days=400))
    assert DayEvidence.objects.count() == 1
    do_build_due(NOON + timedelta(days=401))
    assert DayEvidence.objects.count() == 0


def test_the_job_builds_what_is_due(alice):
    alice.add(NOON)
    with time_machine.travel(MIDNIGHT + 2 * HOUR, tick=False):
        build_evidence()
        built_at = EvidenceDay.objects.get().built_at
        build_evidence()  # when nothing is due
    assert EvidenceDay.objects.get().built_at == built_at
    assert EvidenceDay.objects.get().day == DAY
    assert len(rows()) == 1
